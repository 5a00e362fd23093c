// What a sweep says of itself. Makes no event.

import type { TrainEvent } from '../run/index.js'
import type { CellResult } from './result-file.js'
import type { RunSettings } from './settings.js'

/** What became of a cell. */
export type CellStatus = CellResult['status'] | 'impossible' | 'changed'

/** What `sweep` says as it goes. */
export type SweepEvent =
  | {
      readonly type: 'plan'
      /** Of this shard. */
      readonly cells: number
      readonly groups: number
      /** Of the whole sweep. */
      readonly total: number
      readonly impossible: number
    }
  | { readonly type: 'cell-start'; readonly cell: string; readonly settings: RunSettings }
  | { readonly type: 'train'; readonly cell: string; readonly event: TrainEvent }
  | {
      readonly type: 'cell'
      readonly cell: string
      readonly status: CellStatus
      /** Whether an earlier call finished it. */
      readonly kept: boolean
      /** Why it is impossible, what changed, or what failed. */
      readonly reason?: string
      readonly result?: CellResult
    }
  | {
      readonly type: 'select'
      readonly over: string
      readonly value: unknown
      /** The cells that were compared, with their figure on dev. */
      readonly compared: readonly { readonly cell: string; readonly figure: number }[]
    }
  /** These cells could not share a pass after all, for want of memory or what one of them met, and are run one by one. */
  | { readonly type: 'apart'; readonly cells: readonly string[]; readonly reason: string }
  /** Other processes run these cells of the folder: the sweep waits for them. */
  | { readonly type: 'waiting'; readonly cells: readonly string[] }
  | {
      readonly type: 'done'
      readonly counts: Readonly<Record<CellStatus, number>>
      readonly seconds: number
    }

// What is asked of whoever reads texts that are continued, and in which terms. A kind of model reads in a way of its own.

import type { Prompt } from '../prompt/index.js'
import type { Tensor } from '../torch/index.js'
import type { Inputs } from './inputs.js'
import type { PromptSet } from './prompt-set.js'

/** A text that is continued. */
export interface DecodingText {
  /** Ids of the text, without what ends it. */
  readonly ids: readonly number[]
  readonly prompt: Prompt | null
  /** Tokens that were made already. */
  readonly made: readonly number[]
}

/** What a row has in its slots. */
export interface SlotLengths {
  /** Keys and values before its next token's. */
  readonly own: number
  /** Of its text, in an encoder-decoder model; else 0. */
  readonly cross: number
}

/** Prepares what prompts give. */
export type PrepareSet = (
  prompts: readonly (Prompt | null)[],
) => PromptSet | Promise<PromptSet>

/** Texts that were read into slots. */
export interface Prefilled {
  /** Hidden states [n, H] where the next token is predicted. */
  readonly hidden: Tensor
  readonly lengths: readonly SlotLengths[]
}

/** A text that is read a piece at a time, and has no slot until it was read. */
export interface PartialPrefill {
  /**
   * Reads so many positions more, at most.
   *
   * @returns whether it has read all
   */
  read(positions: number): Promise<boolean>
  /** Writes what was read into slots. */
  join(slots: readonly number[]): Promise<Prefilled>
  dispose(): void
}

/** How a kind of model reads. Slots are counted from 0, without gaps. */
export interface Reader {
  /** Reads texts, each into slots of its own, one at least. */
  prefill(
    texts: readonly DecodingText[],
    slots: readonly (readonly number[])[],
  ): Promise<Prefilled>
  begin(text: DecodingText): Promise<PartialPrefill>
  /**
   * A token more of the first rows, as tensors that wait.
   *
   * @param R rows that are run: those behind the tokens' own are padding
   * @returns what gives [R, H], and may be asked again with other inputs while `moves` stays
   */
  placeStep(
    tokens: readonly number[],
    lengths: readonly SlotLengths[],
    R: number,
    inputs: Inputs,
  ): Promise<() => Promise<Tensor>>
  /** How often keys and values went to other places in memory. */
  readonly moves: number
  /** A row leaves: the last one takes its slot. */
  remove(slot: number, lengths: readonly SlotLengths[]): Promise<void>
  /** Row i goes on from row `parents[i]`; they are continuations of one text. */
  branch(parents: readonly number[], lengths: readonly SlotLengths[]): Promise<void>
  /** Bytes that keys and values hold. */
  readonly bytes: number
  /** Bytes that they take where every row is as long as it may get. */
  readonly mostBytes: number
  /** Takes those now, so that nothing goes to another place later. */
  reserveAll(): Promise<void>
  /** Forgets what all rows have: zeros, in the same places. */
  clear(): Promise<void>
  /** Gives the memory back; other rows may come. */
  dispose(): void
}

export interface DecodingSize {
  /** Rows at most. */
  readonly slots: number
  /** Keys and values that a row has at most: prompt, text and all tokens but the last. */
  readonly capacity: number
  /** Of its text at most, with the prompt, in an encoder-decoder model. */
  readonly textCapacity: number
  /** Tokens of texts, with their prompts, that are read at once; default: as many as pay. One text is read whole. */
  readonly tokensAtOnce?: number
  /**
   * Launches a step as one where the device captures graphs (CUDA), its rows and the keys that it reads padded to counts
   * that come again: by default there. true does the same on every device, for tests; false never does.
   */
  readonly graphs?: boolean | undefined
}

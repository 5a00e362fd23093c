// What a server is told, and its defaults. Knows no route.

import { z } from 'zod'
import { checkOptions } from '../fields.js'
import { PromptsFolder } from './prompts-folder.js'

const limits = z.strictObject({
  maxBodyBytes: z
    .int()
    .min(1)
    .default(2 ** 20),
  maxPromptBytes: z
    .int()
    .min(1)
    .default(64 * 2 ** 20),
  maxInputs: z.int().min(1).default(128),
  maxChoices: z.int().min(1).default(16),
  maxTokens: z.int().min(1).default(2048),
  maxTextChars: z.int().min(1).default(200_000),
})

const fields = z.strictObject({
  apiKeys: z
    .array(z.string().min(1))
    .min(1, 'Expected apiKeys to have a key or to be left out')
    .optional(),
  allowAdmin: z.boolean().default(false),
  prompts: z.instanceof(PromptsFolder).optional(),
  runs: z.string().min(1).optional(),
  logText: z.boolean().default(false),
  graceMs: z.number().min(0).default(30_000),
  stallMs: z.number().gt(0).default(30_000),
  limits: limits.prefault({}),
})

/** Bounds of what a call may ask for; a call beyond one is refused and names it. */
export interface ServeLimits {
  /** Bytes of a JSON body, default 1 MiB: with what is decoded from it, a call's share of the memory. */
  maxBodyBytes: number
  /** Bytes of a prompt that is uploaded, default 64 MiB: the largest prefix of a large model has some ten. */
  maxPromptBytes: number
  /** Texts of a call, default 128; a completion counts as often as it has choices. */
  maxInputs: number
  /** `n`, default 16. */
  maxChoices: number
  /** `max_tokens`, default 2048. */
  maxTokens: number
  /** Characters of a text, or ids, default 200,000: tokenizing it takes a moment that all others wait. */
  maxTextChars: number
}

/** What routes do, wherever they are mounted. */
export interface ServeOptions {
  /** Every route but /health and /ready asks for one of them. Absent: open to all. */
  apiKeys?: readonly string[] | undefined
  /** Prompts may be added and removed over HTTP; needs `apiKeys`. Default false. */
  allowAdmin?: boolean | undefined
  /** Where prompts come from that are added by a name. */
  prompts?: PromptsFolder | undefined
  /** A folder of run folders, as `train` writes them: the page shows their curves. Absent: none are shown. */
  runs?: string | undefined
  /** Bodies of requests are logged, which hold users' texts. Default false. */
  logText?: boolean | undefined
  /** How long requests may go on once the server closes, default 30 s. */
  graceMs?: number | undefined
  /** A client that takes nothing of its answer for so long is cut off, default 30 s. */
  stallMs?: number | undefined
  limits?: Partial<ServeLimits> | undefined
}

export type ServeSettings = z.output<typeof fields>

/** @throws TypeError or RangeError naming the option that is wrong */
export function checkServeOptions(options: ServeOptions): ServeSettings {
  const settings = checkOptions(fields, options)
  if (settings.allowAdmin && settings.apiKeys === undefined) {
    throw new RangeError(
      'allowAdmin needs apiKeys: whoever may add prompts must be known by a key',
    )
  }
  return settings
}

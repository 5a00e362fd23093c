// The prompts that are served, by name. A request keeps the one that it began with, whatever becomes of the name. Knows
// no row.

import type { Backbone } from '../backbone/index.js'
import { LoptError } from '../errors.js'
import { checkPrompt, type Prompt } from '../prompt/index.js'
import type { PromptName, ServedPrompt } from './requests.js'

/** A name that can stand in a path, a file's name and a label of a metric. */
const NAME = /^[A-Za-z0-9][\w.-]{0,63}$/

/** A prompt, and how many requests need it. */
export interface Held {
  readonly prompt: Prompt | null
  /** In messages, and where prompts take turns; '' for the backbone alone. */
  readonly name: string
}

interface Entry extends Held {
  readonly prompt: Prompt
  users: number
  isServed: boolean
}

const ALONE: Held = { prompt: null, name: '' }

export class PromptTable {
  readonly #backbone: Backbone
  readonly #entries = new Map<string, Entry>()
  /** What is told of them. */
  readonly served = new Map<string, ServedPrompt>()

  constructor(backbone: Backbone) {
    this.#backbone = backbone
  }

  /** Takes a prompt over, in place of one of that name. */
  add(name: string, prompt: Prompt): void {
    if (typeof name !== 'string' || !NAME.test(name)) {
      throw new RangeError(
        `Expected a prompt's name to be 1..64 letters, digits and _ . - that begin with a letter or digit but received ` +
          JSON.stringify(name),
      )
    }
    checkPrompt(prompt, this.#backbone, `The prompt ${name}`)
    for (const other of this.#entries.values()) {
      if (other.prompt !== prompt) continue
      if (other.name === name) return
      throw new RangeError(
        `The prompt ${name} is served as ${other.name} already: load it again for another name`,
      )
    }
    this.remove(name)
    this.#entries.set(name, { name, prompt, users: 0, isServed: true })
    this.served.set(name, servedPrompt(name, prompt))
  }

  remove(name: string): boolean {
    const entry = this.#entries.get(name)
    if (entry === undefined) return false
    this.#entries.delete(name)
    this.served.delete(name)
    entry.isServed = false
    if (entry.users === 0) entry.prompt.dispose()
    return true
  }

  /** @throws LoptError `ERR_UNKNOWN_PROMPT` */
  hold(name: PromptName | undefined): Held {
    if (name === null || name === undefined) return ALONE
    const entry = this.#entries.get(name)
    if (entry !== undefined) {
      entry.users += 1
      return entry
    }
    throw new LoptError(
      'ERR_UNKNOWN_PROMPT',
      `There is no prompt ${JSON.stringify(name)}`,
    )
  }

  /** A request has ended. */
  release(held: Held): void {
    if (held.prompt === null) return
    const entry = held as Entry
    entry.users -= 1
    if (entry.users === 0 && !entry.isServed) entry.prompt.dispose()
  }

  dispose(): void {
    for (const name of [...this.#entries.keys()]) this.remove(name)
  }
}

function servedPrompt(
  name: string,
  { config, task, trainableParameters }: Prompt,
): ServedPrompt {
  const { method, length, rank } = config
  return {
    ...{ name, method, length, trainableParameters, addedAt: new Date() },
    ...(rank > 0 && { rank }),
    ...(task && { task: { template: task.template, labels: Object.keys(task.labels) } }),
  }
}

// Prompts from files to an engine: those of a folder, read again when told to, and those that are sent as bytes. Knows no HTTP.

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Engine } from '../engine/index.js'
import { cannotRead, LoptError } from '../errors.js'
import { importPeft, loadPrompt, type Prompt } from '../prompt/index.js'
import { copied, type PromptFiles, realFolder, signatureOf } from './prompt-files.js'

const ENDING = '.lopt.safetensors'
const ADAPTER = 'adapter_config.json'
const PICKLE = 'adapter_model.bin'
const ADAPTER_FILES = [ADAPTER, 'adapter_model.safetensors', 'lopt.json']

/** A prompt's name: never a path. */
export const PROMPT_NAME = /^[A-Za-z0-9][\w.-]{0,63}$/

/** What a reading of the folder came to, by the prompts' names. */
export interface FolderReport {
  readonly added: string[]
  readonly replaced: string[]
  readonly removed: string[]
  readonly unchanged: string[]
  /** What does not fit, and is left out; where a prompt of that name is served already, it stays. */
  readonly failed: { readonly name: string; readonly reason: string }[]
}

/** What `PromptsFolder` takes. */
export interface PromptsFolderOptions {
  /** `*.lopt.safetensors` files and adapter folders of PEFT; absent: none, only bytes are taken. */
  folder?: string | undefined
  /** Of a prompt's files together, default 64 MiB. */
  maxBytes?: number | undefined
  /** Take prompts that were trained on another model of the same hidden size. */
  allowOtherBackbone?: boolean | undefined
}

/**
 * The prompts of a folder, served and kept up to date with its files.
 *
 * @example
 * const prompts = new PromptsFolder(engine, { folder: 'prompts' })
 * await prompts.reload()
 */
export class PromptsFolder {
  readonly folder: string | undefined
  readonly #engine: Engine
  readonly #maxBytes: number
  readonly #allowOtherBackbone: boolean
  /** What is served from the folder: name to what its files were like. */
  readonly #read = new Map<string, string>()
  /** One reading at a time. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(engine: Engine, options: PromptsFolderOptions = {}) {
    this.#engine = engine
    this.folder = options.folder
    this.#maxBytes = options.maxBytes ?? 64 * 2 ** 20
    this.#allowOtherBackbone = options.allowOtherBackbone ?? false
  }

  /**
   * Reads the folder: adds what is new, replaces what has changed, removes what has gone. A prompt that is served from elsewhere
   * stays, unless the folder has one of its name.
   *
   * @throws LoptError `ERR_IO` where the folder itself cannot be read
   */
  reload(): Promise<FolderReport> {
    return this.#alone(async () => {
      const report: FolderReport = {
        added: [],
        replaced: [],
        removed: [],
        unchanged: [],
        failed: [],
      }
      if (this.folder === undefined) return report
      const found = await promptsIn(this.folder)
      for (const [name, { files, problem }] of found) {
        try {
          if (problem !== undefined) throw new LoptError('ERR_PROMPT_FILE', problem)
          await this.#take(name, files, report)
        } catch (error) {
          report.failed.push({ name, reason: reasonOf(error) })
        }
      }
      for (const name of this.#read.keys()) {
        if (found.has(name)) continue
        this.#read.delete(name)
        if (this.#engine.removePrompt(name)) report.removed.push(name)
      }
      return report
    })
  }

  /**
   * Serves the prompt of this name that lies in the folder.
   *
   * @throws RangeError for a name that is none, LoptError `ERR_UNKNOWN_PROMPT` where there is none; as `loadPrompt`
   */
  load(name: string): Promise<void> {
    return this.#alone(async () => {
      this.#checkName(name)
      const found =
        this.folder === undefined ? undefined : (await promptsIn(this.folder)).get(name)
      if (found === undefined) {
        throw new LoptError(
          'ERR_UNKNOWN_PROMPT',
          `There is no prompt ${name} in the server's folder of prompts`,
        )
      }
      if (found.problem !== undefined)
        throw new LoptError('ERR_PROMPT_FILE', found.problem)
      const signature = await signatureOf(found.files)
      await this.#serve(name, found.files)
      this.#read.set(name, signature)
    })
  }

  /**
   * Serves a prompt file's bytes under a name, until the server ends.
   *
   * @throws as `load`
   */
  loadBytes(name: string, bytes: Uint8Array): Promise<void> {
    return this.#alone(async () => {
      this.#checkName(name)
      await this.#serve(name, { bytes, names: [`${name}${ENDING}`] })
      this.#read.delete(name)
    })
  }

  /** @returns whether a prompt of this name was served */
  remove(name: string): Promise<boolean> {
    return this.#alone(async () => {
      this.#read.delete(name)
      return this.#engine.removePrompt(name)
    })
  }

  async #take(name: string, files: PromptFiles, report: FolderReport): Promise<void> {
    this.#checkName(name)
    const signature = await signatureOf(files)
    if (this.#read.get(name) === signature && this.#engine.prompts.has(name)) {
      report.unchanged.push(name)
      return
    }
    const isNew = !this.#engine.prompts.has(name)
    await this.#serve(name, files)
    this.#read.set(name, signature)
    report[isNew ? 'added' : 'replaced'].push(name)
  }

  #checkName(name: string): void {
    if (!PROMPT_NAME.test(name)) {
      throw new RangeError(
        `Expected a prompt's name to be 1 to 64 letters, digits, _, - and ., the first a letter or digit, but received ` +
          JSON.stringify(name.slice(0, 80)),
      )
    }
    if (name !== this.#engine.backboneName) return
    throw new RangeError(`${name} is the name of the model itself`)
  }

  async #serve(name: string, files: PromptFiles): Promise<void> {
    const prompt = await this.#loaded(name, files)
    try {
      this.#engine.addPrompt(name, prompt)
    } catch (error) {
      prompt.dispose()
      throw error
    }
  }

  /** From a copy: a file that is cut short while it is mapped would end the process. */
  async #loaded(name: string, files: PromptFiles): Promise<Prompt> {
    const { backbone } = this.#engine
    const how = { allowOtherBackbone: this.#allowOtherBackbone }
    return await copied(files, this.#maxBytes, async (folder) => {
      try {
        const [first] = files.names
        return files.isAdapter
          ? await importPeft(folder, backbone, how)
          : loadPrompt(join(folder, first ?? ''), backbone, how)
      } catch (error) {
        // the copy's path tells its reader nothing
        if (error instanceof Error) {
          error.message = error.message
            .replaceAll(`${folder}/`, '')
            .replaceAll(folder, name)
        }
        throw error
      }
    })
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work)
    this.#last = next.catch(() => {})
    return next
  }
}

interface Found {
  readonly files: PromptFiles
  /** Why it cannot be loaded, where its folder's list says so already. */
  readonly problem?: string
}

/** What in a folder should be a prompt, by name. */
async function promptsIn(folder: string): Promise<Map<string, Found>> {
  const root = await realFolder(folder)
  const found = new Map<string, Found>()
  for (const name of await namesIn(folder)) {
    if (name.startsWith('.')) continue
    if (name.endsWith(ENDING)) {
      add(name.slice(0, -ENDING.length), { root, folder, names: [name] })
      continue
    }
    const inside = join(folder, name)
    const isFolder = await stat(inside).then(
      (info) => info.isDirectory(),
      () => false, // a link to nothing
    )
    const names = isFolder ? await namesIn(inside) : []
    if (!names.includes(ADAPTER)) continue
    const files = ADAPTER_FILES.filter((file) => names.includes(file))
    const problem = names.includes(PICKLE)
      ? `${name}: ${PICKLE} is a pickle, which may run code: write the adapter with safe_serialization`
      : undefined
    add(name, { root, folder: inside, names: files, isAdapter: true }, problem)
  }
  return found

  function add(name: string, files: PromptFiles, problem?: string): void {
    const other = found.has(name)
      ? `${name}: there is a file and a folder of this name`
      : problem
    found.set(name, { files, ...(other !== undefined && { problem: other }) })
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch (cause) {
    throw cannotRead(folder, cause)
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

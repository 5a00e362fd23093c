// The one error class of the package, its closed list of codes, and words for what fails everywhere: a
// file that cannot be read, work that is aborted, an argument that is not what another function made.

/** Why something failed. docs/errors.md describes each code. */
export const ERROR_CODES = [
  'ERR_ADDON_LOAD',
  'ERR_TORCH',
  'ERR_OUT_OF_MEMORY',
  'ERR_DISPOSED',
  'ERR_DEVICE',
  'ERR_MODEL_FILE',
  'ERR_PROMPT_FILE',
  'ERR_DATA',
  'ERR_IO',
  'ERR_NETWORK',
  'ERR_LOCKED',
  'ERR_UNSUPPORTED',
  'ERR_NON_FINITE_LOSS',
  'ERR_ABORTED',
  'ERR_UNKNOWN_PROMPT',
  'ERR_OVERLOADED',
  'ERR_DEADLINE',
  'ERR_CLOSED',
] as const

/** One of the codes of docs/errors.md. */
export type ErrorCode = (typeof ERROR_CODES)[number]

/**
 * Everything that fails for another reason than a caller's mistake (those throw `TypeError` or
 * `RangeError`). The message says what, where (file, line, tensor name) and what to do.
 */
export class LoptError extends Error {
  override readonly name = 'LoptError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/** @throws LoptError `ERR_ABORTED` once the signal is aborted; its reason is the cause. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new LoptError('ERR_ABORTED', 'The work was aborted', { cause: signal.reason })
  }
}

/** `ERR_IO`, in words where the system's are short of them. */
export function cannotRead(file: string, cause: unknown): LoptError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  const reason =
    code === 'ENOENT'
      ? 'there is no such file'
      : code === 'EACCES'
        ? 'permission denied'
        : cause instanceof Error
          ? cause.message
          : String(cause)
  return new LoptError('ERR_IO', `Cannot read ${file}: ${reason}`, { cause })
}

// A member that nothing else has: classes of another copy of the package must do too.
const MADE = {
  backbone: { member: 'tokenizer', makers: 'loadBackbone or createBackbone' },
  prompt: { member: 'contribution', makers: 'createPrompt or loadPrompt' },
  task: { member: 'verbalizer', makers: 'loadTask or createTask' },
  engine: { member: 'observe', makers: 'createEngine' },
} as const

/**
 * Checks arguments that only functions of this package make, at the public edge.
 *
 * @param what names it in the message where the argument's name does not
 * @throws TypeError `Expected backbone to be made by loadBackbone or createBackbone but received undefined`
 */
export function checkMade(
  given: Partial<Record<keyof typeof MADE, unknown>>,
  what?: string,
): void {
  for (const name of Object.keys(given) as (keyof typeof MADE)[]) {
    const { member, makers } = MADE[name]
    const value = given[name]
    const isObject = typeof value === 'object' && value !== null
    if (isObject && member in value) continue
    throw new TypeError(
      `Expected ${what ?? name} to be made by ${makers} but received ${received(value)}`,
    )
  }
}

/** @throws TypeError `Expected options to be an object but received undefined` */
export function checkObject(value: unknown, name: string): void {
  if (typeof value === 'object' && value !== null) return
  throw new TypeError(`Expected ${name} to be an object but received ${received(value)}`)
}

/**
 * What `work` gives, now or later; an error of it begins with what it is about, if that is told. One of the data names its
 * row already.
 */
export function about<T>(what: string | undefined, work: () => T): T {
  const rethrow = (error: unknown): never => {
    const isNamed = error instanceof LoptError && NAMED.includes(error.code)
    if (what !== undefined && error instanceof Error && !isNamed) {
      error.message = `${what}: ${error.message}`
    }
    throw error
  }
  try {
    const result = work()
    return result instanceof Promise ? (result.catch(rethrow) as T) : result
  } catch (error) {
    return rethrow(error)
  }
}

const NAMED: readonly ErrorCode[] = ['ERR_DATA', 'ERR_ABORTED']

function received(value: unknown): string {
  return value === null ? 'null' : typeof value
}

/** Another library's message, which may quote a file's lines. */
export function onOneLine(text: string): string {
  return text.replace(/\s+/g, ' ')
}

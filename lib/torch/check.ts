// Checks of arguments at the public edge, where the addon cannot know an argument's name. Each
// gives the value back; knows no tensor.

/** What a value is, for messages: `string`, `null`, `Array`, `Date`. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value !== 'object') return typeof value
  const made: unknown = value.constructor
  return typeof made === 'function' && made.name ? made.name : 'object'
}

function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : kindOf(value)
}

/** As `shown`, and a string as it is: of a choice the wrong one is worth seeing. */
export function shownChoice(value: unknown): string {
  return typeof value === 'string' ? value : shown(value)
}

/** Options, or another object with fields. @throws TypeError for anything else. */
export function checkObject<O extends object>(value: O, name = 'options'): O {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new TypeError(`Expected ${name} to be an object but received ${shown(value)}`)
}

/** @throws TypeError unless `value` is an array, of whatever. */
export function checkArray<A extends readonly unknown[]>(value: A, name: string): A {
  if (Array.isArray(value)) return value
  throw new TypeError(`Expected ${name} to be an array but received ${shown(value)}`)
}

/** @throws TypeError unless `value` is a function. */
export function checkFunction<F extends (...args: never[]) => unknown>(
  value: F,
  name = 'fn',
): F {
  if (typeof value === 'function') return value
  throw new TypeError(`Expected ${name} to be a function but received ${shown(value)}`)
}

/** @throws TypeError unless `value` is a number; NaN and infinities are numbers. */
export function checkNumber(value: unknown, name: string): number {
  if (typeof value === 'number') return value
  throw new TypeError(`Expected ${name} to be a number but received ${kindOf(value)}`)
}

/** @throws TypeError unless `value` is a finite number; RangeError below `least`. */
export function checkAtLeast(value: unknown, least: number, name: string): number {
  if (checkNumber(value, name) >= least && Number.isFinite(value)) return value as number
  throw new RangeError(
    `Expected ${name} to be ${least} or more but received ${String(value)}`,
  )
}

/** @throws TypeError unless `value` is a safe integer. */
export function checkInteger(value: unknown, name: string): number {
  if (Number.isSafeInteger(value)) return value as number
  throw new TypeError(`Expected ${name} to be an integer but received ${shown(value)}`)
}

/** @throws TypeError unless `value` is an array of safe integers. */
export function checkIntegers(value: unknown, name: string): readonly number[] {
  if (!Array.isArray(value)) {
    throw new TypeError(
      `Expected ${name} to be an array of integers but received ${shown(value)}`,
    )
  }
  for (let i = 0; i < value.length; i++) checkInteger(value[i], `${name}[${i}]`)
  return value
}

/** One integer or several, always as an array. */
export function checkDims(value: unknown, name = 'dim'): readonly number[] {
  return typeof value === 'number'
    ? [checkInteger(value, name)]
    : checkIntegers(value, name)
}

/** @throws TypeError unless integers; RangeError for a negative size. */
export function checkShape(value: unknown, name = 'shape'): readonly number[] {
  const shape = checkIntegers(value, name)
  if (shape.every((size) => size >= 0)) return shape
  throw new RangeError(
    `Expected sizes of 0 or more in ${name} but received [${shape.join(', ')}]`,
  )
}

/** @throws TypeError unless `value` is a string. */
export function checkString(value: unknown, name: string): string {
  if (typeof value === 'string') return value
  throw new TypeError(`Expected ${name} to be a string but received ${shown(value)}`)
}

/** @throws RangeError unless `value` is one of `choices`. */
export function checkOneOf<C extends string>(
  value: unknown,
  choices: readonly C[],
  name: string,
): C {
  if (choices.includes(value as C)) return value as C
  throw new RangeError(
    `Expected ${name} to be one of ${choices.join(', ')} but received ${shownChoice(value)}`,
  )
}

/**
 * The object that a method is called on, which JavaScript lets be anything.
 *
 * @param isOwn tells what the class made, of an object
 * @throws TypeError for what it did not make.
 */
export function checkReceiver<T extends object>(
  value: T,
  isOwn: (value: object) => boolean,
  kind: string,
): T {
  if (typeof value === 'object' && value !== null && isOwn(value)) return value
  throw new TypeError(`Expected ${kind} for this but received ${kindOf(value)}`)
}

/** A shape as messages print it. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`
}

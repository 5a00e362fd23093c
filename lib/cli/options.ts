// The options of a command as one typed table: flags, help text, and a zod schema that reads the
// value. Knows commander and zod, and nothing of what an option does.

import { type Command, InvalidArgumentError, Option } from 'commander'
import { z } from 'zod'

/** One option; `T` is what the command gets. */
export interface OptionSpec<T> {
  readonly flags: string
  readonly description: string
  /** Reads the argument; absent for a flag without one. */
  readonly schema?: z.ZodType<T, string>
  readonly required?: boolean
  readonly default?: T
  /** Whether it may be given several times: `T` is then an array, of all that was given. */
  readonly repeated?: boolean
  /** How the default is shown in the help, where it is not a value that can be typed. */
  readonly defaultText?: string
}

export type OptionTable = Readonly<Record<string, OptionSpec<unknown>>>

/** The values that a table's options give. */
export type OptionValues<Table extends OptionTable> = {
  [Key in keyof Table]: Table[Key] extends OptionSpec<infer T> ? T : never
}

/** An option that may be left out. */
export function optional<T>(
  flags: string,
  description: string,
  schema: z.ZodType<T, string>,
  defaultText?: string,
): OptionSpec<T | undefined> {
  return { flags, description, schema, defaultText }
}

/** An option that may be given several times: all its values, in their order. */
export function repeated<T>(
  flags: string,
  description: string,
  schema: z.ZodType<T, string>,
): OptionSpec<readonly T[] | undefined> {
  return {
    flags,
    description,
    schema: schema.transform((value) => [value]),
    repeated: true,
  }
}

/** An option without which the command is refused. */
export function required<T>(
  flags: string,
  description: string,
  schema: z.ZodType<T, string>,
): OptionSpec<T> {
  return { flags, description, schema, required: true }
}

/** An option with a default, which the help shows. */
export function withDefault<T>(
  flags: string,
  description: string,
  schema: z.ZodType<T, string>,
  value: T,
): OptionSpec<T> {
  return { flags, description, schema, default: value }
}

/** A flag: `--name` is true when given, `--no-name` false. */
export function flag(flags: string, description: string): OptionSpec<boolean> {
  return { flags, description, default: flags.startsWith('--no-') }
}

/** A command with the options of its tables; a table's heading, if it has one, is the help's. */
export function addCommand(
  program: Command,
  name: string,
  {
    description,
    help,
    options,
    environment = false,
  }: {
    description: string
    /** What the help ends with. */
    help: string
    options: Readonly<Record<string, OptionTable>>
    /** Whether each option may be given as an environment variable too: `--api-key-file` as `LOPT_API_KEY_FILE`. */
    environment?: boolean
  },
): Command {
  const command = program
    .command(name)
    .description(description)
    .showHelpAfterError(`See \`npx lopt ${name} --help\`.`)
    .addHelpText('after', help)
  for (const [heading, table] of Object.entries(options)) {
    addOptions(command, table, { heading, environment })
  }
  return command
}

/** Adds the table's options to a command, in the help under `heading` if there is one. */
export function addOptions(
  command: Command,
  table: OptionTable,
  { heading, environment = false }: { heading?: string; environment?: boolean } = {},
): void {
  for (const [key, spec] of Object.entries(table)) {
    const option = new Option(spec.flags, spec.description + aside(spec))
    if (heading !== undefined) option.helpGroup(heading)
    if (option.attributeName() !== key) {
      throw new Error(`The option ${spec.flags} is ${option.attributeName()}, not ${key}`)
    }
    const { schema } = spec
    if (schema) {
      option.argParser((text: string, previous: unknown) => {
        const value = readArgument(schema, text)
        return spec.repeated ? [previous ?? [], value].flat() : value
      })
    }
    if (spec.required) option.makeOptionMandatory()
    // where its output goes is known before options are read
    if (environment && key !== 'json') addVariable(option, schema === undefined)
    // commander gives flags their defaults itself
    if (schema && spec.default !== undefined) option.default(spec.default)
    command.addOption(option)
  }
}

/** commander takes a flag for given whatever its variable says; a variable that says no must not switch it on. */
function addVariable(option: Option, isFlag: boolean): void {
  const words = (option.long ?? '').replace(/^--/, '').replaceAll('-', '_')
  const name = `LOPT_${words.toUpperCase()}`
  const saysNo = /^(|0|false|no|off)$/i.test(process.env[name] ?? 'yes')
  if (!isFlag || !saysNo) option.env(name)
}

/** What the help says behind a description; commander itself shows only defaults that are values. */
function aside({ required, defaultText }: OptionSpec<unknown>): string {
  if (required) return ' (required)'
  return defaultText === undefined ? '' : ` (default: ${defaultText})`
}

/** The values that commander read, with the table's types. */
export function optionValues<Table extends OptionTable>(
  command: Command,
  table: Table,
): OptionValues<Table> {
  const values: Record<string, unknown> = command.opts()
  const entries = Object.entries(table).map(([key, spec]) => [
    key,
    values[key] ?? spec.default,
  ])
  return Object.fromEntries(entries) as OptionValues<Table>
}

// Options that the library calls otherwise.
const OTHER_NAMES: Readonly<Record<string, string>> = {
  learningRate: 'lr',
  learningRates: 'lrs',
  'reuse.budgetBytes': 'reuseBudget',
  'reuse.halfPrecision': 'reuseHalf',
  'profile.path': 'profile',
  'profile.steps': 'profileSteps',
}

/**
 * A message of the library, which names its own options (`Expected maxLength in 1..58`), with the
 * command's flags (`--max-length`) in their place. A name of one plain word counts only where the
 * library names options: between `Expected` and the range, and in backticks.
 */
export function withFlags(message: string, command: Command): string {
  const flags = new Map(
    command.options.map((option) => [option.attributeName(), option.long ?? undefined]),
  )
  const flagOf = (name: string) => flags.get(OTHER_NAMES[name] ?? name)
  return message
    .replace(
      /(^|; )(Expected )([\w.]+)(?= in | to be )|`(\w+)`/g,
      (whole, before = '', expected = '', name, quoted) => {
        const flag = flagOf(name ?? quoted)
        return flag === undefined ? whole : `${before}${expected}${flag}`
      },
    )
    .replace(
      // camelCase is no English word; what stands in a path or in quotes is left as it is
      /(?<![\w./\\"'-])[a-z]+(?:[A-Z][a-z]+)+(?![\w/\\"'-]|\.\w)/g,
      (name) => flagOf(name) ?? name,
    )
}

function readArgument<T>(schema: z.ZodType<T, string>, text: string): T {
  const result = schema.safeParse(text)
  if (result.success) return result.data
  throw new InvalidArgumentError(
    result.error.issues.map(({ message }) => message).join('; '),
  )
}

/** Any text but the empty one. */
export const text = z.string().min(1, 'Expected text')

/** Any text, the empty one too. */
export const anyText = z.string()

/** A path; the empty one would be the current folder, which nobody means. */
export const path = z.string().min(1, 'Expected a path')

/** An integer of `min` or more. */
export function integer(min: number): z.ZodType<number, string> {
  const message = `Expected an integer of ${min} or more.`
  return z
    .string()
    .regex(/^[+-]?\d{1,16}$/, message)
    .transform(Number)
    .pipe(z.int(message).min(min, message))
}

/** A finite number for which `holds`; `range` says which in the message. */
export function number(
  range: string,
  holds: (value: number) => boolean,
): z.ZodType<number, string> {
  const message = `Expected a number ${range}.`
  return z
    .string()
    .regex(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i, message)
    .transform(Number)
    .refine((value) => Number.isFinite(value) && holds(value), message)
}

export const positive = number('above 0', (value) => value > 0)
export const notNegative = number('of 0 or more', (value) => value >= 0)

/** One of a few words. */
export function choice<const Word extends string>(
  words: readonly Word[],
): z.ZodType<Word, string> {
  return z
    .string()
    .refine((value): value is Word => (words as readonly string[]).includes(value), {
      message: `Allowed choices are ${words.join(', ')}.`,
    })
}

/** Names with commas between them. */
export const list = z
  .string()
  .transform((value) => value.split(',').map((name) => name.trim()))
  .refine(
    (names) => names.every((name) => name !== ''),
    'Expected names with commas between them.',
  )

/** A regular expression. */
export const pattern = z.string().transform((value, context) => {
  try {
    return new RegExp(value)
  } catch {
    context.addIssue('Expected a regular expression.')
    return z.NEVER
  }
})

/** Numbers above 0 by name: `A=0.005,B=0.1`. */
export const numbersByName = z.string().transform((value, context) => {
  const entries = value.split(',').map((part) => {
    const [name = '', text = ''] = part.split('=').map((half) => half.trim())
    return [name, text === '' ? Number.NaN : Number(text)] as const
  })
  if (entries.every(([name, number]) => name !== '' && number > 0 && number < Infinity)) {
    return Object.fromEntries(entries)
  }
  context.addIssue('Expected names with numbers above 0, such as A=0.005,B=0.1.')
  return z.NEVER
})

/** `--json`, which every command has. */
export const jsonOption = flag('--json', 'one JSON object a line on stdout')

// `lopt generate`: continues a text. Parses, prints, and leaves the rest to `generate`.

import type { Command } from 'commander'
import { generate } from '../index.js'
import { askedEvents } from './failure.js'
import type { Context } from './interrupt.js'
import { backboneOptions, promptOptions, withModel } from './model-options.js'
import {
  addCommand,
  anyText,
  integer,
  jsonOption,
  notNegative,
  number,
  type OptionValues,
  optional,
  optionValues,
  positive,
  repeated,
  withDefault,
} from './options.js'
import { readText, STDIN } from './standard-input.js'

const options = {
  ...backboneOptions,
  ...promptOptions,
  text: optional(
    '--text <text>',
    'what is continued, as it is; -: standard input',
    anyText,
    'standard input',
  ),
  maxNewTokens: withDefault('--max-new-tokens <n>', 'tokens at most', integer(1), 64),
  minNewTokens: withDefault(
    '--min-new-tokens <n>',
    'tokens before the text may end',
    integer(0),
    0,
  ),
  temperature: withDefault(
    '--temperature <x>',
    '0: the likeliest token each time; above: sampling',
    notNegative,
    0,
  ),
  topK: withDefault(
    '--top-k <n>',
    'sample among the k likeliest tokens; 0: all',
    integer(0),
    0,
  ),
  topP: withDefault(
    '--top-p <x>',
    'sample among the likeliest tokens that together have this probability',
    number('above 0, at most 1', (value) => value > 0 && value <= 1),
    1,
  ),
  repetitionPenalty: withDefault(
    '--repetition-penalty <x>',
    'above 1, tokens seen before get less likely',
    positive,
    1,
  ),
  numBeams: withDefault(
    '--num-beams <n>',
    'beams of a beam search, which looks for the likeliest text; 1: none',
    integer(1),
    1,
  ),
  lengthPenalty: withDefault(
    '--length-penalty <x>',
    "power of the length that a beam's score is divided by; above 0, longer texts are preferred",
    number('a number', Number.isFinite),
    1,
  ),
  stop: repeated('--stop <string>', 'ends the text before it; may be repeated', anyText),
  logProbabilities: optional(
    '--log-probabilities <n>',
    "tells each token's log-probability, and those of the n likeliest; for --json",
    integer(0),
  ),
  seed: withDefault('--seed <n>', 'of the sampling', integer(0), 0),
  json: jsonOption,
}

const HELP = `
The template of a prompt file is not applied: give the text as the model is to read it. A line break
at the end of standard input is dropped. With --json a line a token, and at the end
{"type": "done", "text": …, "tokens": […], "finishReason": "stop" | "length" | "positions"}

Examples:
  npx lopt generate --backbone builtin:nano-gpt2 --text 'A large animal that'
  echo 'Once upon a time' | npx lopt generate --backbone ./gpt2 --temperature 0.8 --top-p 0.95`

export function addGenerate(program: Command, context: Context): void {
  const command = addCommand(program, 'generate', {
    description: 'Continues a text, with or without a prompt.',
    help: HELP,
    options: { 'Options:': options },
  })
  command.action(() => run(optionValues(command, options), context))
}

async function run(
  values: OptionValues<typeof options>,
  context: Context,
): Promise<void> {
  const { output, signal } = context
  const text = await textOf(values.text, context)
  await withModel(values, context, async (backbone, prompt) => {
    const events = generate({
      backbone,
      prompt,
      text,
      maxNewTokens: values.maxNewTokens,
      minNewTokens: values.minNewTokens,
      temperature: values.temperature,
      topK: values.topK,
      topP: values.topP,
      repetitionPenalty: values.repetitionPenalty,
      numBeams: values.numBeams,
      lengthPenalty: values.lengthPenalty,
      ...(values.stop && { stop: values.stop }),
      ...(values.logProbabilities !== undefined && {
        logProbabilities: values.logProbabilities,
      }),
      seed: values.seed,
      signal,
    })
    for await (const event of askedEvents(events)) {
      output.event({ ...event })
      output.stream(event.type === 'token' ? event.text : '\n')
    }
  })
}

async function textOf(given: string | undefined, context: Context): Promise<string> {
  return given === undefined || given === STDIN ? await readText(context) : given
}

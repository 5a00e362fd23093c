// The command line: its commands, and what is common to them all. Knows what to call, not how it
// works.

import { Command } from 'commander'
import { LoptError } from '../errors.js'
import { packageVersion } from '../native.js'
import { addBuild } from './build.js'
import { addCompress } from './compress.js'
import { runDoctor } from './doctor.js'
import { addEval } from './eval.js'
import { addExport } from './export.js'
import { EXIT, reportFailure } from './failure.js'
import { addGenerate } from './generate.js'
import { addImport } from './import.js'
import { type Context, listenForInterrupts } from './interrupt.js'
import { addOptions, jsonOption, optionValues, withFlags } from './options.js'
import { createOutput } from './output.js'
import { addReport } from './report.js'
import { addScore } from './score.js'
import { addServe } from './serve.js'
import { addSweep } from './sweep.js'
import { addTrain } from './train.js'

const COMMON_HELP = `
Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted by Ctrl-C (train saves first).
With --json, stdout has one JSON object a line; what people read goes to stderr.
LOPT_DEBUG=1 adds the stack to a failure.`

async function main(argv: readonly string[]): Promise<number> {
  const [, , name = '', sub = ''] = argv
  const output = createOutput(argv.includes('--json'))
  const interrupt = listenForInterrupts((line) => output.note(line))
  showWarnings((line) => output.note(line))
  const context: Context = { output, signal: interrupt.signal }
  let exitCode: number = EXIT.ok

  const program = new Command('lopt')
    .description('Low-rank prompt tuning for Node.js, on libtorch.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, 'lopt: ')),
    })
    .showHelpAfterError('See `npx lopt --help`.')
    .addHelpText('after', COMMON_HELP)
  addTrain(program, context)
  addEval(program, context)
  addScore(program, context)
  addGenerate(program, context)
  addSweep(program, context, () => {
    exitCode = EXIT.failed
  })
  addReport(program, context)
  addServe(program, context, (message) => interrupt.isEnd(message))
  addExport(program, context)
  addImport(program, context)
  addCompress(program, context)
  addBuild(program)
  addDoctor(program, async (json) => {
    exitCode = await runDoctor({ json })
  })

  try {
    await program.parseAsync(argv)
  } catch (error) {
    const group = namedIn(program, name)
    const command = group && namedIn(group, sub)
    const path = [group, command].flatMap((known) => (known ? [`${known.name()} `] : []))
    const failed = {
      hint: `See \`npx lopt ${path.join('')}--help\`.`,
      reworded: (message: string) => withFlags(message, command ?? group ?? program),
    }
    // what was told to stop has not failed
    const aborted = error instanceof LoptError && error.code === 'ERR_ABORTED'
    if (!aborted) exitCode = reportFailure(error, output, failed)
  }
  return interrupt.exitCode() ?? exitCode
}

function namedIn(group: Command, name: string): Command | undefined {
  return group.commands.find((command) => command.name() === name)
}

function addDoctor(program: Command, run: (json: boolean) => Promise<void>): void {
  const command = program
    .command('doctor')
    .description('Says what is installed, what is missing, and how to mend it.')
  const table = { json: jsonOption }
  addOptions(command, table)
  command.action(() => run(optionValues(command, table).json))
}

/** Warnings as one line each, in place of Node's own way of printing them. */
function showWarnings(note: (line: string) => void): void {
  process.removeAllListeners('warning')
  process.on('warning', (warning) => {
    // of the Node version, not of what was asked for
    const ofNode = /^(Experimental|Deprecation)Warning$/.test(warning.name)
    if (!ofNode || process.env.LOPT_DEBUG === '1') {
      note(`lopt: warning: ${warning.message.replace(/\s*\n\s*/g, ' ')}`)
    }
  })
}

process.exitCode = await main(process.argv)

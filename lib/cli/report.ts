// `lopt report`: run folders as one HTML page. Parses, prints, and leaves the rest to `report`.

import type { Command } from 'commander'
import { report } from '../index.js'
import type { Context } from './interrupt.js'
import {
  addCommand,
  jsonOption,
  optional,
  optionValues,
  path,
  required,
  text,
} from './options.js'

const options = {
  out: required('--out <file>', 'the page to write, such as report.html', path),
  title: optional('--title <text>', "the page's title", text, 'from the folders'),
  json: jsonOption,
}

const HELP = `
A folder is a run (lopt train --out), a sweep (lopt sweep --out), or holds such folders. The page needs
no network: it can be sent as it is.

Example:
  npx lopt report runs/ablation runs/topics --out report.html`

export function addReport(program: Command, { output }: Context): void {
  const command = addCommand(program, 'report', {
    description:
      'Makes one self-contained HTML page of run folders: plots, tables, settings.',
    help: HELP,
    options: { 'Options:': options },
  })
  command.argument('<dir...>', 'folders of runs or sweeps')
  command.action(async (folders: string[]) => {
    const { out, title } = optionValues(command, options)
    const summary = await report({
      folders,
      out,
      ...(title === undefined ? {} : { title }),
    })
    output.event({ type: 'result', ...summary })
    const { runs, unfinished, failed, impossible } = summary
    output.print(
      `${out}: ${runs} runs, ${unfinished} unfinished, ${failed} failed or diverged, ` +
        `${impossible} impossible`,
    )
  })
}

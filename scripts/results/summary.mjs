// From the cells' figures to docs/results.json and the README's table. Knows no model.

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { deviation, mean, pairedInterval } from './statistics.mjs'
import { markdownTable, percent } from './table.mjs'

const BEGIN = '<!-- results: begin (npm run results) -->'
const END = '<!-- results: end -->'

/** Means and spreads of every row, and LoPT-1 against full prompt tuning, by model. */
export function summarise(models) {
  return Object.fromEntries(
    Object.entries(models).map(([model, results]) => [model, summaryOf(results)]),
  )
}

function summaryOf({ backbone, tasks }) {
  const summary = { backbone, tasks: {} }
  for (const [
    name,
    { metric, testRows, training, majority, hard, methods },
  ] of Object.entries(tasks)) {
    const rows = { majority: fixed(majority), 'hard prompt': fixed(hard) }
    for (const [method, { learningRate, grid, runs }] of Object.entries(methods)) {
      const of = (figure) => runs.map(({ test }) => test[figure])
      rows[method] = {
        trainableParameters: runs[0].trainableParameters,
        learningRate,
        devByLearningRate: Object.fromEntries(
          grid.map((c) => [c.learningRate, c.dev[metric]]),
        ),
        seeds: runs.map(({ seed }) => seed),
        accuracy: { mean: mean(of('accuracy')), deviation: deviation(of('accuracy')) },
        macroF1: { mean: mean(of('macroF1')), deviation: deviation(of('macroF1')) },
        seconds: mean(runs.map(({ seconds }) => seconds)),
      }
    }
    const right = (method) => methods[method].runs.map(({ test }) => test.right)
    const paired = Math.min(right('lopt-1').length, right('full').length)
    summary.tasks[name] = {
      metric,
      testRows,
      training,
      rows,
      'lopt-1 minus full': pairedInterval(
        right('lopt-1').slice(0, paired),
        right('full').slice(0, paired),
      ),
    }
  }
  return summary
}

function fixed({ trainableParameters, seconds, test }) {
  const { accuracy, macroF1 } = test
  return {
    trainableParameters,
    seconds,
    accuracy: { mean: accuracy },
    macroF1: { mean: macroF1 },
  }
}

/**
 * Writes docs/results.json and puts the table between the README's marks. Models that were not run keep
 * what docs/results.json says of them.
 */
export async function writeSummary(root, found) {
  const file = join(root, 'docs', 'results.json')
  const summary = { ...JSON.parse(await readFile(file, 'utf8')), ...found }
  await writeFile(file, `${JSON.stringify(summary, null, 2)}\n`)
  const path = join(root, 'README.md')
  const readme = await readFile(path, 'utf8')
  const [before, rest] = readme.split(BEGIN)
  const after = rest?.split(END)[1]
  if (after === undefined)
    throw new Error(`README.md lacks the marks ${BEGIN} and ${END}`)
  await writeFile(path, `${before}${BEGIN}\n\n${text(summary)}\n\n${END}${after}`)
  console.log(text(summary))
}

function text(summary) {
  const header = [
    'model',
    'task',
    'method',
    'trainable',
    'learning rate',
    'seeds',
    'accuracy %',
    'macro-F1',
    'seconds',
  ]
  const all = Object.entries(summary).flatMap(([model, { tasks }]) =>
    Object.entries(tasks).map(([task, found]) => ({ model, task, ...found })),
  )
  const rows = all.flatMap(({ model, task, rows: found }) =>
    Object.entries(found).map(([method, row]) => [
      model,
      task,
      method,
      String(row.trainableParameters),
      String(row.learningRate ?? ''),
      String(row.seeds?.length ?? ''),
      spread(row.accuracy, percent),
      spread(row.macroF1, (value) => value.toFixed(3)),
      row.seconds.toFixed(0),
    ]),
  )
  const points = (value) => `${value < 0 ? '−' : '+'}${Math.abs(100 * value).toFixed(1)}`
  const compared = all.map(
    ({ model, task, testRows, 'lopt-1 minus full': d }) =>
      `LoPT-1 minus full on \`${task}\` with ${model}: ${points(d.difference)} points of accuracy ` +
      `(paired 95 % interval over the ${testRows} test rows: ${points(d.low)} to ${points(d.high)}).`,
  )
  return `${markdownTable([header, ...rows], 3)}\n\n${compared.join('\n')}`
}

function spread({ mean: middle, deviation: width }, format) {
  return width === undefined ? format(middle) : `${format(middle)} ± ${format(width)}`
}

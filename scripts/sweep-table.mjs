// Prints Markdown tables of finished sweeps for docs/sweeps.md: the mean and standard deviation over
// seeds of each method at the learning rate that dev chose, or length by rank where both vary.
//
//   node scripts/sweep-table.mjs runs/topics-methods runs/ablation

import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { deviation, mean } from './results/statistics.mjs'

const percent = (share) => (100 * share).toFixed(1)

for (const folder of process.argv.slice(2)) {
  const results = await resultsOf(folder)
  const seconds = results.reduce(
    (sum, { seconds: { train, test } }) => sum + (train ?? 0) + test,
    0,
  )
  console.log(
    `\n\`${basename(folder)}\`: ${results.length} runs, ${(seconds / 60).toFixed(0)} minutes of one core\n`,
  )
  const grids = grouped(results, ({ settings: { length, rank } }) => `${length} ${rank}`)
  console.log((grids.size > 4 ? gridTables(results) : methodTable(results)).join('\n'))
}

async function resultsOf(folder) {
  const files = await readdir(folder, { recursive: true })
  const paths = files.filter((file) => basename(file) === 'result.json').sort()
  const all = await Promise.all(
    paths.map(async (path) => JSON.parse(await readFile(join(folder, path), 'utf8'))),
  )
  return all.filter(({ status }) => status === 'done')
}

/** Of runs that differ in their seed alone. */
function figuresOf(runs) {
  const of = (split, name) => runs.map((run) => run[split]?.[name])
  const spread = (values, format) =>
    values.length > 1
      ? `${format(mean(values))} ± ${format(deviation(values))}`
      : format(values[0])
  return {
    dev: mean(of('dev', 'accuracy')),
    test: spread(of('test', 'accuracy'), percent),
    macroF1: spread(of('test', 'macroF1'), (value) => value.toFixed(3)),
  }
}

function methodTable(results) {
  const byMethod = grouped(results, ({ settings }) => settings.method)
  const rows = [...byMethod.values()].map((runs) => {
    const byRate = [...grouped(runs, ({ learningRate }) => learningRate).values()]
    // Only the chosen rate ran with every seed.
    const chosen = byRate.reduce((a, b) => (b.length > a.length ? b : a))
    const { settings, trainableParameters = 0, learningRate } = chosen[0]
    const { dev, test, macroF1 } = figuresOf(chosen)
    const time = mean(chosen.map(({ seconds }) => seconds.train ?? 0)).toFixed(0)
    const cells = [
      settings.method,
      trainableParameters,
      learningRate ?? '',
      chosen.length,
      percent(dev),
      test,
      macroF1,
      time,
    ]
    return { cells, dev }
  })
  rows.sort((a, b) => b.dev - a.dev)
  return [
    '| method | trainable | learning rate | seeds | dev, % | test, % | macro-F1 | training, s |',
    '|---|---:|---:|---:|---:|---:|---:|---:|',
    ...rows.map(({ cells }) => `| ${cells.join(' | ')} |`),
  ]
}

/** Accuracy on test by length and rank, for each method. */
function gridTables(results) {
  const values = (name) =>
    [...new Set(results.map(({ settings }) => settings[name]))].sort((a, b) => a - b)
  const ranks = values('rank')
  return [...grouped(results, ({ settings }) => settings.method)].flatMap(
    ([method, runs]) => [
      `| ${method}, test, % | ${ranks.map((rank) => `r=${rank}`).join(' | ')} |`,
      `|---|${ranks.map(() => '---:|').join('')}`,
      ...values('length').map((length) => {
        const cells = ranks.map((rank) => {
          const cell = runs.filter(
            ({ settings }) => settings.length === length && settings.rank === rank,
          )
          return cell.length === 0 ? '–' : figuresOf(cell).test
        })
        return `| n=${length} | ${cells.join(' | ')} |`
      }),
      '',
    ],
  )
}

/** Node 20 has no Map.groupBy. */
function grouped(items, keyOf) {
  const groups = new Map()
  for (const item of items) {
    const key = keyOf(item)
    groups.set(key, [...(groups.get(key) ?? []), item])
  }
  return groups
}

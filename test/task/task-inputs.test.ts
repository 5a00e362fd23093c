// 50 rows a task, in the hub's layout, against what an implementation in Python of the published
// preprocessing makes of them: test/fixtures/make_task_inputs.py.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Cells } from '../../lib/task/datasets/cells.js'
import { namedTasks, TEMPLATE_STYLES } from '../../lib/task/datasets/index.js'
import type { DataRow, NamedTask } from '../../lib/task/datasets/named.js'
import { fillTemplate } from '../../lib/task/index.js'

type Line = { row: Record<string, unknown> } & Record<string, [string, string]>

const cases = Object.values(namedTasks).flatMap((task) =>
  TEMPLATE_STYLES.map((style) => [task.name, style, task] as const),
)

test.each(cases)('%s reads in the style %s as published', (name, style, task) => {
  const file = `test/fixtures/datasets/inputs/${name}.jsonl`
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  expect(lines).toHaveLength(50)
  for (const [i, text] of lines.entries()) {
    const line = JSON.parse(text) as Line
    const [row] = task.rows(new Cells(line.row, { file, line: i + 1 })) as [DataRow]
    const { template } = task.formats[style]
    expect([fillTemplate(template, row.fields), target(task, style, row)]).toEqual(
      line[style],
    )
  }
})

/** The words that training teaches. */
function target({ formats }: NamedTask, style: keyof NamedTask['formats'], row: DataRow) {
  const { candidates, words } = formats[style]
  if (candidates === undefined) return words[row.label] ?? row.label
  // T5's WSC gives the noun whether or not it is the right one
  const label = style === 't5' && row.fields.noun !== undefined ? 'True' : row.label
  return candidates(row).find((one) => one.label === label)?.words
}

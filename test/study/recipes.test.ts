import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { expandCells, groupCells } from '../../lib/study/cells.js'
import { readSweepConfig } from '../../lib/study/sweep-config.js'

const folder = join(import.meta.dirname, '../../recipes')
const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'))

test('there are recipes', () => expect(files.length).toBeGreaterThan(5))

test.each(files)('%s is valid, and every method and task in it is known', (file) => {
  const config = readSweepConfig(join(folder, file))
  const cells = expandCells(config)
  expect(cells.length).toBeGreaterThan(1)
  expect(new Set(cells.map(({ name }) => name)).size).toBe(cells.length)
  expect(groupCells(cells, config.select).length).toBeGreaterThan(0)
})

test("the ablation is the paper's two axes, for both forms", () => {
  const cells = expandCells(readSweepConfig(join(folder, 'ablation.yaml')))
  // 2 methods, n in {5, 10, 20, 40}, r in {1, 2, 4, 8, 16}, 2 seeds
  expect(cells.length).toBe(2 * 4 * 5 * 2)
})

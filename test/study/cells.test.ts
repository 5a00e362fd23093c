import { describe, expect, test } from 'vitest'
import { expandCells, groupCells } from '../../lib/study/cells.js'
import { readSweepConfig, type SweepConfig } from '../../lib/study/sweep-config.js'

const base = { backbone: 'builtin:nano-gpt2', task: 'topics' }

const cells = (config: SweepConfig) =>
  expandCells(readSweepConfig({ ...base, ...config }))
const names = (config: SweepConfig) => cells(config).map(({ name }) => name)

describe('the cells of a grid', () => {
  test('are every combination in a fixed order, seeds innermost', () => {
    const grid = { seed: [0, 1], learningRate: [0.1, 1], rank: [2], length: [20] }
    expect(names({ grid: { ...grid, method: ['lopt-1'] } })).toEqual([
      'topics/lopt-1/P20-R2-lr0.1-seed0',
      'topics/lopt-1/P20-R2-lr0.1-seed1',
      'topics/lopt-1/P20-R2-lr1-seed0',
      'topics/lopt-1/P20-R2-lr1-seed1',
    ])
  })

  test('collapse where a method has no rank, and where nothing is trained', () => {
    const grid = {
      method: ['full', 'hard', 'lopt-2'],
      rank: [2, 4],
      seed: [0, 1],
    } as const
    expect(names({ length: 8, grid })).toEqual([
      'topics/full/P8-seed0',
      'topics/full/P8-seed1',
      'topics/hard/once',
      'topics/lopt-2/P8-R2-seed0',
      'topics/lopt-2/P8-R2-seed1',
      'topics/lopt-2/P8-R4-seed0',
      'topics/lopt-2/P8-R4-seed1',
    ])
  })

  test('take what a method or a task says in place of the grid, the method before the task', () => {
    const found = cells({
      grid: { method: ['full', 'lopt-1'], learningRate: [0.1, 1] },
      tasks: { topics: { steps: 7, learningRate: 0.5 } },
      methods: { full: { learningRate: [3, 4], rank: 2 } },
    })
    expect(
      found.map(({ settings: { method, learningRate, steps } }) => ({
        method,
        learningRate,
        steps,
      })),
    ).toEqual([
      { method: 'full', learningRate: 3, steps: 7 },
      { method: 'full', learningRate: 4, steps: 7 },
      { method: 'lopt-1', learningRate: 0.5, steps: 7 },
    ])
  })

  test('have what else varies in their names, in characters that a file can have', () => {
    const init = ['text:a/b', 'vocab']
    expect(names({ grid: { init, placement: ['prefix', 'suffix'] } })).toEqual([
      'topics/lopt-1/placement_prefix-init_text_a_b-seed0',
      'topics/lopt-1/placement_prefix-init_vocab-seed0',
      'topics/lopt-1/placement_suffix-init_text_a_b-seed0',
      'topics/lopt-1/placement_suffix-init_vocab-seed0',
    ])
  })

  test('have folders of their own where their names would be one', () => {
    expect(
      new Set(names({ grid: { init: ['text:a/b', 'text:a b', 'text:a?b'] } })).size,
    ).toBe(3)
  })
})

test('shards are disjoint, and together all cells', () => {
  const all = cells({
    grid: { rank: [1, 2, 3], seed: [0, 1, 2, 3], learningRate: [1, 2] },
  })
  const parts = [1, 2, 3, 4, 5].map((index) =>
    groupCells(all, undefined, { index, of: 5 }).flatMap(({ first }) => first),
  )
  expect(parts.flat().length).toBe(all.length)
  expect(new Set(parts.flat())).toEqual(new Set(all))
})

test('what is chosen on dev stays in one shard with the cells that it chooses among', () => {
  const config = readSweepConfig({
    ...base,
    grid: {
      rank: [1, 2],
      seed: [0, 1, 2],
      learningRate: [0.1, 1],
      method: ['hard', 'lopt-1'],
    },
    select: { over: 'learningRate', seed: 1 },
  })
  const groups = groupCells(expandCells(config), config.select)
  const sizes = groups.map(({ first, later }) => [first.length, later.length])
  expect(sizes).toEqual([
    [1, 0],
    [2, 4],
    [2, 4],
  ])
  expect(groups[1]?.first.every(({ settings }) => settings.seed === 1)).toBe(true)
})

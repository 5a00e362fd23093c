import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readSweepConfig } from '../../lib/study/sweep-config.js'
import { readTrainConfig } from '../../lib/study/train-config.js'
import { folder } from './small-sweep.js'

const file = join(folder, 'x.yaml')
function written(text: string): string {
  writeFileSync(file, text)
  return file
}
const head = 'backbone: builtin:nano-gpt2\ntask: topics\n'

describe('a configuration that is wrong is refused with the path of the field', () => {
  test.each([
    ['grid:\n  rank: [1, 2, two]', 'grid.rank[2]: Expected a number but received "two"'],
    ['grid:\n  rank: [1, 2.5]', 'grid.rank[1]: Expected an integer but received 2.5'],
    ['grid:\n  rank: 2', 'grid.rank: Expected a list but received 2'],
    ['grid:\n  rank: []', 'grid.rank: Expected 1 or more values but received []'],
    ['steps: 0', 'steps: Expected a number of 1 or more but received 0'],
    ['stepz: 10', 'stepz: There is no such setting'],
    ['grid:\n  backbone: [a, b]', 'grid.backbone: There is no such setting'],
    [
      'methods:\n  lopt-2: { learningRate: -1 }',
      'methods.lopt-2.learningRate: Expected a number above 0 but received -1',
    ],
    [
      'methods:\n  full: { clip: [1, x] }',
      'methods.full.clip[1]: Expected a number but received "x"',
    ],
    ['methods:\n  lopt-3: {}', 'methods.lopt-3: There is no such setting'],
    [
      'method: lopt-3',
      /^method: Expected one of lopt-1, lopt-2, full, .*hard.* but received "lopt-3"$/,
    ],
    ['tasks:\n  spam: { steps: 3 }', 'tasks.spam: No run is of this task'],
    [
      'seed: 1\ngrid:\n  seed: [1, 2]',
      'seed: Expected one of seed and grid.seed, but received both',
    ],
    [
      'select: { over: learningRate, seed: 3 }',
      'select.seed: Expected one of grid.seed but received 3',
    ],
    ['trainable: "("', 'trainable: Expected a regular expression but received "("'],
  ])('%j', (text, message) => {
    const wrong = () => readSweepConfig(written(`${head}${text}\n`))
    expect(wrong).toThrow(RangeError)
    const said = messageOf(wrong).replace(`${file}: `, '')
    if (typeof message === 'string') expect(said).toBe(message)
    else expect(said).toMatch(message)
  })

  test('all wrong fields are named at once', () => {
    const wrong = () => readSweepConfig(written('steps: 0\nclip: -1\n'))
    expect(messageOf(wrong)).toMatch(/steps: .*; .*clip: /)
  })

  test('what is no YAML is refused with its line', () => {
    const wrong = () => readSweepConfig(written('steps: 1\nsteps: 2\n'))
    expect(messageOf(wrong)).toMatch(/x\.yaml:2:1: Map keys must be unique/)
  })

  test('aliases without end are refused', () => {
    const lines = ['a: &a [x, x, x, x, x, x, x, x, x]']
    for (const [i, name] of [...'bcdefgh'].entries()) {
      const one = `*${'abcdefgh'[i]}`
      lines.push(`${name}: &${name} [${Array.from({ length: 9 }, () => one).join(', ')}]`)
    }
    expect(() => readSweepConfig(written(lines.join('\n')))).toThrow(/alias/)
  })

  test('a file that is none is an ERR_IO', () => {
    expect(() => readSweepConfig(join(folder, 'none.yaml'))).toThrow(
      expect.objectContaining({
        code: 'ERR_IO',
        message: expect.stringContaining('none.yaml: there is no such file'),
      }),
    )
  })
})

describe('one run of a configuration', () => {
  const grid = `${head}grid:\n  rank: [1, 2]\n  method: [lopt-1, full]\nmethods:\n  full: { learningRate: 3 }\n`

  test('has what base, method and what is given say', () => {
    expect(readTrainConfig(written(grid), { method: 'full', seed: 4 })).toEqual({
      backbone: 'builtin:nano-gpt2',
      task: 'topics',
      method: 'full',
      learningRate: 3,
      seed: 4,
    })
  })

  test('is refused where an axis leaves several values', () => {
    const wrong = () => readTrainConfig(written(grid), { method: 'lopt-1' })
    expect(messageOf(wrong)).toMatch(
      /x\.yaml: grid\.rank: Expected one value but received 2/,
    )
  })

  test('finds its files beside the configuration', () => {
    const text = 'backbone: ./model\ndata: rows.jsonl\n'
    expect(readTrainConfig(written(text))).toMatchObject({
      backbone: join(folder, 'model'),
      data: join(folder, 'rows.jsonl'),
    })
  })
})

function messageOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('Expected it to be refused')
}

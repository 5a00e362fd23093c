// The tasks of the literature, from their original files and from the hub's: miniatures made by hand,
// test/fixtures/datasets, and the same in Parquet by make_datasets.mjs.

import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { namedTasks } from '../../lib/task/datasets/index.js'
import type { NamedTask } from '../../lib/task/datasets/named.js'
import { torchOrder } from '../../lib/task/datasets/torch-order.js'
import { type Example, loadTask, type Task } from '../../lib/task/index.js'
import { Generator, randperm } from '../../lib/torch/index.js'
import { startHub } from '../hub/hub-server.js'

const fixtures = 'test/fixtures/datasets'
const original = `${fixtures}/original`
const names = Object.keys(namedTasks)
const official = { folder: original, splits: 'official' } as const

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lopt-task-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

function bare(examples: readonly Example[]): object[] {
  return examples.map(({ source: _, ...rest }) => rest)
}

describe('from the hub', () => {
  test.each(names)('%s has the rows of its original files', async (name) => {
    const { repository } = (namedTasks[name] as NamedTask).hub
    const own = join(fixtures, 'hub', repository.split('/')[1] as string)
    const paths = readdirSync(own, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
    const files = Object.fromEntries(
      paths.map((path) => [path.slice(own.length + 1), readFileSync(path)]),
    )
    const hub = await startHub(files, { id: repository, type: 'dataset' })
    vi.stubEnv('HF_ENDPOINT', hub.endpoint)
    vi.stubEnv('HF_HUB_CACHE', folder)
    try {
      const task = await loadTask(name, { splits: 'official' })
      const local = await loadTask(name, official)
      for (const split of ['train', 'dev', 'test'] as const) {
        expect(bare(task[split])).toEqual(bare(local[split]))
      }
      expect(readdirSync(folder)).toContain(`datasets--${repository.replace('/', '--')}`)
      // the second time nothing is downloaded
      const before = hub.requests.filter(({ url }) => url.startsWith('/content/')).length
      expect(before).toBe(2)
      await loadTask(name, { splits: 'official' })
      expect(hub.requests.filter(({ url }) => url.startsWith('/content/'))).toHaveLength(
        2,
      )
    } finally {
      await hub.close()
    }
  })

  test('says which files a repository does not have', async () => {
    const hub = await startHub(
      { 'rte/train.csv': Buffer.from('x') },
      { id: 'aps/super_glue', type: 'dataset' },
    )
    vi.stubEnv('HF_ENDPOINT', hub.endpoint)
    vi.stubEnv('HF_HUB_CACHE', folder)
    await expect(loadTask('rte')).rejects.toThrow(
      'aps/super_glue has 0 files rte/train-*.parquet where some were expected',
    )
    await hub.close()
  })
})

describe('splits', () => {
  test('are drawn as torch.randperm draws', () => {
    for (const count of [1, 2, 57, 277, 3000]) {
      const generator = new Generator({ seed: 42 })
      const drawn = Array.from(randperm(count, { generator }).data(), Number)
      expect(torchOrder(count, 42)).toEqual(drawn)
    }
  })

  test('of a small data set halve the validation rows', async () => {
    const task = await loadTask('rte', { folder: original })
    // torch.randperm(4) with seed 42 is 2, 3, 0, 1
    expect(torchOrder(4, 42)).toEqual([2, 3, 0, 1])
    expect(task.dev.map(({ source }) => source?.line)).toEqual([3, 4])
    expect(task.test.map(({ source }) => source?.line)).toEqual([1, 2])
    expect(task).toMatchObject({ heldOut: 0, train: { length: 2 } })
  })

  test('keep the answers to a question together', async () => {
    const { dev, test: held } = await loadTask('multirc', { folder: original })
    const groups = (rows: readonly Example[]) => new Set(rows.map(({ group }) => group))
    expect([...groups(dev), ...groups(held)].sort()).toEqual(['0-0', '0-1', '1-2', '1-3'])
    expect(groups(dev).size).toBe(2)
  })

  test('of a large one take 1,000 training rows', async () => {
    const rows = Array.from({ length: 1200 }, (_, i) => `sentence ${i}\t${i % 2}`)
    writeFileSync(join(folder, 'train.tsv'), `sentence\tlabel\n${rows.join('\n')}\n`)
    cpSync(`${original}/SST-2/dev.tsv`, join(folder, 'dev.tsv'))
    const task = await loadTask('sst2', { folder })
    expect([task.train.length, task.dev.length, task.test.length]).toEqual([200, 1000, 4])
    const first = torchOrder(1200, 42)[0] as number
    expect(task.dev[0]?.fields.sentence).toBe(`sentence ${first}`)
    expect(task.source).toMatchObject({
      task: 'sst2',
      templates: 'gpt2',
      splits: 'research',
    })
  })
})

describe('templates', () => {
  const templateOf = async (options: object) =>
    (await loadTask('rte', { ...official, ...options })).template

  test("are chosen by the backbone's kind, by name, or by one of the task's own", async () => {
    const gpt2 = '{premise}\nQuestion: {hypothesis} True or False?\nAnswer:'
    const dept = 'premise: {premise} hypothesis: {hypothesis}'
    expect(await templateOf({})).toBe(gpt2)
    expect(await templateOf({ backbone: { kind: 'causal' } })).toBe(gpt2)
    expect(await templateOf({ backbone: { kind: 'encoder-decoder' } })).toBe(dept)
    expect(await templateOf({ templates: 'dept' })).toBe(dept)
    const { verbalizer } = await loadTask('rte', { ...official, template: dept })
    expect(verbalizer).toEqual({ entailment: '0', not_entailment: '1' })
  })

  test('of T5 for WSC have the words of the text as candidates', async () => {
    const { train, dev } = await loadTask('wsc', { ...official, templates: 't5' })
    // the row that is false is not trained on
    expect(train.map(({ fields }) => fields.noun)).toEqual(['Vera', 'The crate'])
    expect(train[0]?.candidates).toEqual([
      { label: 'True', words: 'Vera' },
      { label: 'False', words: 'Uma' },
      { label: 'False', words: 'thanked' },
      { label: 'False', words: 'because' },
      { label: 'False', words: 'had' },
      { label: 'False', words: 'helped' },
    ])
    // "the baker" is mended to "The baker", which is the text's
    expect(dev[0]?.fields.noun).toBe('The baker')
  })

  test('of ReCoRD train on each right answer, and judge them as one', async () => {
    const { train, labels, verbalizer } = await loadTask('record', official)
    expect(train.map(({ label }) => label)).toEqual(['Ilse Voss', 'Voss'])
    expect(train[1]).toMatchObject({ answers: ['Ilse Voss', 'Voss'], group: '0-0' })
    expect([labels, verbalizer]).toEqual([[], {}])
  })
})

describe('refuses', () => {
  const change = (file: string, from: string, to: string): void => {
    cpSync(original, folder, { recursive: true })
    const path = join(folder, file)
    const text = readFileSync(path, 'utf8')
    expect(text).toContain(from)
    writeFileSync(path, text.replace(from, to))
  }
  const cases: [string, string, string, string, string][] = [
    [
      'sst2',
      'SST-2/dev.tsv',
      'early . \t0',
      'early . \t7',
      'dev.tsv:2: Expected field "label"',
    ],
    [
      'agnews',
      'ag_news_csv/train.csv',
      '"2"',
      '"9"',
      'train.csv:2: Expected a class in 1..4',
    ],
    [
      'boolq',
      'BoolQ/val.jsonl',
      '"passage"',
      '"text"',
      'val.jsonl:1: Missing field "passage"',
    ],
    [
      'cb',
      'CB/val.jsonl',
      'neutral',
      'maybe',
      'val.jsonl:3: Expected field "label" to be one of',
    ],
    [
      'copa',
      'COPA/train.jsonl',
      'effect',
      'reason',
      'train.jsonl:2: Expected field "question"',
    ],
    [
      'multirc',
      'MultiRC/val.jsonl',
      '"answers"',
      '"replies"',
      'val.jsonl:1: Missing field "passage.questions[0].answers"',
    ],
    [
      'record',
      'ReCoRD/val.jsonl',
      '"end": 15',
      '"end": 999',
      'val.jsonl:1: The entity at 4..999 lies outside',
    ],
    [
      'rte',
      'RTE/val.jsonl',
      '"entailment"',
      '2',
      'val.jsonl:1: Expected field "label" to be one of',
    ],
    [
      'wic',
      'WiC/val.jsonl',
      '"end1": 18',
      '"end1": 99',
      'val.jsonl:1: The word at 14..99 lies outside sentence1',
    ],
    [
      'wsc',
      'WSC/val.jsonl',
      '"span2_index": 5',
      '"span2_index": 55',
      'val.jsonl:3: span2_index is 55',
    ],
  ]
  test.each(cases)('a malformed row of %s', async (name, file, from, to, message) => {
    change(file, from, to)
    await expect(loadTask(name, { folder })).rejects.toMatchObject({
      code: 'ERR_DATA',
      message: expect.stringContaining(message),
    })
  })

  test('a folder without the files, and options that mean nothing', async () => {
    await expect(loadTask('rte', { folder })).rejects.toThrow(
      /needs train\.jsonl and val\.jsonl/,
    )
    const wrong = (name: string, options: object): Promise<Task> =>
      loadTask(name, options)
    await expect(wrong('topics', { folder })).rejects.toThrow('folder is for tasks')
    await expect(wrong('rte', { ...official, evalData: 'x' })).rejects.toThrow(
      'evalData is for',
    )
    await expect(wrong('rte', { ...official, templates: 'bert' })).rejects.toThrow(
      RangeError,
    )
    await expect(wrong('rte', { ...official, template: '{tale}' })).rejects.toThrow(
      'no field',
    )
  })
})

import { describe, expect, it } from 'vitest'
import { bundledTasks, readBundledTask } from '../../lib/task/datasets/index.js'
import { createTextFinder, normaliseText } from '../../lib/task/datasets/normalise.js'
import { loadTask } from '../../lib/task/load-task.js'
import type { Example } from '../../lib/task/task.js'

function counts(examples: readonly Example[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const { label } of examples) sums[label] = (sums[label] ?? 0) + 1
  return sums
}

describe.each([
  ['spam', 'body'],
  ['topics', 'text'],
])('the bundled task %s', (name, field) => {
  it('has no text in two places, not even as a part of another', async () => {
    const { train, dev, test } = await loadTask(name)
    const texts = [...train, ...dev, ...test].map((one) =>
      normaliseText(one.fields[field] ?? ''),
    )
    expect(new Set(texts).size).toBe(texts.length)
    // shortest first: a text can only contain a shorter one
    const finder = createTextFinder()
    for (const text of texts.sort((a, b) => a.length - b.length)) {
      expect(finder.isIn(text), text).toBe(false)
      finder.add(text)
    }
  })

  it('gives the same rows to every seed', async () => {
    const [one, other] = [
      await loadTask(name, { seed: 1 }),
      await loadTask(name, { seed: 2 }),
    ]
    expect(one.test).toEqual(other.test)
    expect(one.heldOut).toBe(0)
  })
})

describe('spam', () => {
  it('has its sizes and labels', async () => {
    const task = await loadTask('spam')
    expect([task.train, task.dev, task.test].map(counts)).toEqual([
      { ham: 1966, spam: 534 },
      { ham: 238, spam: 62 },
      { ham: 457, spam: 143 },
    ])
    expect(task.labels).toEqual(['ham', 'spam'])
    expect(task.metric).toBe('macro-f1')
  })

  it('has no addresses, links, HTML or headers, and no long bodies', async () => {
    const { train, dev, test } = await readBundledTask(bundledTasks.spam)
    for (const { fields } of [...train, ...dev, ...test]) {
      const { subject = '', body = '' } = fields
      expect(body.length).toBeLessThanOrEqual(400)
      expect(`${subject}\n${body}`).not.toMatch(
        /https?:\/\/|www\.\w|\w@\w+\.\w|<(html|body|font|table)\b/i,
      )
      expect(body).not.toMatch(/^(From|To|Received|X-Spam[\w-]*|SPAM): /m)
    }
  })
})

describe('spam, across its splits', () => {
  it('has no two messages that begin with the same 200 letters', async () => {
    const { train, dev, test } = await readBundledTask(bundledTasks.spam)
    const keys = [...train, ...dev, ...test].map(({ fields }) =>
      normaliseText(fields.body ?? '')
        .replaceAll(' ', '')
        .slice(0, 200),
    )
    expect(new Set(keys).size).toBe(3400)
  })
})

describe('topics', () => {
  it('has its sizes and labels, and no label with more than 35 % of the rows', async () => {
    const task = await loadTask('topics')
    expect([task.train, task.dev, task.test].map(counts)).toEqual([
      { animal: 1451, artifact: 2640, person: 2244, plant: 1665 },
      { animal: 181, artifact: 337, person: 301, plant: 181 },
      { animal: 431, artifact: 769, person: 704, plant: 496 },
    ])
    expect(Math.max(...Object.values(counts(task.test))) / task.test.length).toBeLessThan(
      0.35,
    )
  })

  it('has texts of 4 to 40 words', async () => {
    const { train, dev, test } = await readBundledTask(bundledTasks.topics)
    for (const { fields } of [...train, ...dev, ...test]) {
      const words = normaliseText(fields.text ?? '').split(' ').length
      expect(words >= 4 && words <= 40, fields.text).toBe(true)
    }
  })
})

describe('a bundled task', () => {
  it('can be read by another template, and in parts', async () => {
    const task = await loadTask('spam', {
      template: '{subject}',
      limit: { train: 50, test: 20 },
      seed: 5,
    })
    expect([task.train.length, task.dev.length, task.test.length]).toEqual([50, 300, 20])
    expect(task.fields).toEqual(['subject'])
  })

  it('refuses fields that it has not, and options that are for data files', async () => {
    await expect(loadTask('topics', { template: '{text} {sense}' })).rejects.toThrow(
      'The rows of the task "topics" have no field "sense"; they have "text"',
    )
    await expect(loadTask('topics', { evalData: 'a.csv' })).rejects.toThrow(
      new RangeError(
        'The task "topics" has its own dev and test rows: evalData is for data files',
      ),
    )
  })

  it('says which file is missing', async () => {
    await expect(
      readBundledTask({ ...bundledTasks.spam, file: 'none.jsonl.gz' }),
    ).rejects.toMatchObject({
      code: 'ERR_IO',
      message: expect.stringMatching(
        /none\.jsonl\.gz, which ships with lopt; install the package again$/,
      ),
    })
    await expect(
      readBundledTask({ ...bundledTasks.spam, file: 'LICENSE-wordnet.txt' }),
    ).rejects.toMatchObject({ code: 'ERR_DATA' })
  })
})

describe('createTextFinder', () => {
  it('finds a text as whole words, whatever its punctuation, case and line breaks', () => {
    const finder = createTextFinder([
      'a small, brown bird (of Europe)',
      'the last four words',
    ])
    expect(finder.isIn('wren: A small brown\n> bird of Europe; "sings"')).toBe(true)
    expect(finder.isIn('These are the last four words')).toBe(true)
    expect(finder.isIn('the last four words, first')).toBe(true)
    expect(finder.isIn('a small brown bird of European woods')).toBe(false)
    expect(finder.isIn('these breathe last four words')).toBe(false)
    expect(finder.isIn('last four words')).toBe(false)
    expect(finder.isIn('')).toBe(false)
  })

  it('refuses a text that would be found everywhere', () => {
    expect(() => createTextFinder(['one two 3, three'])).toThrow(
      new RangeError(
        'Expected a text of 4 words or more but received "one two 3, three"',
      ),
    )
  })
})

describe('kinds', () => {
  it('has definitions of topics in the same splits, answered by texts', async () => {
    const [kinds, topics] = await Promise.all(
      [bundledTasks.kinds, bundledTasks.topics].map((task) => readBundledTask(task)),
    )
    for (const split of ['train', 'dev', 'test'] as const) {
      const texts = new Set(topics?.[split].map(({ fields }) => fields.text))
      expect(kinds?.[split].every(({ fields }) => texts.has(fields.text))).toBe(true)
    }
    expect(kinds?.test).toHaveLength(2199)
    expect(kinds?.test[0]).toEqual({
      fields: { text: 'a wooden prop used to support the roof of a mine' },
      label: 'prop',
      targets: ['prop'],
    })
  })
})

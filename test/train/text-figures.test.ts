// Golden values: test/fixtures/make_text_figures.py (sacrebleu 2.6.0; ROUGE by rouge-score's definitions).

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { bleu, chrf, textFigures } from '../../lib/train/text-figures.js'

interface Row {
  generated: string
  targets: string[]
  [figure: string]: unknown
}

const golden = JSON.parse(
  readFileSync(
    new URL('../fixtures/text-figures/expected.json', import.meta.url),
    'utf8',
  ),
) as { rows: Row[]; all: { bleu: number; chrf: number } }

test.each(golden.rows)('"$generated" has the figures of its targets', (row) => {
  const found = textFigures([row])
  for (const name of ['rouge1', 'rouge2', 'rougeL', 'tokenF1', 'exactMatch'] as const) {
    expect(found[name], name).toBeCloseTo(row[name] as number, 12)
  }
  expect(bleu([row])).toBeCloseTo(row.bleu as number, 12)
  expect(chrf([row])).toBeCloseTo(row.chrf as number, 12)
})

test('BLEU and chrF are of all rows together', () => {
  expect(bleu(golden.rows)).toBeCloseTo(golden.all.bleu, 12)
  expect(chrf(golden.rows)).toBeCloseTo(golden.all.chrf, 12)
})

test('accuracy is the share of texts that are a target but for white space', () => {
  const rows = [
    { generated: ' A dog.', targets: ['A cat.', 'A dog.'] },
    { generated: 'a dog.', targets: ['A dog.'] },
  ]
  expect(textFigures(rows)).toMatchObject({ accuracy: 0.5, exactMatch: 1 })
})

// Every checkpoint of test/fixtures against transformers 5.18 and PyTorch 2.13. With LOPT_WRITE_PARITY=1
// (`npm run parity`) what is found becomes docs/parity.md.

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { loadBackbone } from '../../lib/backbone/index.js'
import { createPromptSet, labelLogProbabilities } from '../../lib/inference/index.js'
import { type Tensor, tidy } from '../../lib/torch/index.js'
import { fixture } from '../backbone/golden.js'
import { relativeError } from '../inference/golden-prompts.js'
import {
  ALL,
  CASES,
  FACTORS,
  generated,
  goldenPrompt,
  logitError,
  type Name,
  promptGolden,
  traceError,
} from './golden.js'

interface Row {
  logits: number
  gradients: number
  trace: number
  greedy: string
  beams: string
  bfloat16: number
}

const table = new Map<Name, Partial<Row>>(ALL.map((name) => [name, {}]))

describe.each(ALL)('%s', (name) => {
  const row = table.get(name) as Partial<Row>
  const golden = promptGolden(name)
  const rows = golden.textIds.map((text, i) => ({
    text,
    labels: [golden.labelIds[i] as number[]],
    prompt: 0,
  }))

  test('has the float32 logits of transformers', async () => {
    row.logits = (await logitError(name, 'float32')).largest
    expect(row.logits).toBeLessThan(1e-4)
  })

  test('in bfloat16 is no further off than 1.5 times transformers', async () => {
    row.bfloat16 = (await logitError(name, 'bfloat16')).mean / golden.bfloat16Error
    expect(row.bfloat16).toBeLessThan(1.5)
  })

  test.each(CASES)(
    'has losses and gradients of $method as a $placement as each row alone in PyTorch',
    async (of) => {
      const backbone = await loadBackbone(fixture(name), { dtype: 'float64' })
      await tidy(async () => {
        const prompt = goldenPrompt(golden, of, backbone)
        const prepared = createPromptSet(backbone, [prompt])
        const each = await labelLogProbabilities(
          backbone,
          prepared.layouts,
          rows,
        )(prepared) // all in one batch
        const key = `${of.method}.${of.placement}`
        const expected = golden.value(`${key}.losses`)
        let at = 0
        for (const [i, label] of golden.labelIds.entries()) {
          const own = each
            .slice(0, at, at + label.length)
            .sum()
            .neg()
          expect(relativeError(own, expected.select(0, i))).toBeLessThan(1e-10)
          at += label.length
        }
        await each.sum().div(-rows.length).backward()
        for (const factor of FACTORS[of.method]) {
          const gradient = (await prompt.parameters[factor]?.grad()) as Tensor
          const wanted = golden.value(`${key}.grad.${factor}`)
          const error = relativeError(gradient, wanted)
          expect(error, factor).toBeLessThan(1e-9)
          row.gradients = Math.max(row.gradients ?? 0, error)
        }
        for (const parameter of backbone.parameters().values()) {
          expect(await parameter.grad()).toBeNull()
        }
        prompt.dispose()
      })
      backbone.dispose()
    },
  )

  test('has the losses of 30 steps of Adam', async () => {
    row.trace = await traceError(name)
    expect(row.trace).toBeLessThan(1e-8)
  })

  test('generates the tokens of transformers, with and without a cache', async () => {
    const found = await generated(name)
    expect(found.length).toBe(2 * golden.generated.length)
    for (const { wanted, found: own } of found) {
      expect(own.tokens, JSON.stringify(wanted.options)).toEqual(wanted.newIds)
      expect(own.stopped).toBe(wanted.stopped)
    }
    const texts = (isBeam: boolean) => {
      const all = golden.generated.filter(
        ({ options }) => (options.num_beams ?? 1) > 1 === isBeam,
      )
      return `${all.length} of ${all.length}`
    }
    row.greedy = texts(false)
    row.beams = texts(true)
  })
})

afterAll(() => {
  if (process.env.LOPT_WRITE_PARITY !== '1') return
  const power = (value = Number.NaN) => value.toExponential(1)
  const lines = [...table].map(([name, row]) => {
    const { logits, gradients, trace, greedy, beams, bfloat16 = Number.NaN } = row
    const figures = [power(logits), power(gradients), power(trace)]
    return `| \`${name}\` | ${[...figures, greedy, beams, bfloat16.toFixed(2)].join(' | ')} |`
  })
  const text = `# Parity with transformers

\`npm run parity\` writes this page. The checkpoints are small ones with random weights, written by
transformers 5.18 in its own file format (test/fixtures/README.md says what is special about each); the
values that lopt's are compared with were computed by transformers and PyTorch 2.13 from the same files.

| checkpoint | float32 logits | float64 prompt gradients | 30 Adam steps | greedy texts | beam search texts | bfloat16 |
|---|---:|---:|---:|---:|---:|---:|
${lines.join('\n')}

- float32 logits: largest absolute difference (limit 1e-4).
- float64 prompt gradients: largest relative difference in norm, of LoPT-1 and full prompts before and behind the
  text (limit 1e-9).
- 30 Adam steps: largest relative difference of a step's loss, LoPT-1 in float64 (limit 1e-8).
- greedy and beam search texts: how many of the texts have the same tokens, each with and without a cache.
- bfloat16: mean absolute error of the logits over that of transformers' bfloat16 (limit 1.5).
`
  writeFileSync(fileURLToPath(new URL('../../docs/parity.md', import.meta.url)), text)
})

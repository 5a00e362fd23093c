// What LAPACK would answer with a line on the terminal, which no test in this process could see: each case
// runs in a process whose whole output is compared. Shapes of what is empty are PyTorch's.

import { expect, test } from 'vitest'
import { bundledPrograms, fine } from '../programs.js'

const { run } = bundledPrograms(
  { torch: 'torch/index.ts', context: 'torch/context.ts', tensor: 'torch/tensor.ts' },
  `
    import * as torch from './torch.mjs'
    import { binding } from './context.mjs'
    import { handleOf } from './tensor.mjs'
  `,
)

test('lstsq refuses NaN in either matrix, on the spot and as a job, and prints nothing itself', async () => {
  const message = (name: string) =>
    `RangeError lstsq: [2, 3, 2] x [2, 3, 1]: Expected ${name} to be without NaN\n`
  expect(
    await run(`
      const whole = (columns) => torch.ones([2, 3, columns])
      const holed = (columns) => torch.full([2, 3, columns], NaN)
      for (const [a, b] of [[holed(2), whole(1)], [whole(2), holed(1)]]) {
        const handles = [handleOf(a), handleOf(b)]
        for (const table of ['ops', 'jobs']) {
          try { await binding()[table].lstsq(...handles) }
          catch ({ name, message }) { console.log(name, message) }
        }
      }
    `),
  ).toEqual(fine(`${message('a').repeat(2)}${message('b').repeat(2)}`))
})

test('matrices without elements give what PyTorch gives, and print nothing', async () => {
  const solved = {
    '[[0,3],[0,2]]': [3, 2],
    '[[3,0],[3,2]]': [0, 2],
    '[[0,0],[0,2]]': [0, 2],
    '[[3,2],[3,0]]': [2, 0],
    '[[2,0,3],[2,0,2]]': [2, 3, 2],
    '[[2,3,0],[2,3,2]]': [2, 0, 2],
    '[[0,3,2],[0,3,1]]': [0, 2, 1],
    '[[0,3],[0]]': [3],
  }
  const decomposed = {
    '[0,3]': [[0, 0], [0], [3, 3]],
    '[3,0]': [[3, 3], [0], [0, 0]],
    '[2,0,3]': [
      [2, 0, 0],
      [2, 0],
      [2, 3, 3],
    ],
    '[0,3,2]': [
      [0, 3, 3],
      [0, 2],
      [0, 2, 2],
    ],
  }
  const { stdout, ...ended } = await run(`
    const solved = {}, decomposed = {}
    for (const shapes of ${JSON.stringify(Object.keys(solved))}) {
      const [a, b] = JSON.parse(shapes).map((shape) => torch.ones(shape))
      const x = await torch.lstsq(a, b)
      if (x.ne(0).any().item()) throw new Error(shapes)
      const onTheSpot = binding().ops.lstsq(handleOf(a), handleOf(b))
      solved[shapes] = binding().ops.equal(handleOf(x), onTheSpot) && x.shape
    }
    for (const shape of ${JSON.stringify(Object.keys(decomposed))}) {
      const parts = await torch.svd(torch.ones(JSON.parse(shape)), { fullMatrices: true })
      decomposed[shape] = Object.values(parts).map((part) => part.shape)
    }
    console.log(JSON.stringify({ solved, decomposed }))
  `)
  expect({ ...ended, stdout: JSON.parse(stdout) }).toEqual(
    fine({ solved, decomposed } as never),
  )
})

// Tensors alone: least squares by Adam. Run from a clone after `npm run setup`.

import { Adam, Generator, parameter, randn, tidy } from 'lopt/torch'

const generator = new Generator({ seed: 0 })
const w = parameter(randn([3, 1], { generator }))
const x = randn([64, 3], { generator })
const adam = new Adam([w], { lr: 0.1 })
for (let step = 0; step < 100; step += 1) {
  await tidy(async () => {
    const loss = x
      .matmul(w)
      .sub(x.sum(1, { keepdim: true }))
      .square()
      .mean()
    await loss.backward()
    await adam.step()
    await adam.zeroGrad()
  })
}
console.log(w.toArray())

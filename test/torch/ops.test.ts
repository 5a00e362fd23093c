// Every op's values and gradients against PyTorch's, and what ops refuse.

import { describe, expect, test } from 'vitest'
import * as torch from '../../lib/torch/index.js'
import { cases, expectGolden } from './golden-ops.js'

describe('golden values', () => {
  test.each(cases.map((c) => [c.note ? `${c.key}: ${c.note}` : c.key, c] as const))(
    '%s equals PyTorch',
    async (_, c) => await expectGolden(c, 'cpu'),
  )
})

describe('what an op refuses', () => {
  const a = torch.zeros([2, 3])
  const whole = torch.zeros([2], { dtype: 'int64' })

  test.each<[string, () => unknown, RegExp]>([
    [
      'matmul',
      () => torch.zeros([8, 20, 768]).matmul(torch.zeros([512, 4])),
      /^matmul: \[8, 20, 768\] x \[512, 4\]/,
    ],
    ['add', () => a.add(torch.zeros([2, 2])), /^add: \[2, 3\] x \[2, 2\]/],
    ['reshape', () => a.reshape([4]), /^reshape: \[2, 3\]/],
    ['view of a transposed tensor', () => a.transpose(0, 1).view([6]), /^view: \[3, 2\]/],
    ['transpose', () => a.transpose(0, 2), /^transpose: \[2, 3\]/],
    ['select', () => a.select(0, 2), /^select: \[2, 3\]/],
    ['expand', () => a.expand([3, 3]), /^expand/],
    ['split', () => a.split([1, 1], 1), /^split/],
    ['split of a dimension that is not there', () => a.split(1, 5), /dim/],
    ['cat of nothing', () => torch.cat([]), /^cat/],
    ['cat', () => torch.cat([a, torch.zeros([2, 2])]), /^cat: \[2, 3\] x \[2, 2\]/],
    ['stack', () => torch.stack([a, whole]), /^stack/],
    ['einsum', () => torch.einsum('ij,jk->ik', [a, a]), /^einsum/],
    ['einsum without sense', () => torch.einsum('!', [a]), /^einsum/],
    ['mean of whole numbers', () => whole.mean(), /^mean/],
    ['svd', () => torch.svd(torch.zeros([3])), /^svd: \[3\]/],
    [
      'lstsq of NaN',
      () => torch.lstsq(a.sub(Number.NaN), a),
      /^lstsq: \[2, 3\] x \[2, 3\]: Expected a to be without NaN$/,
    ],
    [
      'gather beyond the end',
      () => a.gather(1, torch.full([2, 1], 9, { dtype: 'int64' })),
      /^gather/,
    ],
    ['gather by fractions', () => a.gather(1, a), /^gather/],
    [
      'indexSelect beyond the end',
      () => a.indexSelect(0, torch.tensor([2], { dtype: 'int64' })),
      /^indexSelect/,
    ],
    [
      'index beyond the end',
      () => a.index([torch.tensor([-3], { dtype: 'int64' })]),
      /^index/,
    ],
    ['index by nothing', () => a.index([null]), /^index/],
    ['index by too many', () => a.index([whole, whole, whole]), /^index/],
    [
      'embedding beyond the end',
      () => torch.embedding(a, torch.tensor([5], { dtype: 'int64' })),
      /^embedding/,
    ],
    [
      'embedding below 0',
      () => torch.embedding(a, torch.tensor([-1], { dtype: 'int64' })),
      /^embedding/,
    ],
    [
      'scatter beyond the end',
      () => a.scatter(1, torch.full([2, 1], 7, { dtype: 'int64' }), a),
      /^scatter/,
    ],
    [
      'crossEntropy beyond the classes',
      () => torch.crossEntropy(a, torch.tensor([0, 3], { dtype: 'int64' })),
      /^crossEntropy/,
    ],
    [
      'crossEntropy of other rows',
      () => torch.crossEntropy(a, torch.zeros([3], { dtype: 'int64' })),
      /^crossEntropy/,
    ],
    ['layerNorm', () => torch.layerNorm(a, [4]), /^layerNorm/],
    [
      'attention with a mask and causal',
      () => torch.scaledDotProductAttention(a, a, a, { mask: a, isCausal: true }),
      /^scaledDotProductAttention/,
    ],
    ['maskedFill by a mask of floats', () => a.maskedFill(a as never, 1), /^maskedFill/],
    ['topk of more than there are', () => a.topk(4), /^topk/],
    ['clamp without bounds', () => a.clamp({}), /^clamp/],
    ['two dimensions that are one', () => a.sum([0, 0]), /^sum/],
    ['argmax of nothing', () => torch.zeros([0]).argmax(), /^argmax/],
    ['squeeze', () => a.squeeze(7), /^squeeze/],
    ['repeat', () => a.repeat([-1, 2]), /repeats/],
    ['slice with a step of 0', () => a.slice(0, 0, 1, 0), /step/],
    ['linear', () => torch.linear(a, torch.zeros([4, 4])), /^linear/],
    ['addmm', () => torch.addmm(a, a, a), /^addmm/],
    ['permute', () => a.permute([0, 0]), /^permute/],
  ])('%s: a RangeError with the shapes', async (_, work, message) => {
    let failure: unknown
    try {
      await work()
    } catch (error) {
      failure = error
    }
    expect(failure).toBeInstanceOf(RangeError)
    expect((failure as Error).message).toMatch(message)
  })

  test.each<[string, () => unknown, string]>([
    ['dim', () => a.transpose(1.5, 0), 'Expected dim0 to be an integer but received 1.5'],
    [
      'dim',
      () => a.softmax('1' as never),
      'Expected dim to be an integer but received string',
    ],
    ['dim', () => a.sum(Number.NaN), 'Expected dim to be an integer but received NaN'],
    [
      'dims',
      () => a.permute([0, 0.5]),
      'Expected dims[1] to be an integer but received 0.5',
    ],
    [
      'dims',
      () => a.permute(0 as never),
      'Expected dims to be an array of integers but received 0',
    ],
    [
      'alpha',
      () => a.add(a, { alpha: '2' as never }),
      'Expected alpha to be a number but received string',
    ],
    [
      'tensors',
      () => torch.cat(a as never),
      'Expected tensors to be an array of Tensors but received Tensor',
    ],
    [
      'tensors',
      () => torch.cat([a, 1] as never),
      'Expected a Tensor for tensors[1] but received number',
    ],
    [
      'mask',
      () => torch.scaledDotProductAttention(a, a, a, { mask: true as never }),
      'Expected a Tensor for mask but received boolean',
    ],
    [
      'equation',
      () => torch.einsum(a as never, [a]),
      'Expected equation to be a string but received Tensor',
    ],
    [
      'index',
      () => a.index(a as never),
      'Expected indices to be an array but received Tensor',
    ],
  ])('a wrong %s: a TypeError that names it', (_, work, message) => {
    expect(work).toThrow(new TypeError(message))
  })

  test('an op that a dtype has not: ERR_UNSUPPORTED', () => {
    expect(() => whole.softmax(0)).toThrow(
      expect.objectContaining({
        code: 'ERR_UNSUPPORTED',
        message: expect.stringMatching(/^softmax: \[2\]/),
      }),
    )
  })

  test('an unknown choice: a RangeError that lists the choices', () => {
    expect(() => a.gelu({ approximate: 'sigmoid' as never })).toThrow(
      new RangeError('Expected approximate to be one of none, tanh but received sigmoid'),
    )
  })
})

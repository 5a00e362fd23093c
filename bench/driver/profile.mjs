// Figures of recorded ops: the time in which any ran, and what their matrix products cost.

const product = (shape) => shape.reduce((a, b) => a * b, 1)

// Floating-point operations by the shapes of an op's tensor inputs: two a multiplication and addition. An op that
// TorchScript calls is recorded with what else lies on its stack: its own inputs are the last.
const FLOPS = {
  'aten::mm': (shapes) => matrixProduct(shapes),
  'aten::addmm': (shapes) => matrixProduct(shapes),
  'aten::bmm': (shapes) => matrixProduct(shapes),
  'aten::baddbmm': (shapes) => matrixProduct(shapes),
  // Scores and mixtures; backward computes the scores again, and four gradients.
  'aten::_scaled_dot_product_flash_attention_for_cpu': ([q, k]) => 4 * product(q) * k[2],
  'aten::_scaled_dot_product_flash_attention_for_cpu_backward': ([, q, k]) =>
    10 * product(q) * k[2],
}

function matrixProduct(shapes) {
  const [a, b] = shapes.slice(-2)
  return 2 * product(a) * b.at(-1)
}

export function productFlops(ops) {
  return ops.reduce((sum, { name, inputs }) => {
    const cost = FLOPS[name]
    return cost === undefined ? sum : sum + cost(inputs.map(({ shape }) => shape))
  }, 0)
}

/** Seconds in which at least one op ran, whatever its thread. */
export function unionSeconds(ops) {
  const spans = ops
    .map(({ startUs, durationUs }) => [startUs, startUs + durationUs])
    .sort((a, b) => a[0] - b[0])
  let total = 0
  let end = Number.NEGATIVE_INFINITY
  for (const [from, to] of spans) {
    total += Math.max(0, to - Math.max(from, end))
    end = Math.max(end, to)
  }
  return total / 1e6
}

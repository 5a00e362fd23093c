// Figures of recorded ops: the time in which any ran, what kinds took it, what their matrix products cost.

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

const KINDS = [
  [
    'matrix products',
    /^(aten::(mm|addmm|bmm|baddbmm|linear)|mkldnn::_linear_pointwise)$/,
  ],
  ['attention', /scaled_dot_product|_softmax/],
  ['activations', /gelu|relu|threshold|clamp|tanh/],
  ['norms', /norm|pow|rsqrt|mean/],
  [
    'copies and joins',
    /^aten::(cat|copy_|clone|contiguous|fill_|zero_|gather|index_select|embedding)/,
  ],
  ['sums', /^aten::(add|add_|sum|mul|div)$/],
]

/** Seconds of ops without those that they called, by kind of op; and those in which no op ran. */
export function secondsByKind(ops) {
  const found = Object.fromEntries([
    ...KINDS.map(([kind]) => [kind, 0]),
    ['other ops', 0],
  ])
  for (const { name, ownUs } of withOwnTime(ops)) {
    const kind = KINDS.find(([, pattern]) => pattern.test(name))?.[0] ?? 'other ops'
    found[kind] += ownUs / 1e6
  }
  return found
}

/** On one thread an op lies within the one that called it. */
function withOwnTime(ops) {
  const own = ops.map((op) => ({ ...op, ownUs: op.durationUs }))
  own.sort((a, b) => a.startUs - b.startUs || b.durationUs - a.durationUs)
  const open = new Map() // thread -> ops that have not ended
  for (const op of own) {
    const stack = open.get(op.thread) ?? []
    open.set(op.thread, stack)
    while (stack.length > 0 && endOf(stack.at(-1)) <= op.startUs) stack.pop()
    if (stack.length > 0) stack.at(-1).ownUs -= op.durationUs
    stack.push(op)
  }
  return own
}

function endOf({ startUs, durationUs }) {
  return startUs + durationUs
}

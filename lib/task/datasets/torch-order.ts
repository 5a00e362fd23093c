// The order that `torch.randperm` draws on a CPU, so that a split is the literature's to the row. Needs
// no libtorch: a task does not reach that layer.

/**
 * `torch.randperm(count, generator=torch.Generator().manual_seed(seed))` for fewer than 2^32 / 20 rows:
 * a Fisher-Yates shuffle by the remainders of MT19937's 32-bit numbers (Matsumoto and Nishimura 1998;
 * aten/src/ATen/native/TensorFactories.cpp, randperm_cpu).
 */
export function torchOrder(count: number, seed: number): number[] {
  const next = mersenneTwister(seed)
  const order = Array.from({ length: count }, (_, i) => i)
  for (let i = 0; i < count - 1; i += 1) {
    const j = i + (next() % (count - i))
    const swap = order[i] as number
    order[i] = order[j] as number
    order[j] = swap
  }
  return order
}

function mersenneTwister(seed: number): () => number {
  const [size, middle] = [624, 397]
  const state = new Uint32Array(size)
  state[0] = seed
  for (let i = 1; i < size; i += 1) {
    const before = state[i - 1] as number
    state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i
  }
  let at = size
  const twist = () => {
    for (let i = 0; i < size; i += 1) {
      const bits =
        ((state[i] as number) & 0x80000000) |
        ((state[(i + 1) % size] as number) & 0x7fffffff)
      const odd = bits & 1 ? 0x9908b0df : 0
      state[i] = (state[(i + middle) % size] as number) ^ (bits >>> 1) ^ odd
    }
    at = 0
  }
  return () => {
    if (at === size) twist()
    let bits = state[at++] as number
    bits ^= bits >>> 11
    bits ^= (bits << 7) & 0x9d2c5680
    bits ^= (bits << 15) & 0xefc60000
    return (bits ^ (bits >>> 18)) >>> 0
  }
}

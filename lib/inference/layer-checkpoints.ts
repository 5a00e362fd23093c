// Activation checkpointing (Chen et al. 2016, arXiv:1604.06174): layers run without a graph, a few at a
// time, and again with one when the gradient comes back. Knows no architecture and no loss.

import { enableGrad, grad, noGrad, parameter, type Tensor, tidy } from '../torch/index.js'

/** Layers `first`..`last - 1` of x, with the keys and values that those layers are given. */
export type RunLayers = (
  x: Tensor,
  range: { first: number; last: number; past: readonly Tensor[] },
) => Promise<Tensor>

interface Pass {
  readonly run: RunLayers
  /** What the first layer reads, with its graph. */
  readonly x: Tensor
  /** k, v of every layer, with their graph, or none. */
  readonly past: readonly Tensor[]
  /** What each segment reads, without a graph. */
  readonly inputs: readonly { x: Tensor; first: number; last: number }[]
  /** The last layer's output, a leaf: the loss is computed from it. */
  readonly output: Tensor
}

/** One step's passes. `backward` follows that of the loss, in the scope that the passes ran in. */
export class LayerCheckpoints {
  readonly #every: number
  #passes: Pass[] = []

  /** @param every layers that are held in memory at once */
  constructor(every: number) {
    this.#every = every
  }

  /** Runs all `layers`; what comes out is a leaf, unless nothing that goes in has a graph. */
  async run(
    layers: number,
    { x, past }: { x: Tensor; past: readonly Tensor[] },
    run: RunLayers,
  ): Promise<Tensor> {
    const hasGraph = [x, ...past].some(({ requiresGrad }) => requiresGrad)
    if (!hasGraph) return await run(x, { first: 0, last: layers, past })
    const inputs: { x: Tensor; first: number; last: number }[] = []
    let hidden = x
    for (let first = 0; first < layers; first += this.#every) {
      const last = Math.min(first + this.#every, layers)
      inputs.push({ x: hidden, first, last })
      hidden = await noGrad(() =>
        run(inputs.at(-1)?.x as Tensor, range(first, last, past)),
      )
    }
    const output = parameter(hidden)
    this.#passes.push({ run, x, past, inputs, output })
    return output
  }

  /** Carries the gradients that reached the outputs on to what the passes were computed from. */
  async backward(): Promise<void> {
    for (const pass of this.#passes) await backwardOf(pass)
    this.#passes = []
  }
}

function range(first: number, last: number, past: readonly Tensor[]) {
  return { first, last, past: past.slice(2 * first, 2 * last) }
}

async function backwardOf({ run, x, past, inputs, output }: Pass): Promise<void> {
  let gradient = await output.grad()
  const reached: [Tensor, Tensor][] = [] // a tensor with a graph, and its gradient
  for (const { x: input, first, last } of [...inputs].reverse()) {
    if (gradient === null) return
    const given: Tensor = gradient
    const wanted = (tensor: Tensor) => (tensor.requiresGrad ? parameter(tensor) : tensor)
    const gradients = await tidy(async () => {
      // The first segment's input is x itself: its gradient is wanted where x has a graph.
      const isWanted = first > 0 || x.requiresGrad
      const own = isWanted ? parameter(input) : input
      const { past: before } = range(first, last, past)
      const leaves = before.map(wanted)
      const again = await enableGrad(() => run(own, { first, last, past: leaves }))
      const found = await grad(
        again,
        [own, ...leaves].filter((leaf) => leaf.requiresGrad),
        { gradOutputs: [given] },
      )
      return { own: isWanted ? (found.shift() as Tensor) : null, past: found as Tensor[] }
    })
    const { past: before } = range(first, last, past)
    const withGraph = before.filter((tensor) => tensor.requiresGrad)
    withGraph.forEach((tensor, i) => {
      reached.push([tensor, gradients.past[i] as Tensor])
    })
    gradient = gradients.own
  }
  if (gradient !== null) reached.push([x, gradient])
  // One pass through the graph before the layers, from all tensors at once: their products with their
  // gradients, summed, have just those gradients.
  const sums = await enableGrad(() => reached.map(([tensor, by]) => tensor.mul(by).sum()))
  if (sums.length > 0) await sums.reduce((a, b) => a.add(b)).backward()
}

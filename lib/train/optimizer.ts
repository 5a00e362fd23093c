// The optimizer of a run: one by name, over groups of parameters with learning rates and weight
// decays of their own. Knows no loss and no schedule.

import type { OptimizerName } from '../run/index.js'
import { Adafactor, Adam, AdamW, SGD, type Tensor } from '../torch/index.js'

/** Numbers by name of a trained tensor; in a name `*` stands for any text. */
export type ByName = Readonly<Record<string, number>>

export interface OptimizerSettings {
  readonly optimizer: OptimizerName
  readonly learningRate: number
  readonly weightDecay: number
  /** Learning rates of those that do not take `learningRate`. */
  readonly learningRates: ByName
  /** Weight decays of those that do not take `weightDecay`. */
  readonly weightDecays: ByName
}

/** Parameters with a learning rate and a weight decay of their own. */
interface Group {
  readonly params: Tensor[]
  readonly lr: number
  readonly weightDecay: number
}

/** @throws RangeError for a name that no parameter has. */
export function parameterGroups(
  parameters: Readonly<Record<string, Tensor>>,
  settings: Omit<OptimizerSettings, 'optimizer'>,
): Group[] {
  const { learningRate, learningRates, weightDecay, weightDecays } = settings
  const names = Object.keys(parameters)
  const lrOf = numberByName(names, learningRate, learningRates, 'learningRates')
  const decayOf = numberByName(names, weightDecay, weightDecays, 'weightDecays')
  const groups = new Map<string, Group>()
  for (const name of names) {
    const own = { lr: lrOf(name), weightDecay: decayOf(name) }
    const key = `${own.lr} ${own.weightDecay}`
    const group = groups.get(key) ?? { params: [], ...own }
    group.params.push(parameters[name] as Tensor)
    groups.set(key, group)
  }
  return [...groups.values()]
}

const KINDS = { adam: Adam, adamw: AdamW, sgd: SGD, adafactor: Adafactor }

/** The optimizer, and what sets every group's learning rate to its own times a factor. */
export function createOptimizer(groups: readonly Group[], name: OptimizerName) {
  const optimizer = new KINDS[name](groups)
  const scale = async (factor: number) => {
    await Promise.all(
      groups.map(({ lr }, i) => optimizer.setLearningRate(lr * factor, i)),
    )
  }
  return { optimizer, scale }
}

/** The number of each name: that of the last entry that fits it, else `otherwise`. */
function numberByName(
  names: readonly string[],
  otherwise: number,
  given: ByName,
  option: string,
): (name: string) => number {
  const entries = Object.entries(given).map(([pattern, value]) => {
    const parts = pattern
      .split('*')
      .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    const fits = new RegExp(`^${parts.join('.*')}$`)
    if (!names.some((name) => fits.test(name))) {
      throw new RangeError(
        `Expected ${option} to name trained tensors (${names.slice(0, 8).join(', ')}) but received ${pattern}`,
      )
    }
    return { fits, value }
  })
  return (name) => entries.findLast(({ fits }) => fits.test(name))?.value ?? otherwise
}

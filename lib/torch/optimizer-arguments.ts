// What an optimizer is given: parameters in groups, and a state to go on from. Knows no optimizer.

import { checkArray, checkInteger, checkObject, checkString } from './check.js'
import type { OptimizerState, ParameterGroup } from './optim.js'
import { handleOf, handlesOf, isTensor, type Tensor } from './tensor.js'

/** Parameters as groups: one of all, unless groups are given. @throws TypeError for neither. */
export function toGroups<O>(
  params: readonly Tensor[] | readonly ParameterGroup<O>[],
): readonly ParameterGroup<O>[] {
  const items: readonly unknown[] = checkArray(params, 'params')
  if (items.length === 0 || items.some(isTensor)) {
    handlesOf(items, 'params')
    return [{ params } as ParameterGroup<O>]
  }
  const groups = params as readonly ParameterGroup<O>[]
  for (const [i, group] of groups.entries()) {
    handlesOf(checkObject(group, `params[${i}]`).params, `params[${i}].params`)
  }
  return groups
}

export function checkParameters(params: readonly Tensor[]): void {
  if (params.length === 0) throw new RangeError('Expected at least one parameter')
  const seen = new Set<Tensor>()
  for (const [i, parameter] of params.entries()) {
    handleOf(parameter, `params[${i}]`)
    if (!parameter.isLeaf) {
      throw new RangeError(`params[${i}]: only leaves can be optimized; use parameter(t)`)
    }
    if (seen.has(parameter)) throw new RangeError(`params[${i}] is there twice`)
    seen.add(parameter)
  }
}

/** A state's fields, whatever optimizer's it is. @throws TypeError for what is no state. */
export function checkStateForm(state: OptimizerState): OptimizerState {
  const { kind, groups, parameters } = checkObject(state, 'state')
  checkString(kind, 'kind')
  for (const [i, group] of checkArray(groups, 'groups').entries()) {
    const { options, size } = checkObject(group, `groups[${i}]`)
    checkObject(options, `options of groups[${i}]`)
    checkInteger(size, `size of groups[${i}]`)
  }
  for (const [i, entry] of checkArray(parameters, 'parameters').entries()) {
    if (entry === null) continue
    const { tensors } = checkObject(entry, `parameters[${i}]`)
    const named = Object.entries(checkObject(tensors, `tensors of parameters[${i}]`))
    for (const [name, tensor] of named) handleOf(tensor, `${name} of parameters[${i}]`)
  }
  return state
}

import { alike } from '../expr/alike.js'
import type { Plan, PlanTensor } from './types.js'

/** A cache: outputs never change, and several users need their kinds. */
const known = new WeakMap<Plan['outputs'], readonly (readonly PlanTensor[])[]>()

/** The tensors of all outputs, in groups of those that are made alike. */
export function kindsOfTensors(outputs: Plan['outputs']): readonly (readonly PlanTensor[])[] {
  const kinds = known.get(outputs) ?? alike(outputs.flatMap(({ tensors }) => tensors))
  known.set(outputs, kinds)
  return kinds
}

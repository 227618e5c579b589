/** The axes of an alignment's activations. */
import { measuredSpec } from '../../../rebasin/activations/names.js'
import type { Spec } from '../../../rebasin/spec.js'
import { matchedSpec } from '../spec/matched.js'
import type { RebasinAnalysis } from '../types.js'

const known = new WeakMap<RebasinAnalysis, Spec>()

/** For an analysis with activations. */
export function activationsSpec(analysis: RebasinAnalysis): Spec {
  const tensors = new Map(analysis.activations!.onto.tensors.map((tensor) => [tensor.name, tensor]))
  const spec = known.get(analysis) ?? measuredSpec(matchedSpec(analysis), tensors).spec
  known.set(analysis, spec)
  return spec
}

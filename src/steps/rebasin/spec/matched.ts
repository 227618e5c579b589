/** The permutation spec of an alignment, resolved against the model that does not change. */
import { readSpec, type Shapes, type Spec } from '../../../rebasin/spec.js'
import type { RebasinAnalysis } from '../types.js'

const known = new WeakMap<RebasinAnalysis, Spec>()

export function matchedSpec(analysis: RebasinAnalysis): Spec {
  const spec = known.get(analysis) ?? readSpec(analysis.spec, shapesOf(analysis))
  known.set(analysis, spec)
  return spec
}

const shapesOf = ({ onto, given }: RebasinAnalysis): Shapes =>
  new Map((given?.shapes ?? onto.tensors).map((tensor) => [tensor.name, tensor]))

/** Alignment with activations: by them alone, or as the start of weight matching. */
import { activationMatching } from '../../../rebasin/activations/matching.js'
import { type MatchOptions, type MatchResult, weightMatching } from '../../../rebasin/match.js'
import { orthogonalForm } from '../../../rebasin/orthogonal/form.js'
import type { OrthogonalOptions } from '../../../rebasin/orthogonal/matching.js'
import { rolesOf } from '../../../rebasin/orthogonal/roles.js'
import type { TensorSource } from '../../../rebasin/weights.js'
import type { TensorReader, Workshop } from '../../analysis.js'
import { matchedSpec } from '../spec/matched.js'
import type { BeforeAndAfter, RebasinAnalysis } from '../types.js'
import { sourceOf } from './source.js'
import { activationsSpec } from './spec.js'

export async function matchWithActivations(
  analysis: RebasinAnalysis,
  { reader, team }: Workshop,
  weights: { readonly a: TensorSource; readonly b: TensorSource },
  options: MatchOptions,
): Promise<MatchResult & { readonly correlation: BeforeAndAfter }> {
  const spec = matchedSpec(analysis)
  const { onto, model } = analysis.activations!
  const activations = {
    a: { of: onto.name, source: sourceOf(onto, reader) },
    b: { of: model.name, source: sourceOf(model, reader) },
  }
  const found = await activationMatching(spec, activationsSpec(analysis), weights, activations, team, options)
  const start = found.permutations
  const result = await weightMatching(spec, weights.a, weights.b, team, {
    ...options,
    start,
    // By activations alone, the weights are only compared.
    ...(analysis.method === 'mixed' ? {} : { maxIterations: 0, restarts: 1 }),
  })
  return {
    ...result,
    iterations: found.iterations + result.iterations,
    correlation: { before: found.correlationBefore, after: await found.correlationOf(result.permutations) },
  }
}

/** What an orthogonal alignment uses of activations. */
export function orthogonalActivations(
  { method, activations }: RebasinAnalysis,
  model: TensorSource,
  reader: TensorReader,
): OrthogonalOptions['activations'] {
  if (!activations) return undefined
  const [a, b] = [activations.onto, activations.model].map((of) => ({ of: of.name, source: sourceOf(of, reader) }))
  const { roles } = rolesOf(orthogonalForm(model), b!.source.tensors)
  return { a: a!, b: b!, roles, alone: method === 'activation-matching' }
}

/** Alignment with activations: by them alone, or as the start of weight matching. */
import { activationMatching } from '../../../rebasin/activations/matching.js'
import { type MatchOptions, type MatchResult, weightMatching } from '../../../rebasin/match.js'
import type { TensorSource } from '../../../rebasin/weights.js'
import type { Workshop } from '../../analysis.js'
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

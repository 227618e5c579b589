/**
 * Activation matching (Git Re-Basin, arXiv 2209.04836, §3.1): the permutations that maximise the sum of correlations between
 * units of two networks on the same inputs. Groups do not affect each other, so that one assignment per group is exact.
 */
import { identity, type Permutations } from '../apply.js'
import { type MatchOptions, weightMatching } from '../match.js'
import { similarity } from '../score.js'
import type { Spec } from '../spec.js'
import type { ThreadTeam } from '../team/team.js'
import { createWeights, type TensorSource } from '../weights.js'
import { standardized } from './standard.js'
import { matchStill } from './still.js'

/** The activations of one network: tensors [samples, places] with the axes of a spec. */
export interface Activations {
  /** The model in messages. */
  readonly of: string
  readonly source: TensorSource
}

export interface ActivationResult {
  /** For all groups of the weights' spec. Groups without activations keep their order. */
  readonly permutations: Permutations
  readonly iterations: number
  /** Mean correlation of matched places that vary, before any alignment. */
  readonly correlationBefore: number
  /** The same for permutations of all groups. */
  readonly correlationOf: (permutations: Permutations) => Promise<number>
}

/** `measured`: the spec of the activations. `spec`, `a`, `b`: the weights, which decide for units that do not vary. */
export async function activationMatching(
  spec: Spec,
  measured: Spec,
  weights: { readonly a: TensorSource; readonly b: TensorSource },
  activations: { readonly a: Activations; readonly b: Activations },
  team: ThreadTeam,
  { budget, onProgress }: Pick<MatchOptions, 'budget' | 'onProgress'> = {},
): Promise<ActivationResult> {
  const names = measured.parts.map(({ tensor }) => tensor)
  const standard = ({ of, source }: Activations) => standardized(source, names, of, team, budget)
  const [a, b] = [await standard(activations.a), await standard(activations.b)]
  const found = await weightMatching(measured, a.source, b.source, team, {
    restarts: 1,
    start: identity(measured),
    ...(budget ? { budget } : {}),
    ...(onProgress ? { onProgress } : {}),
  })
  const all = { ...identity(spec), ...found.permutations }
  const { squaresOfA, squaresOfB } = found.compared
  const scale = Math.sqrt(squaresOfA.sum * squaresOfB.sum) || 1
  const [left, right] = [createWeights(a.source, budget), createWeights(b.source, budget)]
  return {
    permutations: await matchStill(spec, measured, all, { a: a.still, b: b.still }, weights, team, budget),
    iterations: found.iterations,
    correlationBefore: found.similarityBefore,
    correlationOf: async (permutations) => (await similarity(measured, left, right, permutations, names, team)) / scale,
  }
}

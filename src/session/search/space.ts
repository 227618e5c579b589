/** What a search varies, and whether its method can. */
import type { Diagnostic } from '../../core/diagnostics.js'
import type { Search } from '../../recipe/search/types.js'
import type { Recipe } from '../../recipe/types.js'
import { SAMPLERS } from '../../search/samplers/index.js'
import type { Point, Sampler, SamplerSettings } from '../../search/types.js'

/** In place of `trials` for a grid without one. */
const ALL_POINTS = 1_000_000

export const settingsOf = ({ seed, trials = ALL_POINTS }: Search): SamplerSettings => ({ seed, trials })

export const samplerOf = ({ method }: Search): Sampler => SAMPLERS[method]

/** Errors of the search of a recipe that its method finds. */
export function searchProblems({ search, placeOf }: Recipe): Diagnostic[] {
  if (!search) return []
  const problem = samplerOf(search).check(search.dimensions, settingsOf(search))
  if (!problem) return []
  const { code, message, hint, dimension } = problem
  const at = dimension === undefined ? [...search.at, 'method'] : search.dimensions[dimension]!.at
  return [{ severity: 'error', code, message, place: placeOf(at), ...(hint === undefined ? {} : { hint }) }]
}

/** How many trials a search can have: what it asks for, or the points of its grid. */
export function mostTrials(search: Search): number {
  const { trials, dimensions } = search
  if (search.method !== 'grid') return trials ?? 0
  const [sampler, settings] = [samplerOf(search), settingsOf(search)]
  let count = 0
  for (let batch = 0; ; batch++) {
    const points = sampler.propose(dimensions, settings, batch, [])
    if (points.length === 0) return Math.min(count, settings.trials)
    count += points.length
  }
}

/** The most values of a list that are planned before the search. */
const MOST_VALUES = 20

/**
 * The points at the ends of a space, without repetitions: all at their low or their high end, and each parameter at its ends or with its
 * values beside the recipe's own.
 */
export function endPoints({ dimensions }: Search): { readonly point: Point; readonly dimension?: number }[] {
  const own = dimensions.map((one) => one.own)
  const endsOf = ({ range }: Search['dimensions'][number]) =>
    range.kind === 'choice' ? range.values.slice(0, MOST_VALUES) : [range.low, range.high]
  const all = [
    { point: own },
    ...dimensions.flatMap((one, dimension) =>
      endsOf(one).map((value) => ({ point: own.with(dimension, value), dimension })),
    ),
    { point: dimensions.map((one) => endsOf(one)[0]!) },
    { point: dimensions.map((one) => endsOf(one).at(-1)!) },
  ]
  return [...new Map(all.reverse().map((one) => [JSON.stringify(one.point), one])).values()].reverse()
}

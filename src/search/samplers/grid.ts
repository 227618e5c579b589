/** All points of a grid. The last parameter varies fastest. */
import type { Dimension, SearchValue } from '../../recipe/search/types.js'
import type { Sampler, SamplerSettings } from '../types.js'
import { gridValues } from './ranges.js'

const BATCH = 16
const MOST_POINTS = 100_000

const product = (counts: readonly number[]): number => counts.reduce((all, one) => all * one, 1)

/**
 * How many values ranges of real numbers have that do not say it: the largest number, the same for all of them, with which the grid has
 * no more points than there are trials.
 */
function pointsOf(space: readonly Dimension[], { trials }: SamplerSettings): number {
  const known = space.map(({ range }) => gridValues(range)?.length)
  const open = known.filter((count) => count === undefined).length
  if (open === 0 || trials > MOST_POINTS) return 0
  const rest = product(known.map((count) => count ?? 1))
  let points = 1
  while (rest * product(Array.from({ length: open }, () => points + 1)) <= trials) points++
  return points
}

function valuesOf(space: readonly Dimension[], settings: SamplerSettings): (readonly SearchValue[] | undefined)[] {
  const points = pointsOf(space, settings)
  return space.map(({ range }) => gridValues(range, points < 2 ? undefined : points))
}

export const grid: Sampler = {
  name: 'grid',
  describe: 'tries every combination of the values of lists, steps and points',
  check(space, settings) {
    const values = valuesOf(space, settings)
    const dimension = values.indexOf(undefined)
    if (dimension >= 0)
      return {
        code: 'bad-value',
        message: 'a grid needs to know which values of this range to try',
        hint: 'add points: 5, or step, or write a list of values; or allow more trials, from which the points are computed',
        dimension,
      }
    const points = product(values.map((one) => one!.length))
    const most = Math.min(settings.trials, MOST_POINTS)
    if (points <= most) return undefined
    return {
      code: 'bad-value',
      message: `the grid has ${points} points, more than ${most} trials`,
      hint: 'use fewer values, more trials, or another method',
    }
  },
  batch: () => BATCH,
  propose(space, settings, batch) {
    const values = valuesOf(space, settings).map((one) => one ?? [])
    const points = product(values.map((one) => one.length))
    const [start, end] = [batch * BATCH, Math.min((batch + 1) * BATCH, points, settings.trials)]
    return Array.from({ length: Math.max(0, end - start) }, (_, offset) => {
      let rest = start + offset
      return values
        .toReversed()
        .map((one) => {
          const value = one[rest % one.length]!
          rest = Math.floor(rest / one.length)
          return value
        })
        .toReversed()
    })
  },
}

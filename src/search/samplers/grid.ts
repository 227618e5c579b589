/** All points of a grid, the last parameter first. */
import type { Sampler } from '../types.js'
import { gridValues } from './ranges.js'

const BATCH = 16
const MOST_POINTS = 100_000

export const grid: Sampler = {
  name: 'grid',
  describe: 'tries every combination of the values of lists, steps and points',
  check(space, { trials }) {
    const values = space.map(({ range }) => gridValues(range))
    const dimension = values.indexOf(undefined)
    if (dimension >= 0)
      return {
        code: 'bad-value',
        message: 'a grid needs to know which values of this range to try',
        hint: 'add points: 5, or step, or write a list of values',
        dimension,
      }
    const points = values.reduce((product, one) => product * one!.length, 1)
    const most = Math.min(trials, MOST_POINTS)
    if (points <= most) return undefined
    return {
      code: 'bad-value',
      message: `the grid has ${points} points, more than ${most} trials`,
      hint: 'use fewer values, more trials, or another method',
    }
  },
  batch: () => BATCH,
  propose(space, { trials }, batch) {
    const values = space.map(({ range }) => gridValues(range) ?? [])
    const points = values.reduce((product, one) => product * one.length, 1)
    const [start, end] = [batch * BATCH, Math.min((batch + 1) * BATCH, points, trials)]
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

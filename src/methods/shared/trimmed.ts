/** Passes of the methods that drop elements by magnitude: ties, breadcrumbs, breadcrumbs_ties. */

import type { Passes, PassInput, ReducePass, TensorSettings } from '../types.js'
import { magnitudeOf } from './keys.js'
import { elementsOf, type Position, select, type Threshold } from './selection.js'
import {
  type Combination,
  KEEP_ALL,
  type Keeping,
  kernelCoefficients,
  perModel,
  rescaleOf,
  sparseMap,
} from './sparse.js'

/** The elements of a model, sorted by falling magnitude: how many are cut, and how many of the next are kept. */
export interface Range {
  readonly cut: number
  readonly kept: number
}

export function trimmedPasses(
  settings: TensorSettings,
  combination: Combination,
  rangeOf: (model: number, elements: number) => Range,
): Passes {
  const elements = elementsOf(settings)
  const ranges = settings.models.map((_, model) => rangeOf(model, elements))
  const densities = perModel(settings, 'density')
  const rescale = rescaleOf(settings, 'l1')
  // Whether thresholds are needed for the last cut element and for the last kept element.
  const ends = ranges.map(({ cut, kept }) => ({ high: cut > 0 && kept > 0, low: kept > 0 && cut + kept < elements }))
  const positions = ranges.flatMap(({ cut, kept }, model): Position[] => [
    ...(ends[model]!.high ? [{ model, position: cut - 1 }] : []),
    ...(ends[model]!.low ? [{ model, position: cut + kept - 1 }] : []),
  ])
  const selection = select(settings, positions)

  /** The thresholds of each model. */
  function thresholdsOf(input: PassInput): { high: Threshold | undefined; low: Threshold | undefined }[] {
    const all = [...selection.thresholds(input)]
    return ends.map(({ high, low }) => ({
      high: high ? all.shift() : undefined,
      low: low ? all.shift() : undefined,
    }))
  }

  const deciders = (input: PassInput): Keeping[] =>
    thresholdsOf(input).map(({ high, low }) => ({
      ...KEEP_ALL,
      ...(low ? { low: low.key, lowCut: low.cut } : {}),
      ...(high ? { high: high.key, highCut: high.cut } : {}),
    }))
  const listed = (input: PassInput) =>
    deciders(input).map(({ low, lowCut, high, highCut }) => [low, lowCut, high, highCut])

  const sums: ReducePass = {
    kernel: 'trimmed_l1',
    slots: 2 * settings.models.length,
    combine: 'sums',
    coefficients: (input) =>
      kernelCoefficients(
        [],
        listed(input).map((entry) => [1, 1, ...entry]),
      ),
  }
  const passes = rescale === 'l1' && positions.length > 0 ? [...selection.passes, sums] : selection.passes

  function scales(input: PassInput): number[] {
    const thresholds = rescale === 'l1' ? thresholdsOf(input) : []
    return ranges.map(({ kept }, model) => {
      if (kept === 0) return 0
      if (rescale === 'inverse') return 1 / densities[model]!
      const { high, low } = thresholds[model] ?? {}
      if (!high && !low) return 1
      const found = input.results.at(-1)!
      const all = found[model]!
      // Elements at a threshold have equal magnitudes, so only the number of kept ones matters.
      let left = found[settings.models.length + model]!
      const shared = high && low && high.key === low.key
      if (high) left += ((shared ? low.wanted : high.equal) - high.wanted) * magnitudeOf(high.key)
      if (low && !shared) left += low.wanted * magnitudeOf(low.key)
      return left === 0 ? 1 : all / left
    })
  }

  return { reduces: passes, map: sparseMap(settings, 'trimmed', combination, scales, listed) }
}

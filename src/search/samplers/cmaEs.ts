/**
 * CMA-ES over places of ranges. Each batch is a generation, whose state is computed again from the trials before it.
 *
 * - Points outside of the space are moved to the nearest point inside, and the strategy learns from the point that was tried.
 * - The first generation is around the middle of the space, with a standard deviation of `SIGMA` of each range.
 * - Failed trials are ranked last. A generation without any success changes nothing.
 * - If the best and the middle of a generation are equal, the step size grows, as the tutorial proposes (B.4).
 * - Integers and steps keep a standard deviation of at least `LEAST` of the distance of two values, so that they never get stuck.
 * - When a generation would be narrower than `NARROW`, or the search stalls, the strategy starts again at a random place.
 */
import type { Dimension } from '../../recipe/search/types.js'
import type { Sampler, SamplerSettings, Trial } from '../types.js'
import { type Constants, constantsOf, initial, next, pointsOf, populationOf, type State } from './evolution.js'
import { exp, normalAt } from './functions.js'
import { evenCountOf, uniforms, valueAt } from './ranges.js'
import { ranked } from './ranked.js'

const SIGMA = 0.25
const LEAST = 0.3
const NARROW = 1e-5

/** The nearest point of the space. */
const projected = (point: readonly number[]): number[] => point.map((place) => Math.min(1, Math.max(0, place)))

const deviations = ({ sigma, covariance }: State): number[] =>
  covariance.map((row, i) => sigma * Math.sqrt(Math.max(0, row[i]!)))

/** Distances of neighbouring values, as places; 0 for real numbers. */
const gaps = (space: readonly Dimension[]): number[] =>
  space.map(({ range }) => 1 / (evenCountOf(range) ?? Number.POSITIVE_INFINITY))

/** Deviations that are too small for steps between values are made larger, with their correlations as they were. */
function widened(state: State, gap: readonly number[]): State {
  const factors = deviations(state).map((one, i) => Math.max(1, (LEAST * gap[i]!) / Math.max(one, 1e-12)))
  if (factors.every((one) => one === 1)) return state
  return {
    ...state,
    covariance: state.covariance.map((row, i) => row.map((one, j) => one * factors[i]! * factors[j]!)),
  }
}

interface Run {
  readonly state: State
  /** Best scores of the generations since the last start. */
  readonly bests: readonly number[]
}

/** Whether there is nothing left to find near by. */
function isOver({ state, bests }: Run, gap: readonly number[], { n, size }: Constants): boolean {
  const wide = deviations(state).some((one, i) => gap[i] === 0 && one > NARROW)
  if (!wide && gap.includes(0)) return true
  const window = 10 + Math.ceil((30 * n) / size)
  const last = bests.slice(-window)
  return last.length === window && last.every((one) => one === last[0])
}

const normals = (seed: number, stream: string, { n, size }: Constants): number[][] => {
  const shares = uniforms(seed, stream, n * size)
  return Array.from({ length: size }, (_, k) => shares.slice(k * n, (k + 1) * n).map(normalAt))
}

/** The run after a generation. */
function after(run: Run, points: readonly (readonly number[])[], trials: readonly Trial[], constants: Constants): Run {
  if (trials.length < constants.size || trials.every(({ state }) => state === 'failed')) return run
  const order = ranked(trials)
  const first = trials[0]!.index
  const state = next(
    run.state,
    order.map(({ index }) => points[index - first]!),
    constants,
  )
  const best = order[0]!.score!
  const flat = best === order[Math.min(trials.length - 1, Math.ceil(0.7 * trials.length) - 1)]!.score
  const { cSigma, dSigma } = constants
  return {
    state: flat ? { ...state, sigma: Math.min(1, state.sigma * exp(0.2 + cSigma / dSigma)) } : state,
    bests: [...run.bests, best],
  }
}

export const cmaEs: Sampler = {
  name: 'cma-es',
  describe: 'adapts a normal distribution to the best trials of each generation (CMA-ES, arXiv 1604.00772)',
  check(space) {
    const dimension = space.findIndex(({ range }) => range.kind === 'choice')
    if (dimension < 0) return undefined
    return {
      code: 'bad-value',
      message: 'cma-es searches ranges of numbers, and this is a list of values',
      hint: 'use method: tpe, or write a range',
      dimension,
    }
  },
  batch: (space) => populationOf(space.length),
  propose(space, settings: SamplerSettings, batch, earlier) {
    const { seed, trials } = settings
    const constants = constantsOf(space.length)
    const gap = gaps(space)
    let run: Run = {
      state: initial(
        space.map(() => 0.5),
        SIGMA,
      ),
      bests: [],
    }
    let points: number[][] = []
    for (let generation = 0; generation <= batch; generation++) {
      if (isOver(run, gap, constants))
        run = { state: initial(uniforms(seed, `start ${generation}`, space.length), SIGMA), bests: [] }
      run = { ...run, state: widened(run.state, gap) }
      points = pointsOf(run.state, normals(seed, `generation ${generation}`, constants)).map(projected)
      if (generation === batch) break
      const from = generation * constants.size
      run = after(run, points, earlier.slice(from, from + constants.size), constants)
    }
    const left = Math.max(0, trials - batch * constants.size)
    return points.slice(0, left).map((point) => point.map((place, i) => valueAt(space[i]!.range, place)))
  },
}

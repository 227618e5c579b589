/**
 * The state of CMA-ES: N. Hansen, "The CMA evolution strategy: a tutorial" (arXiv 1604.00772), with its default constants, and with
 * negative weights of the worse half (active CMA). Equation numbers are those of the tutorial.
 */
import { exp, ln } from './functions.js'
import { jacobi } from './jacobi.js'

type Vector = readonly number[]

export interface Constants {
  readonly n: number
  /** λ: points per generation. */
  readonly size: number
  /** From the best to the worst. The first ⌊λ/2⌋ are positive and have the sum 1. */
  readonly weights: Vector
  readonly chosen: number
  readonly effective: number
  readonly cSigma: number
  readonly dSigma: number
  readonly cPath: number
  readonly cOne: number
  readonly cMany: number
  /** Expected length of a standard normal vector. */
  readonly chi: number
}

const sum = (values: Vector): number => values.reduce((all, one) => all + one, 0)

/** (Σ w)² / Σ w² */
const effectiveOf = (values: Vector): number => sum(values) ** 2 / sum(values.map((one) => one * one))

/** λ = 4 + ⌊3 ln n⌋ (48). */
export const populationOf = (n: number): number => 4 + Math.floor(3 * ln(n) + 1e-9)

/** Table 1. */
export function constantsOf(n: number, size = populationOf(n)): Constants {
  const raw = Array.from({ length: size }, (_, i) => ln((size + 1) / 2) - ln(i + 1))
  const chosen = Math.floor(size / 2)
  const effective = effectiveOf(raw.slice(0, chosen))
  const effectiveBelow = effectiveOf(raw.slice(chosen))
  const cOne = 2 / ((n + 1.3) * (n + 1.3) + effective)
  const cMany = Math.min(1 - cOne, (2 * (0.25 + effective + 1 / effective - 2)) / ((n + 2) * (n + 2) + effective))
  const below = Math.min(1 + cOne / cMany, 1 + (2 * effectiveBelow) / (effective + 2), (1 - cOne - cMany) / (n * cMany))
  const above = sum(raw.filter((one) => one > 0))
  const beneath = -sum(raw.filter((one) => one < 0))
  const cSigma = (effective + 2) / (n + effective + 5)
  return {
    ...{ n, size, chosen, effective, cOne, cMany, cSigma },
    weights: raw.map((one) => (one >= 0 ? one / above : (one * below) / beneath)),
    dSigma: 1 + 2 * Math.max(0, Math.sqrt((effective - 1) / (n + 1)) - 1) + cSigma,
    cPath: (4 + effective / n) / (n + 4 + (2 * effective) / n),
    chi: Math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n)),
  }
}

export interface State {
  readonly generation: number
  readonly mean: Vector
  readonly sigma: number
  readonly covariance: readonly Vector[]
  readonly pathSigma: Vector
  readonly path: Vector
}

export const initial = (mean: Vector, sigma: number): State => ({
  ...{ generation: 0, mean, sigma },
  covariance: mean.map((_, i) => mean.map((_, j) => (i === j ? 1 : 0))),
  pathSigma: mean.map(() => 0),
  path: mean.map(() => 0),
})

const times = (matrix: readonly Vector[], vector: Vector): number[] =>
  matrix.map((row) => row.reduce((all, one, j) => all + one * vector[j]!, 0))

/** B diag(f(d)) Bᵀ for the eigenvalues d² of the covariance. */
function ofRoots({ covariance }: State, f: (root: number) => number): number[][] {
  const { values, vectors } = jacobi(covariance)
  const roots = values.map((one) => f(Math.sqrt(Math.max(one, 1e-20))))
  return vectors.map((row) => vectors.map((other) => row.reduce((all, one, k) => all + one * roots[k]! * other[k]!, 0)))
}

/** m + σ √C z: the points of standard normal vectors (38 to 40). */
export function pointsOf(state: State, normals: readonly Vector[]): number[][] {
  const root = ofRoots(state, (one) => one)
  return normals.map((z) => times(root, z).map((one, i) => state.mean[i]! + state.sigma * one))
}

/** c to the power of a natural number. */
function power(c: number, count: number): number {
  let value = 1
  for (let k = 0; k < count; k++) value *= c
  return value
}

/** The next state, from points in the order of their rank, the best first (41 to 47). */
export function next(state: State, points: readonly Vector[], constants: Constants): State {
  const { n, weights, chosen, effective, cSigma, dSigma, cPath, cOne, cMany, chi } = constants
  const { mean, sigma, covariance, generation } = state
  const steps = points.map((point) => point.map((one, i) => (one - mean[i]!) / sigma))
  const step = mean.map((_, i) => sum(steps.slice(0, chosen).map((one, k) => weights[k]! * one[i]!)))
  const inverse = ofRoots(state, (one) => 1 / one)
  const rateSigma = Math.sqrt(cSigma * (2 - cSigma) * effective)
  const white = times(inverse, step)
  const pathSigma = state.pathSigma.map((one, i) => (1 - cSigma) * one + rateSigma * white[i]!)
  const length = Math.sqrt(sum(pathSigma.map((one) => one * one)))
  const settled = Math.sqrt(1 - power((1 - cSigma) * (1 - cSigma), generation + 1))
  const moves = length / settled < (1.4 + 2 / (n + 1)) * chi
  const rate = Math.sqrt(cPath * (2 - cPath) * effective)
  const path = state.path.map((one, i) => (1 - cPath) * one + (moves ? rate * step[i]! : 0))
  const scaled = steps.map((one, k) => {
    if (weights[k]! >= 0) return weights[k]!
    const size = times(inverse, one).reduce((all, x) => all + x * x, 0)
    return (weights[k]! * n) / Math.max(size, 1e-12)
  })
  const kept = 1 + (moves ? 0 : cOne * cPath * (2 - cPath)) - cOne - cMany * sum(weights)
  return {
    generation: generation + 1,
    mean: mean.map((one, i) => one + sigma * step[i]!),
    sigma: sigma * exp(Math.min(1, (cSigma / dSigma) * (length / chi - 1))),
    covariance: covariance.map((row, i) =>
      row.map(
        (one, j) =>
          kept * one +
          cOne * path[i]! * path[j]! +
          cMany * scaled.reduce((all, weight, k) => all + weight * steps[k]![i]! * steps[k]![j]!, 0),
      ),
    ),
    ...{ pathSigma, path },
  }
}

/** Weighted sums of the nearest rows. Which rows are nearest is decided in float64, and the lowest index among equally near ones. */
import { factorOf } from './factor.js'
import { DEPENDENT, fitOf } from './fit.js'
import { ULP } from './integers.js'
import type { Space } from './space.js'
import type { Dictionary, NearestMethod, NearestTask } from './types.js'

/** The most that rounding makes of a product in float32 of rows of this width, as a share of the product of their norms. */
const roundingOf = (width: number): number => (260 + width / 256) * ULP

/** A distance counts at least this much. */
const NEAREST = 1e-6

/** Approximates tokens, one after the other, on a thread's memory. */
export function nearestOn(space: Space, task: NearestTask): (token: number) => void {
  const { dictionary, k, method } = task
  const { count, width } = dictionary
  const { kernels, target, targetAt, residual, residualAt, rowAt } = space
  const approximate = new Float64Array(count)
  const weigh = weigherOf(space, dictionary, k, method)
  return (token) => {
    const at = token * k
    task.atoms.fill(-1, at, at + k)
    task.weights.fill(0, at, at + k)
    target.set(task.targets.subarray(token * width, (token + 1) * width))
    const square = kernels.dot(targetAt, targetAt, width)
    task.residuals[token] = square > 0 ? 1 : 0
    if (!(square < Number.POSITIVE_INFINITY)) return
    const products = task.products.subarray(token * count, (token + 1) * count)
    const near = chooseNearest(space, task, products, square, approximate)
    for (const [place, { atom }] of near.entries()) space.load(dictionary, atom, place)
    const found = weigh(near, square)
    residual.set(target)
    // A fit may leave out rows that others explain.
    for (const { atom, weight } of found) {
      space.load(dictionary, atom, k)
      kernels.addRow(residualAt, rowAt(k), -weight, width)
    }
    const left = kernels.dot(residualAt, residualAt, width)
    for (const [place, { atom, weight }] of found.entries()) {
      task.atoms[at + place] = atom
      task.weights[at + place] = weight
    }
    if (square > 0) task.residuals[token] = Math.sqrt(left / square)
  }
}

interface Near {
  readonly atom: number
  /** The smaller, the nearer: a squared distance, or the negative cosine. */
  readonly score: number
}

/** The nearest rows, the nearest first. Scores in float32 leave few rows out for sure; the others are computed again. */
function chooseNearest(
  { kernels, target, targetAt, residual, residualAt, load, rowAt }: Space,
  { dictionary, k, method }: NearestTask,
  products: Float32Array,
  square: number,
  approximate: Float64Array,
): Near[] {
  const { count, width, squares } = dictionary
  const cosine = method === 'cosine'
  const norm = Math.sqrt(square)
  const rounding = 2 * roundingOf(width)
  const errors = (atom: number): number =>
    cosine ? rounding : rounding * norm * Math.sqrt(squares[atom]!) + ULP * square
  for (let atom = 0; atom < count; atom++) {
    const [own, product] = [squares[atom]!, products[atom]!]
    const score = cosine ? (own > 0 && square > 0 ? -product / (norm * Math.sqrt(own)) : 0) : square + own - 2 * product
    // The farthest that it can be.
    approximate[atom] = own >= 0 ? score + errors(atom) : Number.POSITIVE_INFINITY
  }
  const limit = Float64Array.from(approximate).sort()[Math.min(k, count) - 1]!
  const scoreOf = (atom: number): number => {
    load(dictionary, atom, k)
    if (cosine) {
      const own = squares[atom]!
      return own > 0 && square > 0 ? -kernels.rowDot(rowAt(k), targetAt, width) / (norm * Math.sqrt(own)) : 0
    }
    residual.set(target)
    kernels.addRow(residualAt, rowAt(k), -1, width)
    return kernels.dot(residualAt, residualAt, width)
  }
  const candidates: Near[] = []
  for (let atom = 0; atom < count; atom++)
    if (squares[atom]! >= 0 && approximate[atom]! - 2 * errors(atom) <= limit)
      candidates.push({ atom, score: scoreOf(atom) })
  return candidates.sort((a, b) => a.score - b.score || a.atom - b.atom).slice(0, k)
}

interface Weighed {
  readonly atom: number
  readonly weight: number
}

type Weigh = (near: readonly Near[], square: number) => readonly Weighed[]

/** Rows are in the space, in the order of `near`. The result has as many as are there afterwards, in order. */
function weigherOf(space: Space, dictionary: Dictionary, k: number, method: NearestMethod): Weigh {
  const evenly = (near: readonly Near[], sizes: readonly number[]): Weighed[] => {
    const total = sizes.reduce((sum, size) => sum + size, 0)
    const right = Math.abs(total) > 1e-12 && Number.isFinite(total)
    return near.map(({ atom }, at) => ({ atom, weight: right ? sizes[at]! / total : 1 / near.length }))
  }
  if (method === 'distance')
    return (near) =>
      evenly(
        near,
        near.map(({ score }) => 1 / Math.max(Math.sqrt(Math.max(0, score)), NEAREST)),
      )
  if (method === 'cosine')
    return (near) =>
      evenly(
        near,
        near.map(({ score }) => -score),
      )
  if (method === 'barycentric') return barycentric(space, dictionary, k)
  const fit = fitOf(space, dictionary, k)
  return (near, square) => {
    if (!(square > 0)) return []
    fit.begin()
    for (const { atom } of near) if (dictionary.squares[atom]! > 0) fit.choose(atom)
    fit.refine()
    return fit.chosen.map((atom, at) => ({ atom, weight: fit.weights[at]! }))
  }
}

/** Weights with the sum 1 that fit best: least squares on differences from the nearest row. */
function barycentric({ residual, target, widen }: Space, { width }: Dictionary, k: number): Weigh {
  const factor = factorOf(k)
  const differences = Array.from({ length: k }, () => new Float64Array(width))
  const dot = (a: Float64Array, b: Float64Array): number => {
    let sum = 0
    for (let i = 0; i < width; i++) sum += a[i]! * b[i]!
    return sum
  }
  return (near) => {
    factor.reset()
    if (near.length === 0) return []
    widen(0)
    const first = Float64Array.from(residual)
    const rest = Float64Array.from(target, (value, i) => value - first[i]!)
    const kept: number[] = []
    const products = new Float64Array(k)
    for (let place = 1; place < near.length; place++) {
      widen(place)
      const own = differences[kept.length]!
      for (let i = 0; i < width; i++) own[i] = residual[i]! - first[i]!
      for (let i = 0; i < kept.length; i++) products[i] = dot(differences[i]!, own)
      if (factor.add(products, dot(own, own), dot(own, rest), DEPENDENT) >= DEPENDENT) kept.push(place)
    }
    const solution = new Float64Array(kept.length)
    factor.solve(solution)
    const weights = new Float64Array(near.length)
    for (const [at, place] of kept.entries()) weights[place] = solution[at]!
    weights[0] = 1 - solution.reduce((sum, weight) => sum + weight, 0)
    return near.map(({ atom }, at) => ({ atom, weight: weights[at]! }))
  }
}

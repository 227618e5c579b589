/**
 * What the scalar references share: rounding to the compute type, sums in the order of the format, and ranking.
 *
 * With `compute: 'float32'` every elementwise operation is rounded to float32 as a float32 kernel rounds it (a product or
 * sum of two float32 in float64, rounded once, is the float32 operation), coefficients are made in float64 and rounded once
 * where they meet elements. Sums over a tensor are float64 sums of exactly converted elements in either compute type.
 */
import { CHUNK, TILE } from '../../src/kernels/types.js'

export type Tensor = Float32Array | Float64Array
export type Compute = 'float32' | 'float64'
/** Rounds a float64 result to the compute type. */
export type Round = (x: number) => number

export const rounding = (compute: Compute): Round => (compute === 'float32' ? Math.fround : (x) => x)
export const zeros = (compute: Compute, n: number): Tensor =>
  compute === 'float32' ? new Float32Array(n) : new Float64Array(n)

/** What a reference is given. Tensors are row-major, all of `shape`; `base` where the method works on differences. */
export interface Given {
  readonly inputs: readonly Tensor[]
  readonly base?: Tensor
  /** One an input; 1 each where left out. */
  readonly weights?: readonly number[]
  /** In the names of methods.md; a list is one value an input. */
  readonly parameters?: Readonly<Record<string, unknown>>
  readonly shape: readonly number[]
  readonly compute: Compute
  readonly seed?: number
  /** Names in the recipe, one an input. */
  readonly modelNames?: readonly string[]
  readonly tensorName?: string
  /** For `lines`; absent outside layers. */
  readonly layer?: { readonly index: number; readonly count: number }
  /** fisher: F_i in the tensor's shape; regmean: G_i, [columns, columns]. */
  readonly statistics?: readonly Tensor[]
  /** metagpt: ‖δ_i‖² over all merged tensors of the model; this tensor's own where left out. */
  readonly squaredNorms?: readonly number[]
  /** Transcendental functions; the engine's own where left out, which agree but for the last bit. */
  readonly math?: Transcendental
}

export type Transcendental = Pick<typeof Math, 'sin' | 'cos' | 'acos' | 'exp' | 'log' | 'tanh' | 'pow'>
export const mathOf = (given: Given): Transcendental => given.math ?? Math

/** Σ over the tensor in the order of the format. */
export const sum = (n: number, term: (index: number) => number): number => sumRange(0, n, term)

/**
 * Σ from `start` to `end` (a row, or the tensor): tiles of 2¹⁸ elements counted from `start`, each summed by itself, added in
 * order; in a tile chunks of 4096, added in order; element i of a chunk goes to lane i mod 4 and the chunk's sum is
 * (l0 + l2) + (l1 + l3), as in the `dots` kernel.
 */
export function sumRange(start: number, end: number, term: (index: number) => number): number {
  let total = 0
  for (let tile = start; tile < end; tile += TILE) {
    const tileEnd = Math.min(tile + TILE, end)
    let part = 0
    for (let chunk = tile; chunk < tileEnd; chunk += CHUNK) {
      const lanes: [number, number, number, number] = [0, 0, 0, 0]
      const stop = Math.min(chunk + CHUNK, tileEnd)
      for (let i = chunk; i < stop; i++) lanes[((i - chunk) & 3) as 0 | 1 | 2 | 3] += term(i)
      part += lanes[0] + lanes[2] + (lanes[1] + lanes[3])
    }
    total += part
  }
  return total
}

export const dot = (a: Tensor, b: Tensor): number => sum(a.length, (i) => a[i]! * b[i]!)

/** Rows are vectors along the last axis; a scalar or 1-D tensor is one row. */
export function rowsOf(shape: readonly number[], elements: number): { rows: number; length: number } {
  const length = shape.length === 0 ? 1 : shape[shape.length - 1]!
  return { rows: length === 0 ? 0 : elements / length, length }
}

/** The inputs as the compute type sees them: float64 inputs are rounded first in a float32 merge. */
export const decoded = (given: Given): readonly Tensor[] =>
  given.inputs.map((x) => (given.compute === 'float32' ? Float32Array.from(x) : Float64Array.from(x)))

export function baseOf(given: Given): Tensor {
  if (given.base === undefined) throw new Error('internal: the method needs a base')
  return given.compute === 'float32' ? Float32Array.from(given.base) : Float64Array.from(given.base)
}

/** δ_i = x_i − b, rounded to the compute type. */
export function deltasOf(given: Given): readonly Tensor[] {
  const base = baseOf(given)
  const round = rounding(given.compute)
  return decoded(given).map((x) => x.map((value, i) => round(value - base[i]!)) as Tensor)
}

export const weightsOf = (given: Given): readonly number[] => given.weights ?? given.inputs.map(() => 1)

/** A parameter that all inputs share. */
export function option<T extends number | boolean | string>(given: Given, name: string, byDefault: T): T {
  return (given.parameters?.[name] as T | undefined) ?? byDefault
}

/** A parameter that may differ from model to model: one value an input. */
export function options<T extends number | boolean | string>(given: Given, name: string, byDefault: T): readonly T[] {
  const value = given.parameters?.[name]
  return given.inputs.map((_, i) => ((Array.isArray(value) ? value[i] : value) as T | undefined) ?? byDefault)
}

/**
 * LiNeS (arXiv 2410.17146), `lines: {alpha, beta}`: the merged δ is multiplied by alpha + beta·layer/(L − 1), layers from 0;
 * alpha outside layers and where there is one layer. Thresholds of a method (ram's epsilon) see the unscaled δ_i.
 */
export function linesFactor(given: Given): number {
  const lines = given.parameters?.lines as { alpha: number; beta: number } | undefined
  if (lines === undefined) return 1
  const { layer } = given
  if (layer === undefined || layer.count < 2) return lines.alpha
  return lines.alpha + (lines.beta * layer.index) / (layer.count - 1)
}

/** λ, and the factor of `lines`, which every task-vector method takes. */
export const lambdaOf = (given: Given): number => option(given, 'lambda', 1) * linesFactor(given)

/** out = Σ c_i x_i, added in the order of inputs; an input whose float64 coefficient is 0 is left out; of none, 0. */
export function linear(given: Given, coefficients: readonly number[]): Tensor {
  return combine(given, decoded(given), coefficients)
}

/** out = b + Σ c_i δ_i, the sum first. */
export function task(given: Given, coefficients: readonly number[], deltas = deltasOf(given)): Tensor {
  const round = rounding(given.compute)
  const base = baseOf(given)
  return combine(given, deltas, coefficients).map((value, i) => round(base[i]! + value)) as Tensor
}

function combine(given: Given, tensors: readonly Tensor[], coefficients: readonly number[]): Tensor {
  const round = rounding(given.compute)
  const out = zeros(given.compute, tensors[0]!.length)
  let first = true
  tensors.forEach((x, which) => {
    if (coefficients[which] === 0) return
    const c = round(coefficients[which]!)
    // The first product is no sum: −0 stays −0.
    for (let i = 0; i < out.length; i++) out[i] = first ? c * x[i]! : round(out[i]! + round(c * x[i]!))
    first = false
  })
  return out
}

export const add = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

const floatView = new Float32Array(1)
const bitsView = new Uint32Array(floatView.buffer)

/** What magnitudes are ranked by, in either compute type: the bits of abs(x) as float32. NaN ranks above infinity. */
export function magnitudeKey(x: number): number {
  floatView[0] = Math.abs(x)
  return Number.isNaN(x) ? 0x7fc00000 : bitsView[0]!
}

/** The float32 magnitude of a key. */
export function magnitudeOf(key: number): number {
  bitsView[0] = key
  return floatView[0]!
}

/** Indices by falling magnitude; of equal magnitudes the lowest index comes first. */
export function byMagnitude(values: ArrayLike<number>, start = 0, end = values.length): readonly number[] {
  const keys = Array.from({ length: end - start }, (_, i) => magnitudeKey(values[start + i]!))
  return keys
    .map((_, i) => i)
    .sort((a, b) => keys[b]! - keys[a]! || a - b)
    .map((i) => start + i)
}

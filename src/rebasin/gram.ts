import { mapPart, type Permutations } from './apply.js'
import { type Pool, sharedFloats } from './pool.js'
import { type AxisPart, counts, rootOf, type Spec } from './spec.js'
import type { Weights } from './weights.js'

/**
 * The similarities of one outer group's units: for every run of groups that occurs (`conv`, `heads*value`, …) a matrix G,
 * G[i, j] = Σ over tensors of ⟨A at unit i, B at unit j⟩, B's other axes permuted as they stand. Each part of an axis
 * counts once; biases come in as outer products. Kept up to date by what moved alone.
 */
export interface Gram {
  /** Groups from the slowest to the fastest: the outer group first. */
  readonly names: readonly string[]
  readonly sizes: readonly number[]
  /** Side of the matrix: the product of `sizes`. */
  readonly size: number
  readonly values: Float32Array
  readonly terms: readonly Term[]
}

interface Term {
  readonly part: AxisPart
  readonly shape: readonly number[]
  /** Element offsets of the units. */
  readonly rows: Int32Array | Float64Array
  /** Element offsets of everything else, of B as it was when it was last added. */
  last: Float64Array | undefined
}

/** Elements of one gathered operand: bounds the memory of an update. Part of the result, since sums follow it. */
const OPERAND = 1 << 24

export function createGrams(spec: Spec, group: string, shapes: Weights['source']['tensors']): Gram[] {
  const grams = new Map<string, { names: string[]; sizes: number[]; terms: Term[] }>()
  for (const part of spec.parts) {
    if (rootOf(part) !== group || !counts(part)) continue
    const names = part.units.filter((unit) => typeof unit === 'string')
    const sizes = names.map((name) => spec.groups[name]!.size)
    const key = names.join('*')
    const gram = grams.get(key) ?? { names, sizes, terms: [] }
    grams.set(key, gram)
    const shape = shapes.get(part.tensor)!.shape
    gram.terms.push({ part, shape, rows: unitOffsets(spec, part, shape), last: undefined })
  }
  return [...grams.values()].map(({ names, sizes, terms }) => {
    const size = sizes.reduce((product, n) => product * n, 1)
    return { names, sizes, size, terms, values: sharedFloats(size * size) }
  })
}

const strideOf = (shape: readonly number[], axis: number) =>
  shape.slice(axis + 1).reduce((product, n) => product * n, 1)

/** Sum of one offset from each list, the last list fastest. */
function outerSum(lists: readonly ArrayLike<number>[]): Float64Array {
  let sums = new Float64Array(1)
  for (const list of lists) {
    const next = new Float64Array(sums.length * list.length)
    for (let i = 0, at = 0; i < sums.length; i++) for (let j = 0; j < list.length; j++) next[at++] = sums[i]! + list[j]!
    sums = next
  }
  return sums
}

/** Steps of the units of a part along its axis, in elements: of the groups or of the numbers among them. */
function unitSteps(spec: Spec, part: AxisPart, stride: number, groups: boolean): Float64Array[] {
  const sizes = part.units.map((unit) => (typeof unit === 'number' ? unit : spec.groups[unit]!.size))
  const lists: Float64Array[] = []
  for (const [k, unit] of part.units.entries()) {
    if ((typeof unit === 'string') !== groups) continue
    const step = sizes.slice(k + 1).reduce((product, n) => product * n, 1) * stride
    lists.push(Float64Array.from({ length: sizes[k]! }, (_, i) => i * step))
  }
  return lists
}

function unitOffsets(spec: Spec, part: AxisPart, shape: readonly number[]): Float64Array {
  const stride = strideOf(shape, part.axis)
  return outerSum(unitSteps(spec, part, stride, true)).map((offset) => offset + part.offset * stride)
}

/** Element offsets of all that lies at one unit, B's other axes read through the permutations. */
function restOffsets(spec: Spec, { part, shape }: Term, perms: Permutations | undefined): Float64Array {
  const lists: ArrayLike<number>[] = []
  for (const [axis, length] of shape.entries()) {
    const stride = strideOf(shape, axis)
    if (axis === part.axis) {
      lists.push(...unitSteps(spec, part, stride, false))
      continue
    }
    const map = Int32Array.from({ length }, (_, i) => i)
    if (perms)
      for (const other of spec.parts)
        if (other.tensor === part.tensor && other.axis === axis) mapPart(spec, other, perms, map)
    lists.push(Float64Array.from(map, (from) => from * stride))
  }
  return outerSum(lists)
}

/** Brings the matrices, as far as their terms are ready, up to date with the other groups. Returns whether anything changed. */
export async function updateGrams(
  spec: Spec,
  grams: readonly Gram[],
  a: Weights,
  b: Weights,
  perms: Permutations,
  pool: Pool,
  ready: (part: AxisPart) => boolean = () => true,
): Promise<boolean> {
  let changed = false
  for (const gram of grams) {
    for (const term of gram.terms) {
      if (!ready(term.part)) continue
      const fixed = restOffsets(spec, term, undefined)
      const now = restOffsets(spec, term, perms)
      const before = term.last
      const moved: number[] = []
      for (let k = 0; k < now.length; k++) if (!before || before[k] !== now[k]) moved.push(k)
      term.last = now
      if (moved.length === 0) continue
      changed = true
      const [left, right] = [await a.get(term.part.tensor), await b.get(term.part.tensor)]
      await addTerm(gram, term, left, right, fixed, now, before, moved, pool)
    }
  }
  return changed
}

async function addTerm(
  gram: Gram,
  { rows }: Term,
  a: Float32Array,
  b: Float32Array,
  fixed: Float64Array,
  now: Float64Array,
  before: Float64Array | undefined,
  moved: readonly number[],
  pool: Pool,
): Promise<void> {
  const n = gram.size
  const contiguous = rows.every((offset, i) => offset === rows[0]! + i)
  const layout = contiguous && n > 1 ? 'columns' : 'rows'
  const chunk = Math.max(256, Math.floor(OPERAND / n / 256) * 256)
  for (let first = 0; first < moved.length; first += chunk) {
    const ks = moved.slice(first, first + chunk)
    const operand = (data: Float32Array, rest: Float64Array) =>
      gatherOperand(
        data,
        rows,
        Float64Array.from(ks, (k) => rest[k]!),
        layout,
      )
    const x = operand(a, fixed)
    const y = operand(b, now)
    if (before) {
      const old = operand(b, before)
      for (let i = 0; i < y.length; i++) y[i] = y[i]! - old[i]!
    }
    await pool.addProduct({ c: gram.values, x, y, m: n, n, k: ks.length, layout })
  }
}

/** data[row + rest] for all rows and rests: a row a unit, or a column a unit. Data that lies so already is not copied. */
function gatherOperand(
  data: Float32Array,
  rows: ArrayLike<number>,
  rest: Float64Array,
  layout: 'rows' | 'columns',
): Float32Array {
  const n = rows.length
  const k = rest.length
  const out = sharedFloats(n * k)
  if (layout === 'columns') {
    for (let p = 0, at = 0; p < k; p++, at += n) {
      const from = rest[p]! + rows[0]!
      out.set(data.subarray(from, from + n), at)
    }
    return out
  }
  const contiguous = rest.every((offset, i) => offset === rest[0]! + i)
  const offsets = Int32Array.from(rest)
  for (let i = 0, at = 0; i < n; i++) {
    const row = rows[i]!
    if (contiguous) {
      out.set(data.subarray(row + rest[0]!, row + rest[0]! + k), at)
      at += k
    } else for (let p = 0; p < k; p++) out[at++] = data[row + offsets[p]!]!
  }
  return out
}

import { sharedFloats } from '../core/collections/sharedArrays.js'
import type { Operand } from '../kernels/linalg.js'
import { rowMajor } from '../views/places.js'
import { mapPart, type Permutations } from './apply.js'
import { outerSum } from './places.js'
import { type AxisPart, counts, rootOf, type Spec } from './spec.js'
import type { ThreadTeam } from './team/team.js'
import { type Rows, rowLength, type Weights } from './weights.js'

/**
 * The similarities of the units of an outer group. Every run of groups that occurs (`conv`, `heads*value`, …) has a matrix
 * G[i, j] = Σ over tensors of ⟨A at unit i, B at unit j⟩, with B's other axes in their current order. Each part of an axis counts
 * once; biases add outer products. Updates recompute only what moved.
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
  /** Places of the units along the part's axis. */
  readonly units: Int32Array
  /** What lies at one unit, of B as it was when it was last added. */
  last: Rest | undefined
}

/** All that lies at one unit: of each element its place along the first axis, and the rest of its offset, within that row. */
interface Rest {
  /** Of a part on the first axis: places beside the unit's own. */
  readonly rows: Int32Array
  readonly inside: Int32Array
}

/** A run of groups and its parts. */
interface Run {
  readonly names: readonly string[]
  readonly sizes: readonly number[]
  readonly size: number
  readonly parts: readonly AxisPart[]
}

/** The matrices that a group has. */
function runsOf(spec: Spec, group: string): Run[] {
  const runs = new Map<string, { names: string[]; parts: AxisPart[] }>()
  for (const part of spec.parts) {
    if (rootOf(part) !== group || !counts(part)) continue
    const names = part.units.filter((unit) => typeof unit === 'string')
    const run = runs.get(names.join('*')) ?? { names, parts: [] }
    runs.set(names.join('*'), run)
    run.parts.push(part)
  }
  return [...runs.values()].map(({ names, parts }) => {
    const sizes = names.map((name) => spec.groups[name]!.size)
    return { names, sizes, size: sizes.reduce((product, n) => product * n, 1), parts }
  })
}

/** Numbers in a group's matrices. */
export const gramLength = (spec: Spec, group: string): number =>
  runsOf(spec, group).reduce((sum, { size }) => sum + size * size, 0)

/** The side of a group's largest matrix. */
export const gramSide = (spec: Spec, group: string): number =>
  runsOf(spec, group).reduce((most, { size }) => Math.max(most, size), 0)

/** `room`: where the matrices go, of `gramLength`. */
export function createGrams(
  spec: Spec,
  group: string,
  shapes: Weights['source']['tensors'],
  room: Float32Array = sharedFloats(gramLength(spec, group)),
): Gram[] {
  room.fill(0)
  let next = 0
  const square = (n: number) => {
    next += n * n
    return room.subarray(next - n * n, next)
  }
  return runsOf(spec, group).map(({ parts, ...run }) => ({
    ...run,
    terms: parts.map((part) => ({
      part,
      shape: shapes.get(part.tensor)!.shape,
      units: outerSum(unitSteps(spec, part, 1, true)).map((place) => place + part.offset),
      last: undefined,
    })),
    values: square(run.size),
  }))
}

/** Steps of the units of a part along its axis: of the groups or of the numbers among them. */
function unitSteps(spec: Spec, part: AxisPart, stride: number, groups: boolean): Int32Array[] {
  const sizes = part.units.map((unit) => (typeof unit === 'number' ? unit : spec.groups[unit]!.size))
  const lists: Int32Array[] = []
  for (const [k, unit] of part.units.entries()) {
    if ((typeof unit === 'string') !== groups) continue
    const step = sizes.slice(k + 1).reduce((product, n) => product * n, 1) * stride
    lists.push(Int32Array.from({ length: sizes[k]! }, (_, i) => i * step))
  }
  return lists
}

/** The elements at one unit, with B's other axes read through the permutations. */
function restOf(spec: Spec, { part, shape }: Term, perms: Permutations | undefined): Rest {
  const onAxis = (axis: number): Int32Array[] => {
    const stride = axis === 0 ? 1 : rowMajor(shape)[axis]!
    if (axis === part.axis) return unitSteps(spec, part, stride, false)
    const map = Int32Array.from({ length: shape[axis]! }, (_, i) => i)
    if (perms)
      for (const other of spec.parts)
        if (other.tensor === part.tensor && other.axis === axis) mapPart(spec, other, perms, map)
    return [map.map((from) => from * stride)]
  }
  const first = outerSum(onAxis(0))
  const others = outerSum(shape.slice(1).flatMap((_, axis) => onAxis(axis + 1)))
  const rows = new Int32Array(first.length * others.length)
  const inside = new Int32Array(rows.length)
  for (let i = 0, at = 0; i < first.length; i++)
    for (let j = 0; j < others.length; j++, at++) {
      rows[at] = first[i]!
      inside[at] = others[j]!
    }
  return { rows, inside }
}

/** Brings the matrices, as far as their terms are ready, up to date with the other groups. Returns whether anything changed. */
export async function updateGrams(
  spec: Spec,
  grams: readonly Gram[],
  a: Weights,
  b: Weights,
  perms: Permutations,
  team: ThreadTeam,
  ready: (part: AxisPart) => boolean = () => true,
): Promise<boolean> {
  let changed = false
  for (const gram of grams) {
    for (const term of gram.terms) {
      if (!ready(term.part)) continue
      const fixed = restOf(spec, term, undefined)
      const now = restOf(spec, term, perms)
      const before = term.last
      const moved: number[] = []
      for (let k = 0; k < now.rows.length; k++)
        if (!before || before.rows[k] !== now.rows[k] || before.inside[k] !== now.inside[k]) moved.push(k)
      term.last = now
      if (moved.length === 0) continue
      changed = true
      const chosen = ({ rows, inside }: Rest): Rest => ({
        rows: Int32Array.from(moved, (k) => rows[k]!),
        inside: Int32Array.from(moved, (k) => inside[k]!),
      })
      const work: Work = { gram, term, a, b, team, fixed: chosen(fixed), now: chosen(now) }
      await (term.part.axis === 0 ? alongRows : acrossRows)(before ? { ...work, before: chosen(before) } : work)
    }
  }
  return changed
}

/** A term's change: the elements at one unit of A, of B now, and of B as they were. */
interface Work {
  readonly gram: Gram
  readonly term: Term
  readonly a: Weights
  readonly b: Weights
  readonly team: ThreadTeam
  readonly fixed: Rest
  readonly now: Rest
  readonly before?: Rest
}

/** Sums are over blocks of this size, and parts end at blocks, so the size of reads does not affect the sums. */
const BLOCK = 256

/** Units lie in rows of the tensor, whole: blocks of A's by blocks of B's. */
async function alongRows({ gram, term, a, b, team, fixed, now, before }: Work): Promise<void> {
  const { units, part, shape } = term
  const n = gram.size
  const width = rowLength(shape)
  // Beside the unit's own, the same for A and B: a part has one axis.
  const beside = [...new Set(fixed.rows)]
  const order = new Map(beside.map((row, index) => [row, index]))
  const block = Math.max(1, Math.min(n, Math.floor(Math.min(a.part, b.part) / (width * beside.length))))
  const read = async (weights: Weights, first: number) => {
    const some = units.subarray(first, Math.min(n, first + block))
    const rows = new Int32Array(some.length * beside.length)
    some.forEach((unit, i) => {
      for (const [k, row] of beside.entries()) rows[i * beside.length + k] = unit + row
    })
    return weights.rows(part.tensor, rows)
  }
  const operand = ({ data, starts }: Rows, rest: Rest, minus?: Rest): Operand => {
    const places = ({ rows, inside }: Rest) =>
      inside.map((offset, k) => starts[order.get(rows[k]!)!]! - starts[0]! + offset)
    return {
      data,
      units: starts.filter((_, i) => i % beside.length === 0),
      rests: places(rest),
      ...(minus ? { minus: places(minus) } : {}),
    }
  }
  const queue = inTurn()
  for (let i = 0; i < n; i += block) {
    const left = await read(a, i)
    for (let j = 0; j < n; j += block) {
      const right = await read(b, j)
      const [x, y] = [operand(left, fixed), operand(right, now, before)]
      await queue.next(async () => {
        await team.addProduct({ c: gram.values, at: i * n + j, stride: n, x, y })
        right.release()
        if (j + block >= n) left.release()
      })
    }
  }
  await queue.end()
}

/** Units lie across the tensor's rows: so many rows of A and of B at once. */
async function acrossRows({ gram, term, a, b, team, fixed, now, before }: Work): Promise<void> {
  const { units, part, shape } = term
  const n = gram.size
  const width = rowLength(shape)
  const offsets = units.map((place) => place * rowMajor(shape)[part.axis]!)
  const most = Math.floor(Math.min(a.part, b.part) / (before ? 2 : 1) / width)
  const cut = ({ rows, inside }: Rest, first: number, end: number): Rest => ({
    rows: rows.subarray(first, end),
    inside: inside.subarray(first, end),
  })
  const queue = inTurn()
  for (let first = 0; first < fixed.rows.length; ) {
    const end = endOfPart(fixed.rows, first, most)
    const part = (rest: Rest) => cut(rest, first, end)
    const left = await fetchRests(a, term.part.tensor, [part(fixed)])
    const right = await fetchRests(b, term.part.tensor, [part(now), ...(before ? [part(before)] : [])])
    const [rests, minus] = right.places
    const x: Operand = { data: left.rows.data, units: offsets, rests: left.places[0]! }
    const y: Operand = { data: right.rows.data, units: offsets, rests: rests!, ...(minus ? { minus } : {}) }
    await queue.next(async () => {
      await team.addProduct({ c: gram.values, at: 0, stride: n, x, y })
      left.rows.release()
      right.rows.release()
    })
    first = end
  }
  await queue.end()
}

/** Whole blocks of rests that lie in at most so many rows; one block at least. */
function endOfPart(rows: Int32Array, first: number, most: number): number {
  let [end, count] = [first, 0]
  for (let k = first; k < rows.length; k++) {
    if (k === first || rows[k] !== rows[k - 1]) count++
    if (count > most && end > first) return end
    if ((k + 1 - first) % BLOCK === 0) end = k + 1
    if (count > most && end > first) return end
  }
  return rows.length
}

/** The rows that some rests lie in, and the places of the rests. */
async function fetchRests(
  weights: Weights,
  tensor: string,
  rests: readonly Rest[],
): Promise<{ rows: Rows; places: Int32Array[] }> {
  const order = new Map<number, number>()
  for (const { rows } of rests) for (const row of rows) if (!order.has(row)) order.set(row, order.size)
  const rows = await weights.rows(tensor, Int32Array.from(order.keys()))
  return { rows, places: rests.map((rest) => rest.inside.map((at, k) => at + rows.starts[order.get(rest.rows[k]!)!]!)) }
}

/** One piece of work after another, the next one made ready while the last is under way. */
function inTurn(): { next: (work: () => Promise<void>) => Promise<void>; end: () => Promise<void> } {
  let running = Promise.resolve()
  return {
    async next(work) {
      await running
      running = work()
      // The next call that waits for it gets the error.
      running.catch(() => {})
    },
    end: () => running,
  }
}

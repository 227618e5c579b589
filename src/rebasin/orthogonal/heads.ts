import type { Linalg } from '../../kernels/linalg.js'
import type { Heads } from '../infer/transformers/index.js'
import type { ThreadTeam } from '../team/team.js'
import type { AxisChange, Block } from './products.js'

/** How one key/value head of the aligned model, with its query heads, comes from one of the model's. */
export interface HeadMap {
  /** Key/value head of the model. */
  readonly from: number
  /** Query head r of this head takes the model's query head queries[r] of head `from`. */
  readonly queries: Int32Array
  /** width × width, row-major: values of the aligned head are value · (the model's values). */
  readonly value: Float64Array
  /** One rotation per rotary pair (d, d + half of what rotates), of queries and keys alike. */
  readonly cos: Float64Array
  readonly sin: Float64Array
  /** width × width, row-major: the map of queries and keys alike, unless rotary positions turn all places. */
  readonly turn?: Float64Array
}

/** Heads, and how many of a head's first places rotary positions turn. Undefined: queries and keys keep their bases. */
export interface HeadForm extends Heads {
  readonly rotary?: number
}

/** Similarities of the rows of q, k, v and of the columns of o: ⟨A's, B's in A's basis of the stream⟩, square matrices. */
export interface HeadGrams {
  readonly q: Float32Array
  readonly k: Float32Array
  readonly v: Float32Array
  readonly o: Float32Array
}

/** Up to so many query heads a key/value head, all their orders are tried; beyond, orders and bases alternate. */
const TRY_ALL = 3
const ROUNDS = 10

export async function matchHeads(
  grams: HeadGrams,
  shape: HeadForm,
  last: readonly HeadMap[] | undefined,
  { linalg, pause }: Pick<ThreadTeam, 'linalg' | 'pause'>,
): Promise<HeadMap[]> {
  const { kv, q } = shape
  const found: HeadMap[] = []
  const scores = new Float32Array(kv * kv)
  for (let i = 0; i < kv; i++) {
    for (let j = 0; j < kv; j++) {
      await pause()
      const before = last?.find((head, place) => place === i && head.from === j)
      const start = before?.queries ?? Int32Array.from({ length: q }, (_, r) => r)
      let best = fitHead(grams, shape, i, j, start, linalg)
      if (q <= TRY_ALL) {
        for (const order of orders(q)) {
          const other = fitHead(grams, shape, i, j, order, linalg)
          if (other.score > best.score) best = other
        }
      } else {
        for (let round = 0; round < ROUNDS; round++) {
          const other = fitHead(grams, shape, i, j, bestOrder(grams, shape, i, best.map, linalg), linalg)
          if (!(other.score > best.score)) break
          best = other
        }
      }
      found.push(best.map)
      scores[i * kv + j] = best.score
    }
  }
  const { columns } = linalg.assign(scores, kv)
  return Array.from(columns, (j, i) => found[i * kv + j]!)
}

function orders(n: number): Int32Array[] {
  if (n === 0) return [new Int32Array(0)]
  return orders(n - 1).flatMap((rest) =>
    Array.from({ length: n }, (_, at) => Int32Array.from([...rest.slice(0, at), n - 1, ...rest.slice(at)])),
  )
}

/** The best bases for head i of A and head j of B with their query heads in a given order. */
function fitHead(
  grams: HeadGrams,
  { kv, q, width, rotary }: HeadForm,
  i: number,
  j: number,
  queries: Int32Array,
  linalg: Linalg,
): { score: number; map: HeadMap } {
  const [narrow, wide, half] = [kv * width, kv * q * width, (rotary ?? 0) / 2]
  const free = rotary === width ? undefined : new Float64Array(width * width)
  const values = new Float64Array(width * width)
  const [cos, sin] = [new Float64Array(half), new Float64Array(half)]
  const pairs = (gram: Float32Array, side: number, a: number, b: number) => {
    const at = (x: number, y: number) => gram[(a * width + x) * side + b * width + y]!
    for (let d = 0; d < half; d++) {
      cos[d] = cos[d]! + at(d, d) + at(d + half, d + half)
      sin[d] = sin[d]! + at(d + half, d) - at(d, d + half)
    }
    if (free) add(free, gram, side, a, b)
  }
  const add = (sum: Float64Array, gram: Float32Array, side: number, a: number, b: number) => {
    for (let x = 0; x < width; x++)
      for (let y = 0; y < width; y++)
        sum[x * width + y] = sum[x * width + y]! + gram[(a * width + x) * side + b * width + y]!
  }
  add(values, grams.v, narrow, i, j)
  pairs(grams.k, narrow, i, j)
  for (let r = 0; r < q; r++) {
    add(values, grams.o, wide, i * q + r, j * q + queries[r]!)
    pairs(grams.q, wide, i * q + r, j * q + queries[r]!)
  }
  const value = linalg.polar(values, width)
  let score = values.reduce((sum, x, at) => sum + x * value[at]!, 0)
  for (let d = 0; d < half; d++) {
    const length = Math.sqrt(cos[d]! ** 2 + sin[d]! ** 2)
    score += length
    cos[d] = length > 0 ? cos[d]! / length : 1
    sin[d] = length > 0 ? sin[d]! / length : 0
  }
  if (!free) return { score, map: { from: j, queries, value, cos, sin } }
  const turn = rotationMatrix({ cos, sin, width })
  const rest = rotary === undefined ? 0 : width - rotary
  if (rest > 0) {
    const inner = (x: number, y: number) => (width - rest + x) * width + width - rest + y
    const own = linalg.polar(
      Float64Array.from({ length: rest * rest }, (_, at) => free[inner(Math.floor(at / rest), at % rest)]!),
      rest,
    )
    own.forEach((value, at) => {
      turn[inner(Math.floor(at / rest), at % rest)] = value
      score += value * free[inner(Math.floor(at / rest), at % rest)]!
    })
  }
  if (rotary === undefined) for (let x = 0; x < width; x++) score += free[x * (width + 1)]!
  return { score, map: { from: j, queries, value, cos, sin, turn } }
}

/** The best order of query heads for given bases. */
function bestOrder(grams: HeadGrams, { kv, q, width }: Heads, i: number, map: HeadMap, linalg: Linalg): Int32Array {
  const side = kv * q * width
  const half = width / 2
  const scores = new Float32Array(q * q)
  for (let r = 0; r < q; r++) {
    for (let s = 0; s < q; s++) {
      const at = (gram: Float32Array, x: number, y: number) =>
        gram[((i * q + r) * width + x) * side + (map.from * q + s) * width + y]!
      let sum = 0
      for (let x = 0; x < width; x++)
        for (let y = 0; y < width; y++) sum += map.value[x * width + y]! * at(grams.o, x, y)
      for (let x = 0; map.turn && x < width; x++)
        for (let y = 0; y < width; y++) sum += map.turn[x * width + y]! * at(grams.q, x, y)
      for (let d = 0; !map.turn && d < half; d++) {
        sum += map.cos[d]! * (at(grams.q, d, d) + at(grams.q, d + half, d + half))
        sum += map.sin[d]! * (at(grams.q, d + half, d) - at(grams.q, d, d + half))
      }
      scores[r * q + s] = sum
    }
  }
  return linalg.assign(scores, q).columns
}

/** Changes of the axes that do not belong to the stream: rows of q, k, v, gate and up, columns of o and down. */
export function layerChanges(
  {
    feedForward,
    signs,
    heads,
  }: { readonly feedForward: Int32Array; readonly signs?: Int32Array; readonly heads: readonly HeadMap[] },
  { q, width }: Heads = { kv: 0, q: 1, width: 1 },
): Readonly<Record<'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down', readonly AxisChange[]>> {
  const rotations = heads.map((head) => head.turn ?? rotationMatrix({ ...head, width }))
  const queryBlocks = (matrices: readonly Float64Array[]): Block[] =>
    heads.flatMap(({ from, queries }, i) =>
      Array.from(queries, (r) => ({ from: (from * q + r) * width, size: width, matrix: matrices[i]! })),
    )
  const blocks = (matrices: readonly Float64Array[]): Block[] =>
    heads.map(({ from }, i) => ({ from: from * width, size: width, matrix: matrices[i]! }))
  const values = heads.map(({ value }) => value)
  const signed = (axis: number): AxisChange[] =>
    signs ? [{ axis, blocks: [{ from: 0, size: signs.length }], after: Float64Array.from(signs) }] : []
  const headed = (axis: number, blocks: Block[]): AxisChange[] => (heads.length === 0 ? [] : [{ axis, blocks }])
  return {
    q: headed(0, queryBlocks(rotations)),
    k: headed(0, blocks(rotations)),
    v: headed(0, blocks(values)),
    o: headed(1, queryBlocks(values)),
    gate: [{ axis: 0, map: feedForward }],
    up: [{ axis: 0, map: feedForward }, ...signed(0)],
    down: [{ axis: 1, map: feedForward }, ...signed(1)],
  }
}

/** The places that do not rotate stay as they are. */
function rotationMatrix({ cos, sin, width }: Pick<HeadMap, 'cos' | 'sin'> & { readonly width: number }): Float64Array {
  const half = cos.length
  const matrix = new Float64Array(width * width)
  for (let d = 2 * half; d < width; d++) matrix[d * width + d] = 1
  for (let d = 0; d < half; d++) {
    matrix[d * width + d] = cos[d]!
    matrix[d * width + d + half] = -sin[d]!
    matrix[(d + half) * width + d] = sin[d]!
    matrix[(d + half) * width + d + half] = cos[d]!
  }
  return matrix
}

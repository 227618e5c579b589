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
  /** One rotation per rotary pair (d, d + width/2), of queries and keys alike. */
  readonly cos: Float64Array
  readonly sin: Float64Array
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
  shape: Heads,
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
  { kv, q, width }: Heads,
  i: number,
  j: number,
  queries: Int32Array,
  linalg: Linalg,
): { score: number; map: HeadMap } {
  const [narrow, wide, half] = [kv * width, kv * q * width, width / 2]
  const values = new Float64Array(width * width)
  const [cos, sin] = [new Float64Array(half), new Float64Array(half)]
  const pairs = (gram: Float32Array, side: number, a: number, b: number) => {
    const at = (x: number, y: number) => gram[(a * width + x) * side + b * width + y]!
    for (let d = 0; d < half; d++) {
      cos[d] = cos[d]! + at(d, d) + at(d + half, d + half)
      sin[d] = sin[d]! + at(d + half, d) - at(d, d + half)
    }
  }
  const add = (gram: Float32Array, side: number, a: number, b: number) => {
    for (let x = 0; x < width; x++)
      for (let y = 0; y < width; y++)
        values[x * width + y] = values[x * width + y]! + gram[(a * width + x) * side + b * width + y]!
  }
  add(grams.v, narrow, i, j)
  pairs(grams.k, narrow, i, j)
  for (let r = 0; r < q; r++) {
    add(grams.o, wide, i * q + r, j * q + queries[r]!)
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
  return { score, map: { from: j, queries, value, cos, sin } }
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
      for (let d = 0; d < half; d++) {
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
  { q, width }: Heads,
): Readonly<Record<'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down', readonly AxisChange[]>> {
  const rotations = heads.map(rotationMatrix)
  const queryBlocks = (matrices: readonly Float64Array[]): Block[] =>
    heads.flatMap(({ from, queries }, i) =>
      Array.from(queries, (r) => ({ from: (from * q + r) * width, size: width, matrix: matrices[i]! })),
    )
  const blocks = (matrices: readonly Float64Array[]): Block[] =>
    heads.map(({ from }, i) => ({ from: from * width, size: width, matrix: matrices[i]! }))
  const values = heads.map(({ value }) => value)
  const signed = (axis: number): AxisChange[] =>
    signs ? [{ axis, blocks: [{ from: 0, size: signs.length }], after: Float64Array.from(signs) }] : []
  return {
    q: [{ axis: 0, blocks: queryBlocks(rotations) }],
    k: [{ axis: 0, blocks: blocks(rotations) }],
    v: [{ axis: 0, blocks: blocks(values) }],
    o: [{ axis: 1, blocks: queryBlocks(values) }],
    gate: [{ axis: 0, map: feedForward }],
    up: [{ axis: 0, map: feedForward }, ...signed(0)],
    down: [{ axis: 1, map: feedForward }, ...signed(1)],
  }
}

function rotationMatrix({ cos, sin }: HeadMap): Float64Array {
  const half = cos.length
  const width = half * 2
  const matrix = new Float64Array(width * width)
  for (let d = 0; d < half; d++) {
    matrix[d * width + d] = cos[d]!
    matrix[d * width + d + half] = -sin[d]!
    matrix[(d + half) * width + d] = sin[d]!
    matrix[(d + half) * width + d + half] = cos[d]!
  }
  return matrix
}

/** What orthogonal matching looks at: both models' matrices with the norm before them folded in, each divided by the root of its norm. */

import { sharedFloats } from '../../core/collections/sharedArrays.js'
import { fault } from '../../core/diagnostics.js'
import type { Weights } from '../weights.js'
import { canonicalShape, foldedBy, isCentred, isPlain, placeIn, readCanonical } from './canonical.js'
import type { Layout, Matrix } from './layout.js'

/** Norm weights of both models by tensor. */
export type Norms = Readonly<Record<string, { readonly model: Float32Array; readonly onto: Float32Array }>>

export interface Folded {
  readonly a: Float32Array
  readonly b: Float32Array
  readonly rows: number
  readonly columns: number
  /** What the product of both was multiplied by. */
  readonly weight: number
}

/** The smallest weight of a norm that others can be divided by, as a part of its largest: small ones cost precision. */
const LEAST = { rms: 1e-6, layer: 1e-4, either: 1e-4 }

/**
 * Both models' norms and factors of the stream. Error `no-orthogonal` where the result cannot be expressed by those of `onto`.
 */
export async function normsOf({ basis, kind, norms, parts }: Layout, left: Weights, right: Weights): Promise<Norms> {
  const found: Record<string, { model: Float32Array; onto: Float32Array }> = {}
  if (basis !== 'rotated') return found
  const check = (name: string, values: Float32Array, of: string) => {
    const scale = values.reduce((top, value) => Math.max(top, Math.abs(value)), 0)
    if (values.some((value) => !(Math.abs(value) > scale * LEAST[kind])))
      throw fault(
        'no-orthogonal',
        `symmetry: orthogonal is not possible: ${name} of the model ${of} has a weight of zero`,
        'use symmetry: permutation',
      )
  }
  for (const [name, part] of parts) {
    if (part.kind !== 'norm' && part.kind !== 'factor') continue
    const onto = (await left.get(name)).slice()
    found[name] = { model: (await right.get(name)).slice(), onto }
    if (part.kind === 'norm' && part.part === 'bias') continue
    check(name, onto, 'to align onto')
    const norm = part.kind === 'norm' ? norms.get(part.module)! : undefined
    // Its bias must be divided by its own weight.
    if (norm?.bias !== undefined && !norm.folds) check(name, found[name].model, 'to align')
  }
  return found
}

/** Reads folded matrices. */
export interface FoldedReader {
  /** Memory for so many numbers. Give it back with `give` as soon as it is not needed. */
  readonly take: (length: number) => Float32Array
  readonly give: (memory: Float32Array) => void
  readonly whole: (matrix: Matrix) => Promise<Folded & { readonly release: () => void }>
  /** A matrix, some rows at a time. Each part is valid until the next one is asked for. */
  readonly parts: (matrix: Matrix) => AsyncGenerator<Folded>
  /** Reads a matrix for its norms, so that `scale` counts it. */
  readonly measure: (matrix: Matrix) => Promise<void>
  /** What a reader's units add on their own, the norm's bias included. Undefined if nothing. */
  readonly biases: (matrix: Matrix) => Promise<{ readonly a: Float32Array; readonly b: Float32Array } | undefined>
  /** What a similarity is divided by: both models' norms over all that was read, each matrix divided by the root of its own. */
  readonly scale: () => number
}

/** Frobenius norms of a folded matrix. */
interface Sizes {
  readonly a: number
  readonly b: number
}

export function foldedReader(layout: Layout, left: Weights, right: Weights, norms: Norms): FoldedReader {
  const { tensors } = right.source
  const sides: Record<'a' | 'b', Side> = {
    a: { weights: left, scales: (name) => norms[name]!.onto },
    b: { weights: right, scales: (name) => norms[name]!.model },
  }
  const sizes = new Map<string, Sizes>()
  const memory = createMemory()
  const shapeOf = (matrix: Matrix) => canonicalShape(matrix, layout)
  const plain = (matrix: Matrix) => isPlain(matrix, layout, tensors.get(matrix.tensor)!.shape)
  const rowsAtOnce = (matrix: Matrix) =>
    plain(matrix)
      ? Math.max(256, Math.floor(Math.min(left.part, right.part) / shapeOf(matrix)[1] / 256) * 256)
      : Number.POSITIVE_INFINITY
  const ranges = (matrix: Matrix, most: number) => rangesOf(shapeOf(matrix)[0], most)

  const fold = (side: 'a' | 'b', matrix: Matrix, rows: Int32Array) =>
    foldRows(memory.take(rows.length * shapeOf(matrix)[1]), sides[side], layout, matrix, rows)

  async function sizesOf(matrix: Matrix): Promise<Sizes> {
    const name = `${matrix.tensor} ${matrix.from}`
    const known = sizes.get(name)
    if (known) return known
    const squares = { a: 0, b: 0 }
    for (const rows of ranges(matrix, rowsAtOnce(matrix)))
      for (const side of ['a', 'b'] as const) {
        const values = await fold(side, matrix, rows)
        for (const value of values) squares[side] += value * value
        memory.give(values)
      }
    const found = { a: Math.sqrt(squares.a), b: Math.sqrt(squares.b) }
    sizes.set(name, found)
    return found
  }

  async function some(matrix: Matrix, rows: Int32Array) {
    const size = await sizesOf(matrix)
    const read = async (side: 'a' | 'b') => {
      const values = await fold(side, matrix, rows)
      const weight = 1 / Math.sqrt(size[side] || 1)
      for (let i = 0; i < values.length; i++) values[i] = values[i]! * weight
      return { values, weight }
    }
    const [x, y] = [await read('a'), await read('b')]
    return {
      a: x.values,
      b: y.values,
      rows: rows.length,
      columns: shapeOf(matrix)[1],
      weight: x.weight * y.weight,
      release: () => {
        memory.give(x.values)
        memory.give(y.values)
      },
    }
  }
  return {
    ...memory,
    whole: (matrix) => some(matrix, [...ranges(matrix, Number.POSITIVE_INFINITY)][0]!),
    async *parts(matrix) {
      for (const rows of ranges(matrix, rowsAtOnce(matrix))) {
        const part = await some(matrix, rows)
        yield part
        part.release()
      }
    },
    async measure(matrix) {
      await sizesOf(matrix)
    },
    async biases(matrix) {
      const [a, b] = [await biasOf(sides.a, layout, matrix), await biasOf(sides.b, layout, matrix)]
      return a && b ? { a, b } : undefined
    },
    scale() {
      let [x, y] = [0, 0]
      for (const size of sizes.values()) [x, y] = [x + size.a, y + size.b]
      return Math.sqrt(x * y) || 1
    },
  }
}

/** A model with its own norms and factors by name. */
interface Side {
  readonly weights: Weights
  readonly scales: (name: string) => Float32Array
}

async function foldRows(
  out: Float32Array,
  { weights, scales }: Side,
  layout: Layout,
  matrix: Matrix,
  rows: Int32Array,
): Promise<Float32Array> {
  const by = foldedBy(matrix, layout)
  const scale = by === undefined ? undefined : scales(by)
  if (!isPlain(matrix, layout, weights.source.tensors.get(matrix.tensor)!.shape)) {
    await readCanonical(out, weights, matrix, layout, scale)
    return out
  }
  await foldInto(out, weights, matrix.tensor, rows, scale)
  return isCentred(layout) ? withoutMeans(out, layout.hidden) : out
}

/** What a reader's units add on their own: its bias, and what it makes of the bias of the norm before it. */
async function biasOf({ weights, scales }: Side, layout: Layout, matrix: Matrix): Promise<Float32Array | undefined> {
  const own = matrix.bias === undefined ? undefined : await weights.get(matrix.bias)
  const part = own?.subarray(matrix.from, matrix.from + matrix.units)
  const norm = matrix.norm === undefined ? undefined : layout.norms.get(matrix.norm)?.bias
  if (norm === undefined || layout.basis !== 'rotated') return part
  const through = await productWith(matrix, layout, weights, scales(norm))
  return through.map((value, i) => value + (part?.[i] ?? 0))
}

/** Memory that is used again once it is given back. */
function createMemory(): Pick<FoldedReader, 'take' | 'give'> {
  const spare: Float32Array[] = []
  return {
    take(length) {
      const at = spare.findIndex((room) => room.length >= length)
      const room = at < 0 ? sharedFloats(length) : spare.splice(at, 1)[0]!
      if (at < 0) spare.length = 0
      return room.subarray(0, length)
    },
    give: (room) => void spare.push(new Float32Array(room.buffer)),
  }
}

/** Indexes of `count` rows, `most` at a time. */
function* rangesOf(count: number, most: number): Generator<Int32Array> {
  for (let row = 0; row < count; row += most)
    yield Int32Array.from({ length: Math.min(most, count - row) }, (_, i) => row + i)
}

/** Reads rows of a matrix into `out`, each column multiplied by the weight of the norm before it. */
async function foldInto(
  out: Float32Array,
  weights: Weights,
  name: string,
  rows: Int32Array,
  scale: Float32Array | undefined,
): Promise<Float32Array> {
  const columns = out.length / rows.length
  const { data, starts, release } = await weights.rows(name, rows)
  for (let i = 0, at = 0; i < rows.length; i++)
    for (let j = 0, from = starts[i]!; j < columns; j++, at++) out[at] = data[from + j]! * (scale ? scale[j]! : 1)
  release()
  return out
}

/** Subtracts from each row its mean. */
function withoutMeans(rows: Float32Array, width: number): Float32Array {
  for (let start = 0; start < rows.length; start += width) {
    let mean = 0
    for (let i = 0; i < width; i++) mean += rows[start + i]!
    mean /= width
    for (let i = 0; i < width; i++) rows[start + i] = rows[start + i]! - mean
  }
  return rows
}

/** What a reader makes of a vector of the stream, without its bias. */
export async function productWith(
  matrix: Matrix,
  layout: Layout,
  weights: Weights,
  vector: ArrayLike<number>,
): Promise<Float32Array> {
  const data = await weights.get(matrix.tensor)
  const place = placeIn(matrix, layout, weights.source.tensors.get(matrix.tensor)!.shape)
  return Float32Array.from({ length: matrix.units }, (_, unit) => {
    const { start, step } = place(unit)
    let sum = 0
    for (let s = 0; s < layout.hidden; s++) sum += data[start + s * step]! * vector[s]!
    return sum
  })
}

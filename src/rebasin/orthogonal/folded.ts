/** What orthogonal matching looks at: both models' matrices with the norm before them folded in, each divided by the root of its norm. */
import { fault } from '../../core/diagnostics.js'
import { sharedFloats } from '../team/team.js'
import type { TensorSource, Weights } from '../weights.js'

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

/** Both models' norm weights. Error `no-orthogonal` where the result cannot be expressed by those of `onto`. */
export async function normsOf({ tensors }: TensorSource, left: Weights, right: Weights): Promise<Norms> {
  const norms: Record<string, { model: Float32Array; onto: Float32Array }> = {}
  for (const name of tensors.keys()) {
    if (!name.endsWith('norm.weight')) continue
    const onto = (await left.get(name)).slice()
    norms[name] = { model: (await right.get(name)).slice(), onto }
    const scale = onto.reduce((top, value) => Math.max(top, Math.abs(value)), 0)
    if (onto.some((value) => !(Math.abs(value) > scale * 1e-6)))
      throw fault(
        'no-orthogonal',
        `symmetry: orthogonal is not possible: ${name} of the model to align onto has a weight of zero`,
        'use symmetry: permutation',
      )
  }
  return norms
}

/** Reads folded matrices. */
export interface FoldedReader {
  /** Memory for so many numbers. Give it back with `give` as soon as it is not needed. */
  readonly take: (length: number) => Float32Array
  readonly give: (memory: Float32Array) => void
  readonly whole: (name: string, norm: string | undefined) => Promise<Folded & { readonly release: () => void }>
  /** A matrix, some rows at a time. Each part is valid until the next one is asked for. */
  readonly parts: (name: string, norm: string | undefined) => AsyncGenerator<Folded>
  /** Reads a matrix for its norms, so that `scale` counts it. */
  readonly measure: (name: string, norm: string | undefined) => Promise<void>
  /** What a similarity is divided by: both models' norms over all that was read, each matrix divided by the root of its own. */
  readonly scale: () => number
}

/** A model with the rows of norm weights that are folded into its matrices. */
interface Side {
  readonly weights: Weights
  readonly norms: 'onto' | 'model'
}

/** Frobenius norms of a folded matrix. */
interface Sizes {
  readonly a: number
  readonly b: number
}

export function foldedReader(left: Weights, right: Weights, norms: Norms): FoldedReader {
  const { tensors } = right.source
  const sides = { a: { weights: left, norms: 'onto' }, b: { weights: right, norms: 'model' } } as const
  const sizes = new Map<string, Sizes>()
  const memory = createMemory()
  const ranges = (name: string, most: number) => rangesOf(tensors.get(name)!.shape[0]!, most)
  const rowsAtOnce = (name: string) =>
    Math.max(256, Math.floor(Math.min(left.part, right.part) / tensors.get(name)!.shape[1]! / 256) * 256)

  const fold = ({ weights, norms: of }: Side, name: string, norm: string | undefined, rows: Int32Array) => {
    const out = memory.take(rows.length * tensors.get(name)!.shape[1]!)
    return foldInto(out, weights, name, rows, norm === undefined ? undefined : norms[norm]![of])
  }

  async function sizesOf(name: string, norm: string | undefined): Promise<Sizes> {
    const known = sizes.get(name)
    if (known) return known
    const squares = { a: 0, b: 0 }
    for (const rows of ranges(name, rowsAtOnce(name)))
      for (const side of ['a', 'b'] as const) {
        const values = await fold(sides[side], name, norm, rows)
        for (const value of values) squares[side] += value * value
        memory.give(values)
      }
    const found = { a: Math.sqrt(squares.a), b: Math.sqrt(squares.b) }
    sizes.set(name, found)
    return found
  }

  async function some(name: string, norm: string | undefined, rows: Int32Array) {
    const size = await sizesOf(name, norm)
    const read = async (side: 'a' | 'b') => {
      const values = await fold(sides[side], name, norm, rows)
      const weight = 1 / Math.sqrt(size[side] || 1)
      for (let i = 0; i < values.length; i++) values[i] = values[i]! * weight
      return { values, weight }
    }
    const [x, y] = [await read('a'), await read('b')]
    return {
      a: x.values,
      b: y.values,
      rows: rows.length,
      columns: tensors.get(name)!.shape[1]!,
      weight: x.weight * y.weight,
      release: () => {
        memory.give(x.values)
        memory.give(y.values)
      },
    }
  }
  return {
    ...memory,
    whole: (name, norm) => some(name, norm, [...ranges(name, Number.POSITIVE_INFINITY)][0]!),
    async *parts(name, norm) {
      for (const rows of ranges(name, rowsAtOnce(name))) {
        const part = await some(name, norm, rows)
        yield part
        part.release()
      }
    },
    async measure(name, norm) {
      await sizesOf(name, norm)
    },
    scale() {
      let [x, y] = [0, 0]
      for (const size of sizes.values()) [x, y] = [x + size.a, y + size.b]
      return Math.sqrt(x * y) || 1
    },
  }
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

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

/** Both models' norm weights. Fault `no-orthogonal` where the result cannot be expressed by those of `onto`. */
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

/** Reads them, whole or some rows at a time. */
export function folder(left: Weights, right: Weights, norms: Norms) {
  const { tensors } = right.source
  /** Frobenius norms of folded matrices. */
  const sizes = new Map<string, { readonly a: number; readonly b: number }>()
  /** Memory that was given back. */
  const spare: Float32Array[] = []
  const take = (length: number): Float32Array => {
    const at = spare.findIndex((room) => room.length >= length)
    const room = at < 0 ? sharedFloats(length) : spare.splice(at, 1)[0]!
    if (at < 0) spare.length = 0
    return room.subarray(0, length)
  }
  const give = (room: Float32Array) => void spare.push(new Float32Array(room.buffer))

  async function fold(weights: Weights, name: string, rows: Int32Array, scale: Float32Array | undefined) {
    const columns = tensors.get(name)!.shape[1]!
    const out = take(rows.length * columns)
    const { data, starts, release } = await weights.rows(name, rows)
    for (let i = 0, at = 0; i < rows.length; i++)
      for (let j = 0, from = starts[i]!; j < columns; j++, at++) out[at] = data[from + j]! * (scale ? scale[j]! : 1)
    release()
    return out
  }
  const ranges = function* (name: string, most: number): Generator<Int32Array> {
    const count = tensors.get(name)!.shape[0]!
    for (let row = 0; row < count; row += most)
      yield Int32Array.from({ length: Math.min(most, count - row) }, (_, i) => row + i)
  }
  const rowsAtOnce = (name: string) =>
    Math.max(256, Math.floor(Math.min(left.part, right.part) / tensors.get(name)!.shape[1]! / 256) * 256)

  async function sizesOf(name: string, norm: string | undefined) {
    const known = sizes.get(name)
    if (known) return known
    const squares = { a: 0, b: 0 }
    for (const rows of ranges(name, rowsAtOnce(name)))
      for (const [side, weights, scale] of [
        ['a', left, norm && norms[norm]!.onto],
        ['b', right, norm && norms[norm]!.model],
      ] as const) {
        const values = await fold(weights, name, rows, scale || undefined)
        for (const value of values) squares[side] += value * value
        give(values)
      }
    const found = { a: Math.sqrt(squares.a), b: Math.sqrt(squares.b) }
    sizes.set(name, found)
    return found
  }

  async function some(
    name: string,
    norm: string | undefined,
    rows: Int32Array,
  ): Promise<Folded & { release: () => void }> {
    const size = await sizesOf(name, norm)
    const read = async (weights: Weights, side: 'a' | 'b') => {
      const values = await fold(
        weights,
        name,
        rows,
        (norm && norms[norm]![side === 'a' ? 'onto' : 'model']) || undefined,
      )
      const weight = 1 / Math.sqrt(size[side] || 1)
      for (let i = 0; i < values.length; i++) values[i] = values[i]! * weight
      return { values, weight }
    }
    const [x, y] = [await read(left, 'a'), await read(right, 'b')]
    return {
      a: x.values,
      b: y.values,
      rows: rows.length,
      columns: tensors.get(name)!.shape[1]!,
      weight: x.weight * y.weight,
      release: () => {
        give(x.values)
        give(y.values)
      },
    }
  }
  return {
    take,
    give,
    whole: (name: string, norm: string | undefined) =>
      some(name, norm, [...ranges(name, Number.POSITIVE_INFINITY)][0]!),
    /** Some rows at a time. */
    async *parts(name: string, norm: string | undefined): AsyncGenerator<Folded> {
      for (const rows of ranges(name, rowsAtOnce(name))) {
        const part = await some(name, norm, rows)
        yield part
        part.release()
      }
    },
    /** What a similarity is divided by: both models' norms over all that was read, each matrix divided by the root of its own. */
    scale(): number {
      let [x, y] = [0, 0]
      for (const size of sizes.values()) [x, y] = [x + size.a, y + size.b]
      return Math.sqrt(x * y) || 1
    },
  }
}

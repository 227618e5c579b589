import { sharedCopy, sharedFloats } from '../core/collections/sharedArrays.js'

/** A model for matching: shapes, and values as float32. */
export interface TensorSource {
  readonly tensors: ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[] }>
  /** `config.json`, if there is one. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly read: (name: string) => Promise<Float32Array> | Float32Array
  /**
   * Reads rows (indices along the first axis, in any order, possibly repeated) into `into`. False if the tensor can only be
   * read whole.
   */
  readonly readRows?: (name: string, rows: Int32Array, into: Float32Array) => Promise<boolean>
}

/** Some rows of a tensor: row i of those asked for begins at element starts[i]. */
export interface Rows {
  readonly data: Float32Array
  readonly starts: Int32Array
  /** Gives the memory back, where it was taken for these rows alone. */
  readonly release: () => void
}

/** A model's tensors on memory that threads share. */
export interface Weights {
  readonly source: TensorSource
  readonly get: (name: string) => Promise<Float32Array>
  readonly rows: (name: string, rows: Int32Array) => Promise<Rows>
  /** Elements of a part that are to be asked for at once. */
  readonly part: number
}

/**
 * Memory for the tensors of one model, in bytes. Tensors that fit are kept, least recently used first out; rows of larger tensors
 * are read when needed. The budget does not affect the result.
 */
export interface WeightsBudget {
  readonly kept: number
  readonly part: number
}

const PLENTY: WeightsBudget = { kept: 2 ** 31, part: 2 ** 26 }

const elementsOf = ({ tensors }: TensorSource, name: string): number =>
  tensors.get(name)!.shape.reduce((product, n) => product * n, 1)

/** Elements of one row. */
export const rowLength = (shape: readonly number[]): number => shape.slice(1).reduce((product, n) => product * n, 1)

export function createWeights(source: TensorSource, budget: WeightsBudget = PLENTY): Weights {
  const held = new Map<string, Float32Array>()
  const whole = new Set<string>()
  let bytes = 0
  /** Parts that were given back: memory that is used again is never more than what was needed at once. */
  const spare: Float32Array[] = []

  const get = async (name: string): Promise<Float32Array> => {
    const known = held.get(name)
    if (known) {
      held.delete(name)
      held.set(name, known)
      return known
    }
    // Room is made before it is taken.
    bytes += 4 * elementsOf(source, name)
    for (const [oldest, array] of held) {
      if (bytes <= budget.kept) break
      held.delete(oldest)
      bytes -= array.byteLength
    }
    const values = sharedCopy(await source.read(name))
    held.set(name, values)
    return values
  }

  const take = (length: number): Float32Array => {
    const at = spare.findIndex((room) => room.length >= length)
    return at < 0 ? sharedFloats(Math.max(length, Math.floor(budget.part / 4))) : spare.splice(at, 1)[0]!
  }

  const rows: Weights['rows'] = async (name, rows) => {
    const { shape } = source.tensors.get(name)!
    const width = rowLength(shape)
    const small = held.has(name) || whole.has(name) || 4 * elementsOf(source, name) <= budget.kept
    if (!small && source.readRows) {
      const data = take(rows.length * width)
      if (await source.readRows(name, rows, data.subarray(0, rows.length * width)))
        return { data, starts: rows.map((_, i) => i * width), release: () => void spare.push(data) }
      spare.push(data)
      whole.add(name)
    }
    return { data: await get(name), starts: rows.map((row) => row * width), release: () => {} }
  }
  return { source, get, rows, part: Math.floor(budget.part / 4) }
}

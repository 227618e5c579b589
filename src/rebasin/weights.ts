import { sharedFloats } from './pool.js'

/** What matching needs of a model: shapes, and values as float32. */
export interface TensorSource {
  readonly tensors: ReadonlyMap<string, { readonly dtype: string; readonly shape: readonly number[] }>
  /** `config.json`, where there is one. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly read: (name: string) => Promise<Float32Array> | Float32Array
}

/** A model's tensors in memory that threads share, the last used kept up to a budget. */
export interface Weights {
  readonly source: TensorSource
  readonly get: (name: string) => Promise<Float32Array>
}

/** Bytes of tensors that one model keeps in memory; more are read anew when they are needed. */
const BUDGET = 2 ** 31

export function createWeights(source: TensorSource, budget = BUDGET): Weights {
  const held = new Map<string, Float32Array>()
  let bytes = 0
  const get = async (name: string): Promise<Float32Array> => {
    const known = held.get(name)
    if (known) {
      held.delete(name)
      held.set(name, known)
      return known
    }
    const values = await source.read(name)
    const shared = values.buffer instanceof SharedArrayBuffer ? values : sharedFloats(values.length)
    if (shared !== values) shared.set(values)
    held.set(name, shared)
    bytes += shared.byteLength
    for (const [oldest, array] of held) {
      if (bytes <= budget || oldest === name) break
      held.delete(oldest)
      bytes -= array.byteLength
    }
    return shared
  }
  return { source, get }
}

import type { WebAssembly } from '../core/webassembly.js'
import { CONTEXT_BYTES } from './types.js'

/** The operands of a call: addresses of first elements. */
export interface Operands {
  readonly inputs: readonly number[]
  readonly base?: number
  readonly output?: number
  /** Index of the first element in its tensor. Default: 0. */
  readonly first?: number
  /** Elements per row. Default: 0. */
  readonly rowLength?: number
  /** Address of the table. Default: 0. */
  readonly table?: number
  /** Address of the kernel's scratch space. Default: 0. */
  readonly scratch?: number
  /** For a mixed kernel: which operands are in the compute type; see types.ts. */
  readonly wide?: number
  /** The part of a row to use; see types.ts. */
  readonly part?: { readonly start: number; readonly end: number; readonly place: number; readonly last: boolean }
}

/** A context in memory with room for its pointers, coefficients and sums. The memory must not grow while it is in use. */
export interface Context {
  /** The argument of kernels. */
  readonly address: number
  readonly bind: (operands: Operands) => void
  readonly setCoefficients: (values: readonly number[]) => void
  /** Clears the first sums. Default: all of them. */
  readonly clearSums: (count?: number) => void
  /** A copy of the first sums. Default: all of them. */
  readonly readSums: (count?: number) => Float64Array
  /** A copy of the first counts, which use the memory of the sums. */
  readonly readCounts: (count: number) => Uint32Array
}

export interface ContextSize {
  readonly inputs: number
  readonly coefficients: number
  readonly sums: number
}

/** Bytes that `createContext` takes, a multiple of 8. */
export const contextBytes = ({ inputs, coefficients, sums }: ContextSize): number =>
  CONTEXT_BYTES + Math.ceil(inputs / 2) * 8 + (coefficients + sums) * 8

/**
 * Lays out a context at `address`, a multiple of 8. It uses `contextBytes(size)` bytes. `sumsElsewhere`: another address for its
 * sums, so that contexts that are used one at a time can share them.
 */
export function createContext(
  memory: WebAssembly.Memory,
  address: number,
  size: ContextSize,
  sumsElsewhere?: number,
): Context {
  if (address % 8 !== 0) throw new Error(`internal: a context at ${address}`)
  const pointersAt = address + CONTEXT_BYTES
  const coefficientsAt = pointersAt + Math.ceil(size.inputs / 2) * 8
  const sumsAt = sumsElsewhere ?? coefficientsAt + size.coefficients * 8
  const fields = new DataView(memory.buffer, address, CONTEXT_BYTES)
  const pointers = new Uint32Array(memory.buffer, pointersAt, size.inputs)
  const coefficients = new Float64Array(memory.buffer, coefficientsAt, size.coefficients)
  const sums = new Float64Array(memory.buffer, sumsAt, size.sums)
  return {
    address,
    bind({ inputs, base = 0, output = 0, first = 0, rowLength = 0, table = 0, scratch = 0, wide, part }) {
      if (inputs.length > size.inputs) throw new Error(`internal: ${inputs.length} inputs for ${size.inputs} places`)
      // Writes all fields each time, because programs in a worker share their scratch space.
      fields.setUint32(0, inputs.length, true)
      fields.setUint32(4, pointersAt, true)
      fields.setUint32(16, coefficientsAt, true)
      fields.setUint32(20, sumsAt, true)
      pointers.set(inputs)
      fields.setUint32(8, base, true)
      fields.setUint32(12, output, true)
      fields.setUint32(24, first % 2 ** 32, true)
      fields.setUint32(28, Math.floor(first / 2 ** 32), true)
      fields.setUint32(32, rowLength, true)
      fields.setUint32(36, table, true)
      fields.setUint32(40, scratch, true)
      if (wide !== undefined) fields.setUint32(44, wide, true)
      if (!part) return
      fields.setUint32(44, part.start, true)
      fields.setUint32(48, part.end, true)
      fields.setUint32(52, part.place, true)
      fields.setUint32(56, part.last ? 1 : 0, true)
    },
    setCoefficients(values) {
      if (values.length > size.coefficients)
        throw new Error(`internal: ${values.length} coefficients for ${size.coefficients} places`)
      coefficients.set(values)
    },
    clearSums: (count) => sums.fill(0, 0, count),
    readSums: (count) => sums.slice(0, count),
    readCounts: (count) => new Uint32Array(memory.buffer, sumsAt, count).slice(),
  }
}

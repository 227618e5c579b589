import type { WebAssembly } from '../core/webassembly.js'
import { CONTEXT_BYTES } from './types.js'

/** What a call works on: addresses of first elements. */
export interface Operands {
  readonly inputs: readonly number[]
  readonly base?: number
  readonly output?: number
  /** Index of the first element in its tensor; 0 unless told. */
  readonly first?: number
  /** Elements a row; 0 unless told. */
  readonly rowLength?: number
  /** Address of the table; 0 unless told. */
  readonly table?: number
  /** Address of the kernel's scratch space; 0 unless told. */
  readonly scratch?: number
  /** Of a mixed kernel: which operands are in the compute type; see types.ts. */
  readonly wide?: number
  /** The part of a row that counts; see types.ts. */
  readonly part?: { readonly start: number; readonly end: number; readonly place: number; readonly last: boolean }
}

/** A context in memory with room for its pointers, coefficients and sums. The memory must not grow while it is in use. */
export interface Context {
  /** What kernels are called with. */
  readonly address: number
  readonly bind: (operands: Operands) => void
  readonly setCoefficients: (values: readonly number[]) => void
  /** The first so many sums; all unless told. */
  readonly clearSums: (count?: number) => void
  /** A copy of the first so many sums; of all unless told. */
  readonly readSums: (count?: number) => Float64Array
  /** A copy of the first so many counts, which lie where the sums do. */
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
 * Lays a context out at `address`, a multiple of 8; `contextBytes(size)` bytes from there on are its own. `sumsElsewhere`: where
 * its sums are, in the place of there: contexts of which one at a time is summed up can share them.
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
      // All of it each time: programs that take turns in a worker share their scratch space.
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

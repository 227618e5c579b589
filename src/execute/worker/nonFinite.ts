/** Counts results that are not finite although the inputs are: overflows, and NaN from arithmetic. */

import type { FloatDtype, WrittenDtype } from '../../core/dtypes.js'
import type { WebAssembly } from '../../core/webassembly.js'
import { bytesOf, isFloat } from '../../encodings/index.js'
import type { Kernels } from '../../kernels/types.js'
import { isStored } from '../../views/readers.js'
import type { Program } from '../program.js'

/** The upper bits of a dtype that are all set in NaN and infinities. E4M3 has no infinities. */
const EXPONENTS: Readonly<Record<FloatDtype, number>> = {
  F64: 0x7ff0,
  F32: 0x7f80,
  BF16: 0x7f80,
  F16: 0x7c00,
  F8_E5M2: 0x7c,
  F8_E4M3: 0x7f,
}

/** Makes a function that checks whether elements of a stored dtype are finite. */
function finiteIn(view: DataView, dtype: FloatDtype): (address: number, index: number) => boolean {
  const bytes = bytesOf(dtype)
  const exponent = EXPONENTS[dtype]
  return bytes === 1
    ? (address, index) => (view.getUint8(address + index) & exponent) !== exponent
    : (address, index) => (view.getUint16(address + (index + 1) * bytes - 2, true) & exponent) !== exponent
}

/** Leaves whose elements stand in the places of the result's: of products (adapters' factors, Gram matrices) none do. */
function inputsOf({ nodes, leaves, held, elements }: Program): { leaf: number; dtype: FloatDtype; elements: number }[] {
  return nodes.flatMap((node) => {
    if ((node.kind !== 'read' && node.kind !== 'lora') || (node.kind === 'lora' && node.base < 0)) return []
    const leaf = node.kind === 'read' ? node.leaf : node.base
    const { dtype, elements: own = elements, reader } = leaves[leaf]!
    if (!isStored(reader) || dtype === 'raw' || !isFloat(dtype) || (held && own !== elements)) return []
    return [{ leaf, dtype, elements: own }]
  })
}

/**
 * Of the n results at an address, from element `first` of the tensor on, how many are not finite though all inputs are at their
 * places. `fetch` says where elements of a leaf lie; it is only called where a result is not finite.
 */
export type NonFiniteCounter = (
  address: number,
  first: number,
  n: number,
  fetch: (leaf: number, first: number, n: number) => number,
) => number

export function nonFiniteCounter(
  program: Program,
  dtype: WrittenDtype,
  kernels: Kernels,
  memory: WebAssembly.Memory,
): NonFiniteCounter {
  const allFinite = kernels.allFinite(dtype)
  let slow: ReturnType<typeof prepare> | undefined
  const prepare = () => {
    const view = new DataView(memory.buffer)
    const inputs = inputsOf(program).map((input) => ({ ...input, finite: finiteIn(view, input.dtype) }))
    return { finite: finiteIn(view, dtype), inputs }
  }
  return (address, first, n, fetch) => {
    if (allFinite(address, n)) return 0
    slow ??= prepare()
    const { finite, inputs } = slow
    const places = inputs.map(({ leaf, elements }) => {
      const count = Math.min(n, elements - first)
      return count > 0 ? { at: fetch(leaf, first, count), count } : { at: 0, count: 0 }
    })
    let found = 0
    for (let i = 0; i < n; i++) {
      if (finite(address, i)) continue
      const spoiled = inputs.some(({ finite }, k) => i < places[k]!.count && !finite(places[k]!.at, i))
      if (!spoiled) found++
    }
    return found
  }
}

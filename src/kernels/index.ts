import { readFile } from 'node:fs/promises'
import type { FloatDtype } from '../core/dtypes.js'
import { WebAssembly } from '../core/webassembly.js'
import {
  type AddProduct,
  ARENA_START,
  type ChunkKernel,
  type Compute,
  type Convert,
  DIGEST_BYTES,
  type Kernels,
  LEAF,
} from './types.js'

export * from './context.js'
export * from './formula.js'
export * from './treeDigest.js'
export * from './types.js'

/**
 * A new kernel is a function in assembly/, its name in `MapKernel` or `ReduceKernel`, its rule in reference.ts and,
 * if it has fused forms, these dtypes: exports are called NAME_f32, NAME_f64 and NAME_DTYPE.
 */
const FUSED: Readonly<Record<string, readonly FloatDtype[]>> = {
  linear: ['BF16', 'F16'],
  task: ['BF16', 'F16'],
  dots: ['BF16', 'F16'],
  nearswap: ['BF16', 'F16'],
  trimmed_sum: ['BF16', 'F16'],
  trimmed_elect: ['BF16', 'F16'],
  dropped_sum: ['BF16', 'F16'],
  dropped_elect: ['BF16', 'F16'],
  sce: ['BF16', 'F16'],
  coarse: ['BF16', 'F16'],
  fine: ['BF16', 'F16'],
  equals: ['BF16', 'F16'],
  variance_coarse: ['BF16'],
  variance_fine: ['BF16'],
  variance_equals: ['BF16'],
  trimmed_l1: ['BF16'],
  dropped_l1: ['BF16'],
  sce_squares: ['BF16', 'F16'],
}

/** Map kernels whose results in the compute type can be stored as they are: every NaN is the positive quiet one. */
const STORABLE: ReadonlySet<string> = new Set([
  ...Object.keys(FUSED),
  ...['median', 'magmax', 'consensus', 'changed', 'fisher', 'formula'],
])

const WASM = new URL('./terge.wasm', import.meta.url)
let compiled: Promise<WebAssembly.Module> | undefined

/** The compiled module, once per thread. It can be posted to workers, which then do not compile it again. */
export function compileKernels(): Promise<WebAssembly.Module> {
  compiled ??= readFile(WASM).then((bytes) => WebAssembly.compile(bytes))
  return compiled
}

/** Kernels for hashing digests and for scalar functions: own scratch space, no windows. */
export const smallKernels = async (): Promise<Kernels> =>
  instantiateKernels(await compileKernels(), new WebAssembly.Memory({ initial: 32 }))

/** An instance on `memory`, which is the caller's from ARENA_START on; below it the instance's own data are written. */
export function instantiateKernels(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernels {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  const get = <F>(name: string): F => {
    if (typeof exports[name] !== 'function') throw new Error(`internal: no kernel ${name}`)
    return exports[name] as F
  }
  if (get<() => number>('dataEnd')() > ARENA_START) throw new Error('internal: the module has outgrown ARENA_START')
  const fused = (name: string, dtype: FloatDtype, compute: Compute = 'f32'): ChunkKernel | undefined => {
    // A dtype that is a compute type needs no other kernel than the plain one.
    if (dtype === compute.toUpperCase()) return get<ChunkKernel>(`${name}_${compute}`)
    return compute === 'f32' && FUSED[name]?.includes(dtype) ? get<ChunkKernel>(`${name}_${dtype}`) : undefined
  }
  let hash: Kernels['hash'] | undefined
  return {
    memory,
    decode: (dtype, compute) => get<Convert>(`decode_${dtype}_${compute}`),
    encode: (compute, dtype) => get<Convert>(`encode_${compute}_${dtype}`),
    allFinite(dtype) {
      const finite = get<(address: number, n: number) => number>(`finite_${dtype}`)
      return (address, n) => finite(address, n) !== 0
    },
    map: (name, compute) => get<ChunkKernel>(`${name}_${compute}`),
    reduce: (name, compute) => get<ChunkKernel>(`${name}_${compute}`),
    // What is not storable goes through `encode`.
    fused: (name, dtype, compute = 'f32') =>
      dtype !== compute.toUpperCase() || STORABLE.has(name) ? fused(name, dtype, compute) : undefined,
    mixed: (name, dtype, compute) =>
      compute === 'f32' ? (exports[`${name}_mixed_${dtype}`] as ChunkKernel | undefined) : undefined,
    fusedReduce: fused,
    addProduct: (dtype, compute) => exports[`addProduct_${dtype}_${compute}`] as AddProduct | undefined,
    unpack: {
      numbers: (dtype) => get(`decode_${dtype}`),
      nibbles: get('decode_nibbles'),
      across: get('decode_across'),
      paired: get('decode_paired'),
      fields: get('unpack_fields'),
      line: get('unpack_line'),
      same: get('unpack_across'),
      addAll: get('add_all'),
      exponents: get('unpack_F8_E8M0'),
      scaleRuns: get('scale_runs'),
      scaleEach: get('scale_each'),
      scaleMapped: get('scale_mapped'),
      scaleAll: get('scale_all'),
    },
    turn: {
      1: get('turn1'),
      2: get('turn2'),
      4: get('turn4'),
      8: get('turn8'),
      apart: get('turn_apart'),
    },
    xxh3: get('xxh3_128'),
    leaves: get('xxh3_leaves'),
    math: {
      sin: get('sin'),
      cos: get('cos'),
      acos: get('acos'),
      exp: get('exp'),
      log: get('log'),
      pow: get('pow'),
      tanh: get('tanh'),
    },
    hash: (bytes) => {
      hash ??= privateHash(module)
      return hash(bytes)
    },
  }
}

/** A hash function with a small memory of its own, so that callers do not have to provide scratch space. */
function privateHash(module: WebAssembly.Module): Kernels['hash'] {
  const memory = new WebAssembly.Memory({ initial: 1 + LEAF / 65536 + 1 })
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  const xxh3 = exports.xxh3_128 as Kernels['xxh3']
  const start = ARENA_START + DIGEST_BYTES
  return (bytes) => {
    const missing = start + bytes.length - memory.buffer.byteLength
    if (missing > 0) memory.grow(Math.ceil(missing / 65536))
    new Uint8Array(memory.buffer, start, bytes.length).set(bytes)
    xxh3(start, bytes.length, ARENA_START)
    return new Uint8Array(memory.buffer, ARENA_START, DIGEST_BYTES).slice()
  }
}

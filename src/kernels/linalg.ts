import { compileKernelsSync } from './index.js'

/**
 * Dense linear algebra: products of float32 matrices tile by tile, linear assignment, polar factors. One instance holds one
 * WebAssembly memory of its own and serves one thread; results are the same bits on every machine and thread.
 */
export interface Linalg {
  /** Adds rows [i0, i1) × columns [j0, j1) of X · Yᵀ to C. */
  readonly addProduct: (product: Product, i0: number, i1: number, j0: number, j1: number) => void
  readonly assign: (scores: Float32Array, size: number, warm?: Assignment) => Assignment
  /** Orthogonal factor of the polar decomposition of a square float64 matrix, row-major: the rotation R that maximises tr(RᵀA). */
  readonly polar: (a: Float64Array, size: number) => Float64Array
  /** A (m × k) · B (k × n), float64, row-major. */
  readonly multiply: (a: Float64Array, b: Float64Array, m: number, n: number, k: number) => Float64Array
}

/** C += X · Yᵀ. C is m × n, row-major; X is m × k and Y n × k (`rows`), or k × m and k × n (`columns`), row-major. */
export interface Product {
  readonly c: Float32Array
  readonly x: Float32Array
  readonly y: Float32Array
  readonly m: number
  readonly n: number
  readonly k: number
  readonly layout: 'rows' | 'columns'
}

export interface Assignment {
  /** Column of each row: a permutation. */
  readonly columns: Int32Array
  /** Dual prices of the columns: where a next, similar assignment starts from. */
  readonly prices: Float64Array
}

/** Inner blocking: part of the result, for every element is a chain of sums of so many products. */
const INNER = 256
/** A tile of C with its packed operands takes 1.3 MB: it stays in the second-level cache. */
export const TILE_ROWS = 256
export const TILE_COLUMNS = 512

interface Exports {
  dataEnd(): number
  packRows(from: number, stride: number, rows: number, k: number, width: number, to: number): void
  packColumns(from: number, stride: number, rows: number, k: number, width: number, to: number): void
  gemmF32(a: number, b: number, c: number, m: number, n: number, k: number, stride: number): void
  gemmF64(a: number, b: number, c: number, m: number, n: number, k: number): void
  invertF64(a: number, swaps: number, n: number): number
  assignment(c: number, n: number, columns: number, rows: number, prices: number, work: number, warm: number): void
}

let compiled: WebAssembly.Module | undefined

export function createLinalg(): Linalg {
  compiled ??= compileKernelsSync()
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 65536 })
  const wasm = new WebAssembly.Instance(compiled, { env: { memory } }).exports as unknown as Exports
  const heap = Math.ceil(wasm.dataEnd() / 64) * 64

  /** Places for so many bytes each, from the start of the heap: every call lays out the whole memory anew. */
  const places = (...sizes: number[]): number[] => {
    let end = heap
    const at = sizes.map((size) => {
      const here = end
      end += Math.ceil(size / 64) * 64
      return here
    })
    const missing = end - memory.buffer.byteLength
    if (missing > 0) memory.grow(Math.ceil(missing / 65536))
    return at
  }
  const f32 = (at: number, length: number) => new Float32Array(memory.buffer, at, length)
  const f64 = (at: number, length: number) => new Float64Array(memory.buffer, at, length)

  const addProduct: Linalg['addProduct'] = ({ c, x, y, m, n, k, layout }, i0, i1, j0, j1) => {
    const rows = i1 - i0
    const columns = j1 - j0
    const m4 = Math.ceil(rows / 4) * 4
    const n8 = Math.ceil(columns / 8) * 8
    const inner = Math.min(INNER, k)
    const rawSize = Math.max(rows, columns) * inner * 4
    const [raw, a, b, out] = places(rawSize, m4 * inner * 4, n8 * inner * 4, m4 * n8 * 4) as [
      number,
      number,
      number,
      number,
    ]
    const tile = f32(out, m4 * n8)
    for (let i = 0; i < rows; i++) tile.set(c.subarray((i0 + i) * n + j0, (i0 + i) * n + j1), i * n8)
    const staging = f32(raw, rawSize / 4)
    const pack = (
      from: Float32Array,
      first: number,
      count: number,
      total: number,
      p0: number,
      depth: number,
      width: number,
      to: number,
    ) => {
      if (layout === 'rows') {
        for (let i = 0; i < count; i++) {
          const at = (first + i) * k + p0
          staging.set(from.subarray(at, at + depth), i * depth)
        }
        wasm.packRows(raw, depth * 4, count, depth, width, to)
      } else {
        for (let p = 0; p < depth; p++) {
          const at = (p0 + p) * total + first
          staging.set(from.subarray(at, at + count), p * count)
        }
        wasm.packColumns(raw, count * 4, count, depth, width, to)
      }
    }
    for (let p = 0; p < k; p += INNER) {
      const depth = Math.min(INNER, k - p)
      pack(x, i0, rows, m, p, depth, 4, a)
      pack(y, j0, columns, n, p, depth, 8, b)
      wasm.gemmF32(a, b, out, m4, n8, depth, n8 * 4)
    }
    for (let i = 0; i < rows; i++) c.set(tile.subarray(i * n8, i * n8 + columns), (i0 + i) * n + j0)
  }

  const assign: Linalg['assign'] = (scores, size, warm) => {
    if (size === 0) return { columns: new Int32Array(0), prices: new Float64Array(0) }
    const [c, columns, rows, prices, work] = places(size * size * 4, size * 4, size * 4, size * 8, size * 24) as [
      number,
      number,
      number,
      number,
      number,
    ]
    f32(c, size * size).set(scores.subarray(0, size * size))
    if (warm) {
      new Int32Array(memory.buffer, columns, size).set(warm.columns)
      f64(prices, size).set(warm.prices)
    }
    wasm.assignment(c, size, columns, rows, prices, work, warm ? 1 : 0)
    return {
      columns: new Int32Array(memory.buffer, columns, size).slice(),
      prices: size === 1 ? new Float64Array(1) : f64(prices, size).slice(),
    }
  }

  const multiply: Linalg['multiply'] = (a, b, m, n, k) => {
    const [x, y, out] = places(m * k * 8, k * n * 8, m * n * 8) as [number, number, number]
    f64(x, m * k).set(a)
    f64(y, k * n).set(b)
    wasm.gemmF64(x, y, out, m, n, k)
    return f64(out, m * n).slice()
  }

  const invert = (a: Float64Array, size: number): Float64Array | undefined => {
    const [at, swaps] = places(size * size * 8, size * 4) as [number, number]
    f64(at, size * size).set(a)
    return wasm.invertF64(at, swaps, size) ? f64(at, size * size).slice() : undefined
  }

  return { addProduct, assign, multiply, polar: (a, size) => polar(a, size, invert) }
}

/**
 * Scaled Newton iteration X ← (γX + (γX)⁻ᵀ)/2 (Higham, "Computing the polar decomposition", 1986), about ten rounds whatever the
 * condition. A singular matrix has no unique polar factor: a small multiple of the identity then decides among them.
 */
function polar(
  a: Float64Array,
  size: number,
  invert: (a: Float64Array, size: number) => Float64Array | undefined,
): Float64Array {
  const scale = norm(a)
  let x = new Float64Array(a.length)
  if (scale > 0) for (let i = 0; i < a.length; i++) x[i] = a[i]! / scale
  let shift = scale > 0 ? 0 : 1
  for (let round = 0; round < 60; round++) {
    if (shift > 0) for (let i = 0; i < size; i++) x[i * size + i] = x[i * size + i]! + shift
    shift = 0
    const inverse = invert(x, size)
    if (!inverse || !Number.isFinite(norm(inverse)) || norm(inverse) > 1e13 * norm(x)) {
      shift = 1e-7 * Math.max(norm(x), 1)
      continue
    }
    const gamma = Math.sqrt(norm(inverse) / norm(x))
    const next = new Float64Array(a.length)
    let change = 0
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        const value = (gamma * x[i * size + j]! + inverse[j * size + i]! / gamma) / 2
        change += (value - x[i * size + j]!) ** 2
        next[i * size + j] = value
      }
    }
    x = next
    if (change <= 1e-24 * size) return x
  }
  return x
}

const norm = (a: Float64Array): number => {
  let sum = 0
  for (const value of a) sum += value * value
  return Math.sqrt(sum)
}

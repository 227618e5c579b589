import { sharedInts } from '../core/collections/sharedArrays.js'
import { aligned, WebAssembly } from '../core/webassembly.js'
import { denseModule } from './dense/team.js'

/**
 * Dense linear algebra: tiled products of float32 matrices, linear assignment, small polar factors. An instance has its own
 * WebAssembly memory and serves one thread. Results have the same bits on every machine and thread.
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

/**
 * A matrix in an array: element (u, p) is data[units[u] + rests[p]], minus data[units[u] + minus[p]] if there is `minus`. Two
 * lists of offsets can describe any axes of a tensor, in any order.
 */
export interface Operand {
  readonly data: Float32Array
  readonly units: Int32Array
  readonly rests: Int32Array
  readonly minus?: Int32Array
}

/** C += X · Yᵀ: element (i, j) of C is c[at + i · stride + j], i over X's units, j over Y's, summed over the rests. */
export interface Product {
  readonly c: Float32Array
  readonly at: number
  readonly stride: number
  readonly x: Operand
  readonly y: Operand
}

export interface Assignment {
  /** Column of each row: a permutation. */
  readonly columns: Int32Array
  /** Dual prices of the columns. A similar assignment can start from them. */
  readonly prices: Float64Array
}

/** Inner block size. It is part of the result, because every element is a chain of sums of so many products. */
const INNER = 256
/** Inner places that are copied to a thread's own memory at once: a multiple of the blocks. */
const STAGED = 1024
/** Tile sizes of a product. Larger tiles need less packing; smaller ones give work to all threads if there are few. */
export function tileOf({ x, y }: Product): { readonly rows: number; readonly columns: number } {
  return x.units.length * y.units.length >= LARGE ? { rows: 512, columns: 1024 } : { rows: 256, columns: 512 }
}
const LARGE = 2048 * 2048

const run = (count: number, step = 1): Int32Array => {
  const places = sharedInts(count)
  for (let i = 0; i < count; i++) places[i] = i * step
  return places
}

/** A dense matrix's rows as units. */
export const byRows = (data: Float32Array, rows: number, columns: number): Operand => ({
  data,
  units: run(rows, columns),
  rests: run(columns),
})

/** A dense matrix's columns as units. */
export const byColumns = (data: Float32Array, rows: number, columns: number): Operand => ({
  data,
  units: run(columns),
  rests: run(rows, columns),
})

/** The whole product, into a dense C. */
export const productInto = (c: Float32Array, x: Operand, y: Operand): Product => ({
  c,
  at: 0,
  stride: y.units.length,
  x,
  y,
})

interface Exports {
  dataEnd(): number
  packRows(from: number, stride: number, rows: number, k: number, width: number, to: number): void
  packColumns(from: number, stride: number, rows: number, k: number, width: number, to: number): void
  gemmF32(a: number, b: number, c: number, m: number, n: number, k: number, stride: number): void
  gemmF64(a: number, b: number, c: number, m: number, n: number, k: number): void
  invertF64(a: number, swaps: number, n: number): number
  assignment(c: number, n: number, columns: number, rows: number, prices: number, work: number, warm: number): void
}

/** Room beside n² scores that an assignment takes, in bytes: columns, rows, prices, and what it works with. */
const assignRooms = (size: number): number[] => [size * 4, size * 4, size * 8, size * 24]
export const assignBytes = (size: number): number => placesFrom(0, assignRooms(size)).end
const WASM_PAGE = 65536

/** The largest square matrix of scores that fits into 32-bit memory. */
export const LARGEST_SQUARE = 32_700

const kernelsOn = (memory: WebAssembly.Memory): Exports =>
  new WebAssembly.Instance(denseModule(), { env: { memory } }).exports as unknown as Exports

/** An assignment in place: addresses of n² scores and of `assignBytes` of room. */
export interface AssignmentInPlace {
  readonly size: number
  readonly scores: number
  readonly beside: number
  readonly warm: boolean
}

/** Solves an assignment in place. `assignmentAt` gives its start and its result. */
export function assignInPlace(memory: WebAssembly.Memory): (assignment: AssignmentInPlace) => void {
  const kernels = kernelsOn(memory)
  return ({ size, scores, beside, warm }) => {
    const [columns, rows, prices, work] = placesFrom(beside, assignRooms(size)).at as [number, number, number, number]
    kernels.assignment(scores, size, columns, rows, prices, work, warm ? 1 : 0)
  }
}

/** Columns and prices of an assignment in place: views. */
export function assignmentAt({ buffer }: WebAssembly.Memory, beside: number, size: number): Assignment {
  const [columns, , prices] = placesFrom(beside, assignRooms(size)).at as [number, number, number]
  return { columns: new Int32Array(buffer, columns, size), prices: new Float64Array(buffer, prices, size) }
}

export function createLinalg(): Linalg {
  const space = createSpace()
  const inPlace = assignInPlace(space.memory)
  return {
    addProduct: (product, ...tile) => addProduct(space, product, ...tile),
    assign: (scores, size, warm) => assign(space, inPlace, scores, size, warm),
    multiply: (...operands) => multiply(space, ...operands),
    polar: (a, size) => polar(a, size, (matrix) => invert(space, matrix, size)),
  }
}

/** A memory with the kernels. Each call lays out the memory again. */
interface Space {
  readonly memory: WebAssembly.Memory
  readonly kernels: Exports
  /** Reserves rooms of these sizes in bytes and returns their addresses. The memory may grow, so make views afterwards. */
  readonly places: (...sizes: number[]) => number[]
  readonly f32: (at: number, length: number) => Float32Array
  readonly f64: (at: number, length: number) => Float64Array
}

function createSpace(): Space {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 65536, shared: true })
  const kernels = kernelsOn(memory)
  const heap = aligned(kernels.dataEnd())
  return {
    memory,
    kernels,
    places: (...sizes) => {
      const { at, end } = placesFrom(heap, sizes)
      const missing = end - memory.buffer.byteLength
      if (missing > 0) memory.grow(Math.ceil(missing / WASM_PAGE))
      return at
    },
    f32: (at, length) => new Float32Array(memory.buffer, at, length),
    f64: (at, length) => new Float64Array(memory.buffer, at, length),
  }
}

function addProduct(
  { kernels, places, f32 }: Space,
  { c, at, stride, x, y }: Product,
  i0: number,
  i1: number,
  j0: number,
  j1: number,
): void {
  const k = x.rests.length
  const rows = i1 - i0
  const columns = j1 - j0
  const m4 = Math.ceil(rows / 4) * 4
  const n8 = Math.ceil(columns / 8) * 8
  const inner = Math.min(INNER, k)
  const staged = Math.min(STAGED, k)
  const [rawX, rawY, a, b, out] = places(
    rows * staged * 4,
    columns * staged * 4,
    m4 * inner * 4,
    n8 * inner * 4,
    m4 * n8 * 4,
  ) as [number, number, number, number, number]
  const tile = f32(out, m4 * n8)
  const rowAt = (i: number) => at + (i0 + i) * stride + j0
  for (let i = 0; i < rows; i++) tile.set(c.subarray(rowAt(i), rowAt(i) + columns), i * n8)
  const sides = [
    { stage: stager(x), raw: rawX, first: i0, count: rows, width: 4, to: a },
    { stage: stager(y), raw: rawY, first: j0, count: columns, width: 8, to: b },
  ]
  for (let p = 0; p < k; p += STAGED) {
    const depth = Math.min(STAGED, k - p)
    const layouts = sides.map(({ stage, raw, first, count }) => stage(f32(raw, count * depth), first, count, p, depth))
    for (let q = 0; q < depth; q += INNER) {
      const some = Math.min(INNER, depth - q)
      for (const [side, { raw, count, width, to }] of sides.entries())
        if (layouts[side] === 'rows') kernels.packRows(raw + q * 4, depth * 4, count, some, width, to)
        else kernels.packColumns(raw + q * count * 4, count * 4, count, some, width, to)
      kernels.gemmF32(a, b, out, m4, n8, some, n8 * 4)
    }
  }
  for (let i = 0; i < rows; i++) c.set(tile.subarray(i * n8, i * n8 + columns), rowAt(i))
}

function assign(
  { memory, places, f32 }: Space,
  inPlace: ReturnType<typeof assignInPlace>,
  scores: Float32Array,
  size: number,
  warm: Assignment | undefined,
): Assignment {
  if (size === 0) return { columns: new Int32Array(0), prices: new Float64Array(0) }
  const [at, beside] = places(size * size * 4, assignBytes(size)) as [number, number]
  f32(at, size * size).set(scores.subarray(0, size * size))
  const found = assignmentAt(memory, beside, size)
  if (warm) {
    found.columns.set(warm.columns)
    found.prices.set(warm.prices)
  }
  inPlace({ size, scores: at, beside, warm: warm !== undefined })
  return { columns: found.columns.slice(), prices: size === 1 ? new Float64Array(1) : found.prices.slice() }
}

function multiply(
  { kernels, places, f64 }: Space,
  a: Float64Array,
  b: Float64Array,
  m: number,
  n: number,
  k: number,
): Float64Array {
  const [x, y, out] = places(m * k * 8, k * n * 8, m * n * 8) as [number, number, number]
  f64(x, m * k).set(a)
  f64(y, k * n).set(b)
  kernels.gemmF64(x, y, out, m, n, k)
  return f64(out, m * n).slice()
}

/** The inverse of a square matrix; undefined if it is singular. */
function invert({ kernels, places, f64 }: Space, a: Float64Array, size: number): Float64Array | undefined {
  const [at, swaps] = places(size * size * 8, size * 4) as [number, number]
  f64(at, size * size).set(a)
  return kernels.invertF64(at, swaps, size) ? f64(at, size * size).slice() : undefined
}

function placesFrom(start: number, sizes: readonly number[]): { at: number[]; end: number } {
  let end = aligned(start)
  const at = sizes.map((size) => {
    const here = end
    end += aligned(size)
    return here
  })
  return { at, end }
}

type Stager = (to: Float32Array, first: number, count: number, p: number, depth: number) => 'rows' | 'columns'

const together = (places: Int32Array): boolean => places.every((place, i) => place === places[0]! + i)

/** Copies `count` units × `depth` rests side by side, unit after unit (`rows`) or rest after rest (`columns`), whichever lies so. */
function stager({ data, units, rests, minus }: Operand): Stager {
  if (units.length > 1 && together(units)) {
    return (to, first, count, p0, depth) => {
      for (let p = 0, at = 0; p < depth; p++, at += count) {
        const from = rests[p0 + p]! + units[first]!
        if (!minus) {
          to.set(data.subarray(from, from + count), at)
          continue
        }
        const less = minus[p0 + p]! + units[first]!
        for (let i = 0; i < count; i++) to[at + i] = data[from + i]! - data[less + i]!
      }
      return 'columns'
    }
  }
  const straight = !minus && together(rests)
  return (to, first, count, p0, depth) => {
    for (let i = 0, at = 0; i < count; i++) {
      const unit = units[first + i]!
      if (straight) {
        to.set(data.subarray(unit + rests[p0]!, unit + rests[p0]! + depth), at)
        at += depth
      } else if (minus)
        for (let p = p0; p < p0 + depth; p++) to[at++] = data[unit + rests[p]!]! - data[unit + minus[p]!]!
      else for (let p = p0; p < p0 + depth; p++) to[at++] = data[unit + rests[p]!]!
    }
    return 'rows'
  }
}

/**
 * Scaled Newton iteration X ← (γX + (γX)⁻ᵀ)/2 (Higham, "Computing the polar decomposition", 1986), about ten rounds whatever the
 * condition. A singular matrix has no unique polar factor: a small multiple of the identity then decides among them.
 */
function polar(a: Float64Array, size: number, inverseOf: (a: Float64Array) => Float64Array | undefined): Float64Array {
  const scale = norm(a)
  let x = new Float64Array(a.length)
  if (scale > 0) for (let i = 0; i < a.length; i++) x[i] = a[i]! / scale
  let shift = scale > 0 ? 0 : 1
  for (let round = 0; round < 60; round++) {
    if (shift > 0) for (let i = 0; i < size; i++) x[i * size + i] = x[i * size + i]! + shift
    shift = 0
    const inverse = inverseOf(x)
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

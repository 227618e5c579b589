/**
 * Tensors whose elements don't lie one after the other: PyTorch's views. The element with row-major index i of a tensor
 * of `shape` lies at Σ iₐ · strideₐ elements from its first one, where iₐ are i's coordinates. Strides are never
 * negative; 0 repeats one element along an axis (`expand`).
 */

/** Where the element of a row-major index lies, in elements from the tensor's first. */
export function stridedOffset(shape: readonly number[], strides: readonly number[], index: number): number {
  let offset = 0
  let rest = index
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis]!
    offset += (rest % size) * strides[axis]!
    rest = Math.floor(rest / size)
  }
  return offset
}

/**
 * The elements of a storage that `count` elements from row-major index `first` on need: `[from, to)`, counted from the
 * tensor's first element. Never too few; the least there are, up to the edges of rows. `count` must be at least 1.
 */
export function stridedSpan(
  shape: readonly number[],
  strides: readonly number[],
  first: number,
  count: number,
): readonly [from: number, to: number] {
  const last = first + count - 1
  // Elements below the axis that is looked at.
  let block = shape.reduce((product, size) => product * size, 1)
  let from = 0
  for (const [axis, size] of shape.entries()) {
    const inner = block / size
    const low = Math.floor((first % block) / inner)
    const high = Math.floor((last % block) / inner)
    from += low * strides[axis]!
    if (low !== high) {
      let to = from + (high - low) * strides[axis]! + 1
      for (let below = axis + 1; below < shape.length; below++) to += (shape[below]! - 1) * strides[below]!
      return [from, to]
    }
    block = inner
  }
  return [from, from + 1]
}

/** The slow and obvious way: all elements, in row-major order. `src` begins with the tensor's first element. */
export function gatherStrided(
  src: Uint8Array,
  elementBytes: number,
  shape: readonly number[],
  strides: readonly number[],
): Uint8Array {
  const count = shape.reduce((product, size) => product * size, 1)
  const out = new Uint8Array(count * elementBytes)
  for (let index = 0; index < count; index++) {
    const from = stridedOffset(shape, strides, index) * elementBytes
    for (let byte = 0; byte < elementBytes; byte++) out[index * elementBytes + byte] = src[from + byte]!
  }
  return out
}

type Elements = Uint8Array | Uint16Array | Uint32Array | BigUint64Array

/** Rows that are written side by side where reading down a column is the short way. */
const BAND = 16

/**
 * `count` elements from row-major index `first` on, written to the beginning of `out`. `src` begins `srcStart` elements
 * after the tensor's first one (`stridedSpan` says what it must hold). `elementBytes` is 1, 2, 4 or 8.
 */
export function copyStrided(
  src: Uint8Array,
  elementBytes: number,
  shape: readonly number[],
  strides: readonly number[],
  first: number,
  count: number,
  out: Uint8Array,
  srcStart = 0,
): void {
  if (count === 0) return
  const axes = simplify(shape, strides)
  const inner = axes.pop()!
  const from = elementsOf(src, elementBytes)
  const aligned = out.byteOffset % elementBytes === 0
  const target = aligned ? out : new Uint8Array(count * elementBytes)
  const to = elementsOf(target, elementBytes)
  const end = first + count
  const row = axes.at(-1)
  // Rows of the innermost two axes, where a step to the next row is shorter than one along the row.
  const banded = row !== undefined && inner.stride > row.stride && inner.size > 1
  for (let index = first; index < end; ) {
    const column = index % inner.size
    const start = offsetOf(axes, Math.floor(index / inner.size)) + column * inner.stride - srcStart
    const rows =
      banded && column === 0
        ? Math.min(BAND, row.size - (Math.floor(index / inner.size) % row.size), Math.floor((end - index) / inner.size))
        : 0
    if (rows > 1) {
      copyBand(from, to, start, index - first, rows, row!.stride, inner)
      index += rows * inner.size
    } else {
      const run = Math.min(inner.size - column, end - index)
      copyRun(from, to, start, index - first, run, inner.stride)
      index += run
    }
  }
  if (!aligned) out.set(target)
}

/** One piece of a row. */
function copyRun(from: Elements, to: Elements, start: number, at: number, run: number, stride: number): void {
  if (stride === 1 && run > 32) (to as Uint8Array).set(from.subarray(start, start + run) as Uint8Array, at)
  else if (stride === 0) (to as Uint8Array).fill(from[start] as number, at, at + run)
  else for (let index = 0, read = start; index < run; index++, read += stride) to[at + index] = from[read]!
}

/** Whole rows, column by column: neighbours in the source are read together. */
function copyBand(
  from: Elements,
  to: Elements,
  start: number,
  at: number,
  rows: number,
  step: number,
  inner: Axis,
): void {
  for (let column = 0, top = start; column < inner.size; column++, top += inner.stride)
    for (let row = 0, read = top, write = at + column; row < rows; row++, read += step, write += inner.size)
      to[write] = from[read]!
}

interface Axis {
  size: number
  stride: number
}

/** The same elements in the same order with as few axes as will do; at least one. */
function simplify(shape: readonly number[], strides: readonly number[]): Axis[] {
  const axes: Axis[] = []
  for (const [axis, size] of shape.entries()) {
    if (size === 1) continue
    const stride = strides[axis]!
    const outer = axes.at(-1)
    if (outer && outer.stride === stride * size) {
      outer.size *= size
      outer.stride = stride
    } else axes.push({ size, stride })
  }
  return axes.length > 0 ? axes : [{ size: 1, stride: 1 }]
}

function offsetOf(axes: readonly Axis[], index: number): number {
  let offset = 0
  let rest = index
  for (let axis = axes.length - 1; axis >= 0; axis--) {
    const { size, stride } = axes[axis]!
    offset += (rest % size) * stride
    rest = Math.floor(rest / size)
  }
  return offset
}

/** Views in whole elements. Bytes that don't lie on their boundaries, as in old PyTorch files, are copied there first. */
function elementsOf(bytes: Uint8Array, elementBytes: number): Elements {
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % elementBytes === 0 ? bytes : bytes.slice()
  const count = Math.floor(byteLength / elementBytes)
  if (elementBytes === 1) return new Uint8Array(buffer, byteOffset, count)
  if (elementBytes === 2) return new Uint16Array(buffer, byteOffset, count)
  if (elementBytes === 4) return new Uint32Array(buffer, byteOffset, count)
  if (elementBytes === 8) return new BigUint64Array(buffer, byteOffset, count)
  throw new Error(`internal: elements of ${elementBytes} bytes`)
}

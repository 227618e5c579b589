/**
 * Non-contiguous tensors: PyTorch's views. The element with row-major index i lies Σ iₐ · strideₐ elements after the
 * first, where iₐ are the coordinates of i. Strides are never negative; a stride of 0 repeats one element along an axis
 * (`expand`).
 */

/**
 * The range `[from, to)` of storage elements that `count` elements from row-major index `first` need, counted from the
 * tensor's first element. It is complete, and minimal up to the ends of rows. `count` must be at least 1.
 */
export function stridedSpan(
  shape: readonly number[],
  strides: readonly number[],
  first: number,
  count: number,
): readonly [from: number, to: number] {
  const last = first + count - 1
  // The number of elements below the current axis.
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

/**
 * Rows and columns of the squares in which a transposed tensor is copied, so that whole cache lines are read and
 * written.
 */
const SQUARE = 32
/** Up to this many bytes, a loop is faster than a call of `set`. */
const SHORT_RUN = 48

/**
 * Copies `count` elements from row-major index `first` to the start of `out`. `src` starts `srcStart` elements after
 * the tensor's first element; `stridedSpan` gives the range that it must hold. Neither needs to be aligned.
 * `elementBytes` is 1, 2, 4 or 8.
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
  const axes = collapsed(shape, strides)
  const inner = axes.pop()!
  const row = axes.at(-1)
  const step = inner.stride * elementBytes
  // The step to the next row is shorter than the step along the row.
  const transposed = row !== undefined && row.stride > 0 && inner.stride > row.stride
  const square = viewsOf(new Uint8Array(transposed ? SQUARE * SQUARE * elementBytes : 0))
  const source = viewsOf(src)
  const target = viewsOf(out)
  const end = first + count
  for (let index = first; index < end; ) {
    const column = index % inner.size
    const above = (index - column) / inner.size
    const from = (offsetOf(axes, above) - srcStart) * elementBytes + column * step
    const to = (index - first) * elementBytes
    const rows =
      transposed && column === 0
        ? Math.min(SQUARE, row.size - (above % row.size), Math.floor((end - index) / inner.size))
        : 0
    if (rows > 1) {
      copyBand(source, target, from, to, rows, row!.stride * elementBytes, inner.size, step, elementBytes, square)
      index += rows * inner.size
    } else {
      const run = Math.min(inner.size - column, end - index)
      copyRun(source, target, from, to, run, step, elementBytes)
      index += run
    }
  }
}

/** Copies a part of a row. `from`, `to` and `step` are in bytes. */
function copyRun(src: Views, out: Views, from: number, to: number, run: number, step: number, width: number): void {
  if (step === width && run * width > SHORT_RUN) out.u8.set(src.u8.subarray(from, from + run * width), to)
  else if (step === 0 && run * width > SHORT_RUN) {
    copyElements(src, out, from, to, 1, width, width, width)
    // Doubles the copied part until it is complete.
    for (let done = width; done < run * width; done *= 2)
      out.u8.copyWithin(to + done, to, to + Math.min(done, run * width - done))
  } else copyElements(src, out, from, to, run, step, width, width)
}

/**
 * Copies whole rows, square by square. `down` is the distance to the next row and `along` to the next column, in bytes.
 */
function copyBand(
  src: Views,
  out: Views,
  from: number,
  to: number,
  rows: number,
  down: number,
  columns: number,
  along: number,
  width: number,
  square: Views,
): void {
  for (let left = 0; left < columns; left += SQUARE) {
    const across = Math.min(SQUARE, columns - left)
    for (let column = 0; column < across; column++)
      copyElements(src, square, from + (left + column) * along, column * width, rows, down, SQUARE * width, width)
    for (let row = 0; row < rows; row++)
      copyElements(square, out, row * SQUARE * width, to + (row * columns + left) * width, across, width, width, width)
  }
}

/** The same bytes as arrays of each element width, if they are aligned to it. */
interface Views {
  readonly u8: Uint8Array
  readonly u16: Uint16Array | undefined
  readonly u32: Uint32Array | undefined
}

function viewsOf(u8: Uint8Array): Views {
  const { buffer, byteOffset, byteLength } = u8
  return {
    u8,
    u16: byteOffset % 2 === 0 ? new Uint16Array(buffer, byteOffset, byteLength >> 1) : undefined,
    u32: byteOffset % 4 === 0 ? new Uint32Array(buffer, byteOffset, byteLength >> 2) : undefined,
  }
}

/** Copies `count` elements from byte `from` in steps of `step` to byte `to` in steps of `stride`. */
function copyElements(
  src: Views,
  out: Views,
  from: number,
  to: number,
  count: number,
  step: number,
  stride: number,
  width: number,
): void {
  if (width === 2 && src.u16 && out.u16) copy16(src.u16, out.u16, from / 2, to / 2, count, step / 2, stride / 2)
  else if (width >= 4 && src.u32 && out.u32)
    for (let part = 0; part < width; part += 4)
      copy32(src.u32, out.u32, (from + part) / 4, (to + part) / 4, count, step / 4, stride / 4)
  else for (let part = 0; part < width; part++) copy8(src.u8, out.u8, from + part, to + part, count, step, stride)
}

// The loop is repeated for each array type: code that sees only one type is compiled to several times faster code.

function copy8(
  src: Uint8Array,
  out: Uint8Array,
  from: number,
  to: number,
  count: number,
  step: number,
  stride: number,
): void {
  for (let index = 0, read = from, write = to; index < count; index++, read += step, write += stride)
    out[write] = src[read]!
}

function copy16(
  src: Uint16Array,
  out: Uint16Array,
  from: number,
  to: number,
  count: number,
  step: number,
  stride: number,
): void {
  for (let index = 0, read = from, write = to; index < count; index++, read += step, write += stride)
    out[write] = src[read]!
}

function copy32(
  src: Uint32Array,
  out: Uint32Array,
  from: number,
  to: number,
  count: number,
  step: number,
  stride: number,
): void {
  for (let index = 0, read = from, write = to; index < count; index++, read += step, write += stride)
    out[write] = src[read]!
}

export interface Axis {
  size: number
  stride: number
}

/** The same elements in the same order with as few axes as possible, but at least one. */
export function collapsed(shape: readonly number[], strides: readonly number[]): Axis[] {
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

export function offsetOf(axes: readonly Axis[], index: number): number {
  let offset = 0
  let rest = index
  for (let axis = axes.length - 1; axis >= 0; axis--) {
    const { size, stride } = axes[axis]!
    offset += (rest % size) * stride
    rest = Math.floor(rest / size)
  }
  return offset
}

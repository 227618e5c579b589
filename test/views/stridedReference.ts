/** Strided tensors by their definition, one element after the other. */

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

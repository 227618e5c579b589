/** Arrays on memory that threads share: workers get them without a copy. */

export const sharedFloats = (length: number): Float32Array => new Float32Array(new SharedArrayBuffer(4 * length))

export const sharedDoubles = (length: number): Float64Array => new Float64Array(new SharedArrayBuffer(8 * length))

export const sharedInts = (length: number): Int32Array => new Int32Array(new SharedArrayBuffer(4 * length))

/** A copy on memory that threads share; the same if it is there already. */
export function sharedCopy<T extends Float32Array | Float64Array | Int32Array>(values: T): T {
  if (values.buffer instanceof SharedArrayBuffer) return values
  const Type = values.constructor as new (buffer: SharedArrayBuffer) => T
  const copy = new Type(new SharedArrayBuffer(values.byteLength))
  copy.set(values)
  return copy
}

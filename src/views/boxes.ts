import { rowMajor } from './places.js'

/** A box of elements: its start and its size along each axis. */
export interface Box {
  readonly starts: readonly number[]
  readonly sizes: readonly number[]
}

/** Splits a run of row-major indexes into boxes, in order: fewer than two per axis. */
export function boxesOf(shape: readonly number[], first: number, count: number): Box[] {
  const blocks = rowMajor(shape)
  const boxes: Box[] = []
  for (let at = first; at < first + count; ) {
    const left = first + count - at
    const axis = blocks.findIndex((block) => at % block === 0 && block <= left)
    // A scalar has no axes.
    if (axis < 0) return [{ starts: [], sizes: [] }]
    const starts = shape.map((size, other) => (other > axis ? 0 : Math.floor(at / blocks[other]!) % size))
    const along = Math.min(shape[axis]! - starts[axis]!, Math.floor(left / blocks[axis]!))
    boxes.push({ starts, sizes: shape.map((size, other) => (other < axis ? 1 : other === axis ? along : size)) })
    at += along * blocks[axis]!
  }
  return boxes
}

import type { ConcatReader, Source } from '../../../views/readers.js'
import { copySource, type Element, type Reading } from './reading.js'

/** Copies elements of parts that take turns. */
export function readParts(
  { parts }: ConcatReader,
  wanted: Element,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): void {
  const total = parts.reduce((sum, { block }) => sum + block, 0)
  let done = 0
  while (done < count) {
    const turn = Math.floor((first + done) / total)
    let inside = (first + done) % total
    for (const { source, block } of parts) {
      if (inside < block && done < count) {
        const n = Math.min(block - inside, count - done)
        copySource(reading, wanted, source, turn * block + inside, n, address + done * wanted.elementBytes)
        done += n
        inside = 0
      } else inside -= block
    }
  }
}

/** The part that has these elements one after the other, with the index of the first of them; undefined if several do. */
export function oneOf(
  { parts }: ConcatReader,
  first: number,
  count: number,
): { readonly source: Source; readonly first: number } | undefined {
  const total = parts.reduce((sum, { block }) => sum + block, 0)
  const turn = Math.floor(first / total)
  let inside = first % total
  for (const { source, block } of parts) {
    if (inside < block) return inside + count <= block ? { source, first: turn * block + inside } : undefined
    inside -= block
  }
  return undefined
}

import type { ConcatReader, Source } from '../../../views/readers.js'
import { copySource, type Element, type Reading } from './reading.js'

/** Copies elements of parts that take turns. */
export function readParts(
  reader: ConcatReader,
  wanted: Element,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): void {
  const { parts } = reader
  const total = parts.reduce((sum, { block }) => sum + block, 0)
  const ends = endsOf(reader, reading.end / wanted.elementBytes)
  let done = 0
  while (done < count) {
    const turn = Math.floor((first + done) / total)
    let inside = (first + done) % total
    for (const [part, { source, block }] of parts.entries()) {
      if (inside < block && done < count) {
        const n = Math.min(block - inside, count - done)
        copySource(reading, wanted, source, turn * block + inside, n, address + done * wanted.elementBytes, ends[part])
        done += n
        inside = 0
      } else inside -= block
    }
  }
}

/** By part, the bytes up to the last element that is needed, where those up to element `end` of the whole are. */
export function endsOf({ parts }: ConcatReader, end: number): readonly number[] {
  if (end === Number.POSITIVE_INFINITY) return parts.map(() => end)
  const total = parts.reduce((sum, { block }) => sum + block, 0)
  const turns = Math.floor(end / total)
  let left = end - turns * total
  return parts.map(({ source, block }) => {
    const needed = turns * block + Math.max(0, Math.min(block, left))
    left -= block
    return needed * source.elementBytes
  })
}

/** The part that has these elements one after the other, with the index of the first of them; undefined if several do. */
export function oneOf(
  { parts }: ConcatReader,
  first: number,
  count: number,
): { readonly part: number; readonly source: Source; readonly first: number } | undefined {
  const total = parts.reduce((sum, { block }) => sum + block, 0)
  const turn = Math.floor(first / total)
  let inside = first % total
  for (const [part, { source, block }] of parts.entries()) {
    if (inside < block) return inside + count <= block ? { part, source, first: turn * block + inside } : undefined
    inside -= block
  }
  return undefined
}

/** Which files come before the stage that needs them. */
import type { Stage } from './types.js'

export interface AheadOptions {
  /** Bytes that the disk may take. */
  readonly disk: number
  /** Bytes on the disk that the stages do not count: finished files that are still being uploaded. */
  readonly pending: number
  /** Files that are there or on their way, with those of the stage at `place`. */
  readonly held: ReadonlySet<number>
  /** Bytes that a file takes. Of files with the same content, only the first one takes any. */
  readonly sizeOf: (file: number) => number
}

/** Stages that are looked at. */
const FAR = 64

/**
 * The files of stages after `place` that can come now, in the order in which they are needed: as many as fit without taking room that an
 * earlier stage needs.
 */
export function aheadOf(
  stages: readonly Pick<Stage, 'needs' | 'last' | 'beside'>[],
  place: number,
  { disk, pending, held, sizeOf }: AheadOptions,
): number[] {
  const bytesOf = (files: Iterable<number>): number => {
    let bytes = 0
    for (const file of files) bytes += sizeOf(file)
    return bytes
  }
  const found = new Set<number>()
  const open = new Set(held)
  /** The room that is left while each stage runs, with what comes early. */
  const room = [disk - bytesOf(open) - stages[place]!.beside - pending]
  for (let next = place + 1; next < Math.min(stages.length, place + FAR); next++) {
    for (const file of stages[next - 1]!.last) open.delete(file)
    const { needs, beside } = stages[next]!
    const fresh = needs.filter((file) => !open.has(file))
    // Files that come again have to go first.
    if (fresh.some((file) => held.has(file) || found.has(file))) break
    const bytes = bytesOf(fresh)
    if (room.some((left) => left < bytes)) break
    for (const index of room.keys()) room[index]! -= bytes
    for (const file of fresh) {
      found.add(file)
      open.add(file)
    }
    room.push(disk - bytesOf(open) - beside)
  }
  return [...found]
}

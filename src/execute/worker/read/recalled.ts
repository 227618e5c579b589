/**
 * Tiles of inputs that a worker remembers from one pass over a tensor to the next, as far as it has room. They lie where the file
 * was read to, so that remembering them copies nothing.
 */
import { TILE } from '../../../kernels/types.js'
import type { WindowFile, Windows } from '../../../storage/local/window.js'
import { type Program, passElements } from '../../program.js'
import { activeLeaves } from '../shortcuts.js'

export interface RecalledTiles {
  /** Where `bytes` bytes of the file lie: a tile of that leaf, as it is remembered. Undefined if it is neither remembered nor has room. */
  find(
    program: Program,
    leaf: number,
    tile: number,
    file: WindowFile,
    offset: number,
    bytes: number,
  ): number | undefined
  /** The tile is not needed any more. */
  forget(program: Program, leaf: number, tile: number): void
  /** Nothing of the program is needed any more. */
  drop(program: Program): void
}

/** Leaves that several passes read, tile by tile and as they are stored, the last one to write. */
export function recallable(program: Program): readonly boolean[] {
  const { passes, leaves, nodes, elements, rowLength } = program
  const writes = passes.at(-1)?.kind === 'write'
  const plain = passes.every((pass) => pass.kind !== 'fill' && pass.kind !== 'solve')
  const whole = passes.every((pass) => passElements(pass, nodes, elements) === elements)
  if (passes.length < 2 || !writes || !plain || !whole || rowLength > 0) return leaves.map(() => false)
  const read = passes.map((_, index) => new Set(activeLeaves(program, index)))
  return leaves.map(
    ({ reader, elements: own = elements }, leaf) =>
      reader.kind === 'contiguous' &&
      own === elements &&
      read.at(-1)!.has(leaf) &&
      read.slice(0, -1).some((leaves) => leaves.has(leaf)),
  )
}

interface Place {
  readonly at: number
  readonly size: number
}

/** `address`, `room`: where they lie, and how many bytes there are. */
export function openRecalled(windows: Windows, address: number, room: number): RecalledTiles {
  const known = new Map<Program, Map<string, Place>>()
  /** Places that were used before, by their size. What was never used begins at `next`. */
  const free = new Map<number, number[]>()
  let next = address
  const take = (size: number): number | undefined => {
    const again = free.get(size)?.pop()
    if (again !== undefined || next + size > address + room) return again
    next += size
    return next - size
  }
  const give = (program: Program, own: Map<string, Place>, key: string, { at, size }: Place): void => {
    own.delete(key)
    free.set(size, [...(free.get(size) ?? []), at])
    if (own.size === 0) known.delete(program)
    // With nothing remembered, places can have other sizes.
    if (known.size > 0) return
    free.clear()
    next = address
  }
  return {
    find(program, leaf, tile, file, offset, bytes) {
      const own = known.get(program) ?? new Map<string, Place>()
      const key = `${leaf} ${tile}`
      const old = own.get(key)
      if (old) return old.at
      // Tiles of one dtype have places of one size.
      const size = TILE * program.leaves[leaf]!.elementBytes
      const at = take(size)
      if (at === undefined) return undefined
      try {
        windows.read(file, offset, bytes, at)
      } catch (error) {
        free.set(size, [...(free.get(size) ?? []), at])
        throw error
      }
      own.set(key, { at, size })
      known.set(program, own)
      return at
    },
    forget(program, leaf, tile) {
      const own = known.get(program)
      const key = `${leaf} ${tile}`
      const old = own?.get(key)
      if (own && old) give(program, own, key, old)
    },
    drop(program) {
      const own = known.get(program)
      for (const [key, old] of own ?? []) give(program, own!, key, old)
    },
  }
}

/** Where cosines are: in memory that threads share, or in a file. */
import type { CosineStore, Cosines, Files } from './types.js'

/** Numbers in a block, at most. */
const LARGEST = 1 << 28

/** Room for cosines of so many rows. */
export function cosinesInMemory(count: number): CosineStore {
  const perBlock = Math.max(1, Math.min(count, Math.floor(LARGEST / count)))
  const blocks = Array.from({ length: Math.ceil(count / perBlock) }, (_, block) => {
    const rows = Math.min(perBlock, count - block * perBlock)
    return new Int16Array(new SharedArrayBuffer(2 * rows * count))
  })
  return { kind: 'memory', blocks, perBlock }
}

export const cosinesBytes = (count: number): number => 2 * count * count

/** One thread's access to them. */
export function openCosines(store: CosineStore, count: number, { readAt, writeAt }: Files): Cosines {
  if (store.kind === 'file') {
    const { fd } = store
    return {
      read: (row, into) => readAt(fd, into, 2 * row * count),
      write: (row, column, from) => writeAt(fd, from, 2 * (row * count + column)),
    }
  }
  const { blocks, perBlock } = store
  return {
    read(row, into) {
      const at = (row % perBlock) * count
      into.set(blocks[Math.floor(row / perBlock)]!.subarray(at, at + count))
    },
    write: (row, column, from) => blocks[Math.floor(row / perBlock)]!.set(from, (row % perBlock) * count + column),
  }
}

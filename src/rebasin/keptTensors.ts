/** Pieces of one array, each in one run, handed out and given back. */
export interface Shelf {
  /** The first room of so many numbers; undefined where there is none. */
  readonly take: (length: number) => Float32Array | undefined
  readonly give: (piece: Float32Array) => void
}

export function createShelf(room: Float32Array): Shelf {
  /** Pieces that are out, by place. */
  const out: Float32Array[] = []
  const startOf = (piece: Float32Array) => (piece.byteOffset - room.byteOffset) / 4
  return {
    take(length) {
      let start = 0
      let at = 0
      for (; at < out.length && startOf(out[at]!) - start < length; at++) start = startOf(out[at]!) + out[at]!.length
      if (start + length > room.length) return undefined
      const piece = room.subarray(start, start + length)
      out.splice(at, 0, piece)
      return piece
    },
    give(piece) {
      out.splice(out.indexOf(piece), 1)
    },
  }
}

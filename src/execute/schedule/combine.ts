import { TILE } from '../../kernels/types.js'
import { type Pass, type Program, passElements, type TaskResult } from '../program.js'

/** Combines the results of a reduce pass in a fixed order, whatever the order in which they arrive. */
export interface Gathering {
  add(result: TaskResult): void
  /** The result, when all tiles have arrived. */
  result(): Float64Array
}

/** `firstTile` to `end`: the tiles that the pass reads. `maxima`: so many of the last slots are maxima, not sums. */
export function gather(
  pass: Pass & { kind: 'reduce' },
  maxima: number,
  firstTile: number,
  end: number,
  program: Program,
): Gathering {
  switch (pass.combine) {
    case 'sums':
      return gatherSums(pass.slots, maxima, firstTile)
    case 'counts':
      return gatherCounts(pass.slots)
    case 'tiles':
      return gatherPlaces(new Float64Array((end - firstTile) * pass.slots), (tile) => (tile - firstTile) * pass.slots)
    case 'rows': {
      const { rowLength, nodes, elements } = program
      const rows = new Float64Array(Math.ceil(passElements(pass, nodes, elements) / rowLength) * pass.slots)
      // A row belongs to the tile in which it begins.
      return gatherPlaces(rows, (tile) => Math.ceil((tile * TILE) / rowLength) * pass.slots)
    }
  }
}

/** Adds tiles in order of their index. Tiles that arrive too early wait. */
function gatherSums(slots: number, maxima: number, firstTile: number): Gathering {
  const total = new Float64Array(slots)
  const early = new Map<number, Float64Array>()
  let next = firstTile
  return {
    add({ firstTile, sums }) {
      early.set(firstTile, sums!)
      for (let found = early.get(next); found; found = early.get(next)) {
        early.delete(next)
        for (let at = 0; at < found.length; at += slots, next++) {
          for (let slot = 0; slot < slots; slot++) {
            const value = found[at + slot]!
            total[slot] = slot < slots - maxima ? total[slot]! + value : Math.max(total[slot]!, value)
          }
        }
      }
    },
    result: () => total,
  }
}

/** Integers: exact in float64 in any order. */
function gatherCounts(slots: number): Gathering {
  const total = new Float64Array(slots)
  return {
    add({ counts }) {
      for (let slot = 0; slot < slots; slot++) total[slot]! += counts![slot]!
    },
    result: () => total,
  }
}

function gatherPlaces(all: Float64Array, placeOf: (tile: number) => number): Gathering {
  return {
    add({ firstTile, sums }) {
      all.set(sums!, placeOf(firstTile))
    },
    result: () => all,
  }
}

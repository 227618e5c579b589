/** Places of two axes beside each other. */
import type { Run } from './axis.js'

/** A pair of places: the id of each and its place among those of the id; -1 for a place that keeps its order. */
export interface Pair {
  a: number
  inA: number
  b: number
  inB: number
}

/** The places of two axes, pair by pair. Yields one object again and again. */
export function* pairs(x: readonly Run[], y: readonly Run[]): Generator<Pair> {
  const pair: Pair = { a: -1, inA: 0, b: -1, inB: 0 }
  let [runX, atX, runY, atY] = [0, 0, 0, 0]
  while (runX < x.length && runY < y.length) {
    const [left, right] = [x[runX]!, y[runY]!]
    if (left.length === atX) [runX, atX] = [runX + 1, 0]
    else if (right.length === atY) [runY, atY] = [runY + 1, 0]
    else {
      const [placeX, placeY] = [atX + (left.first ?? 0), atY + (right.first ?? 0)]
      // A run of some places of one id has no other ids.
      pair.a = left.ids ? left.ids[left.first === undefined ? Math.floor(placeX / left.each) : 0]! : -1
      pair.inA = placeX % left.each
      pair.b = right.ids ? right.ids[right.first === undefined ? Math.floor(placeY / right.each) : 0]! : -1
      pair.inB = placeY % right.each
      atX++
      atY++
      yield pair
    }
  }
}

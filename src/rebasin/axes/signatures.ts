/** Which units a network treats alike. */
import { addTo } from '../../core/collections/lists.js'
import { fault } from '../../core/diagnostics.js'
import type { Run } from './axis.js'
import type { Forest } from './forest.js'
import { pairs } from './pairs.js'

interface Tie {
  readonly x: readonly Run[]
  readonly y: readonly Run[]
}

interface Mark {
  readonly ids: Int32Array
  readonly blockOf: (k: number) => number
  /** Absent if the blocks keep their order. */
  readonly outers?: Int32Array
}

/** What an operator says of places. */
export type Event = Tie | Mark

export interface Nests {
  readonly outers: ReadonlyMap<number, readonly number[]>
  readonly members: ReadonlyMap<number, readonly number[]>
}

/** Which units lie in which outer units. */
export function nestsOf(forest: Forest, events: readonly Event[]): Nests {
  const outers = new Map<number, number[]>()
  const members = new Map<number, number[]>()
  for (const event of events) {
    if (!('ids' in event) || !event.outers) continue
    for (const [k, id] of event.ids.entries()) {
      const [unit, outer] = [forest.find(id), forest.find(event.outers[event.blockOf(k)]!)]
      if (outers.get(unit)?.includes(outer)) continue
      addTo(outers, unit, outer)
      addTo(members, outer, unit)
    }
  }
  return { outers, members }
}

/** Numbers pairs of numbers: equal pairs get equal numbers. */
class Numbering {
  private readonly known = new Map<number, number>()

  of(a: number, b: number): number {
    const key = a * 2 ** 26 + b
    const found = this.known.get(key)
    if (found !== undefined) return found
    const next = this.known.size + 1
    if (next > MOST_NUMBERS)
      throw fault(
        'bad-onnx',
        "the network can't be followed: its units are tied in too many different ways",
        'write the spec by hand, or leave this model as it is',
      )
    this.known.set(key, next)
    return next
  }
}

/** Below the limit of a `Map`. */
const MOST_NUMBERS = 1 << 23

/**
 * By unit, a number that is equal for units that are treated alike: their ids are at the same positions of the same axes,
 * and each tie and mark relates them in the same way. Outer units are alike if the units in them are alike, in order.
 */
export function signatures(
  forest: Forest,
  starts: readonly number[],
  events: readonly Event[],
  { members }: Nests,
): Int32Array {
  const { length } = forest
  const sign = new Int32Array(length)
  const numbers = new Numbering()
  const { axis, rank } = positions(forest, starts)
  for (let id = 0; id < length; id++) {
    const unit = forest.find(id)
    sign[unit] = numbers.of(sign[unit]!, numbers.of(axis[id]!, rank[id]!))
  }
  for (const [index, each] of events.entries()) {
    // Not the number of an axis.
    const event = starts.length + index
    if ('ids' in each) {
      for (const [k, id] of each.ids.entries()) {
        const unit = forest.find(id)
        const block = each.outers ? 0 : each.blockOf(k)
        sign[unit] = numbers.of(sign[unit]!, numbers.of(event, numbers.of(axis[id]!, block)))
      }
      continue
    }
    for (const { a, inA, b, inB } of pairs(each.x, each.y)) {
      if (a < 0 || b < 0) continue
      const left = numbers.of(axis[a]!, numbers.of(rank[a]!, inA))
      const right = numbers.of(axis[b]!, numbers.of(rank[b]!, inB))
      const unit = forest.find(a)
      sign[unit] = numbers.of(sign[unit]!, numbers.of(event, numbers.of(left, right)))
    }
  }
  for (const [outer, inside] of members) for (const unit of inside) sign[outer] = numbers.of(sign[outer]!, sign[unit]!)
  return sign
}

/** By id, its axis, and its rank among the ids of its unit on this axis. */
function positions(forest: Forest, starts: readonly number[]): { axis: Int32Array; rank: Int32Array } {
  const { length } = forest
  const [axis, rank] = [new Int32Array(length), new Int32Array(length)]
  const last = new Int32Array(length).fill(-1)
  const count = new Int32Array(length)
  for (const [index, start] of starts.entries())
    for (let id = start; id < (starts[index + 1] ?? length); id++) {
      const unit = forest.find(id)
      if (last[unit] !== index) {
        last[unit] = index
        count[unit] = 0
      }
      rank[id] = count[unit]!++
      axis[id] = index
    }
  return { axis, rank }
}

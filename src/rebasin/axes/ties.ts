/**
 * Which places of a network's tensors must move together. Every place of an axis has an id; operators tie ids, fix them,
 * or mark them. A class of tied ids is a unit. Units may change places if the network treats them alike: their ids are
 * at the same positions of the same axes, and they took part in the same ties in the same way (`alike`).
 */

import { fault } from '../../core/diagnostics.js'
import { idsOf, type Run, type Value } from './axis.js'

/** A network whose places are tied. */
export interface Tied {
  readonly ties: Ties
}

/** Axes that keep their order, for a reason. */
export function stay({ ties }: Tied, axes: Value, reason: string): void {
  for (const axis of axes ?? []) for (const ids of idsOf(axis)) ties.fix(ids, reason)
}

const tooLarge = (what: string) =>
  fault('bad-onnx', `the network can't be followed: ${what}`, 'write the spec by hand, or leave this model as it is')

export interface Ties {
  /** New ids for an axis of a tensor. The numbers of axes count up from 0. */
  readonly newIds: (length: number) => Int32Array
  /** Ties the places of two axes of the same length, one by one. */
  readonly tie: (x: readonly Run[], y: readonly Run[], where: string) => void
  /** The ids keep their order. The first reason is kept. */
  readonly fix: (ids: Int32Array, reason: string) => void
  /** Ids can only change places with ids of the same block: `blocks[k]` is the block of `ids[k]`. */
  readonly mark: (ids: Int32Array, blockOf: (k: number) => number) => void
  readonly units: () => Units
}

/** The result: units by id. */
export interface Units {
  /** By id: its unit, named by its smallest id. */
  readonly unit: (id: number) => number
  /** By unit: why it keeps its place. */
  readonly reason: (unit: number) => string | undefined
  /** By unit: a number. Units with the same number are treated alike. */
  readonly alike: (unit: number) => number
}

/** Limit for all ids of a network. */
const MOST_IDS = 1 << 25

interface Tie {
  readonly x: readonly Run[]
  readonly y: readonly Run[]
}

interface Mark {
  readonly ids: Int32Array
  readonly blockOf: (k: number) => number
}

/** Whole numbers by id. Grows by doubling. */
class Column {
  values = new Int32Array(1024)
  length = 0

  add(count: number, of: (id: number) => number): void {
    const end = this.length + count
    if (end > this.values.length) {
      const larger = new Int32Array(Math.max(end, this.values.length * 2))
      larger.set(this.values)
      this.values = larger
    }
    for (let id = this.length; id < end; id++) this.values[id] = of(id)
    this.length = end
  }
}

/** A union-find. The root of a unit is its smallest id. */
class Forest extends Column {
  find(id: number): number {
    const { values } = this
    let root = id
    while (values[root]! !== root) root = values[root]!
    for (let at = id; at !== root; ) {
      const next = values[at]!
      values[at] = root
      at = next
    }
    return root
  }

  join(x: number, y: number): void {
    const [a, b] = [this.find(x), this.find(y)]
    if (a < b) this.values[b] = a
    else this.values[a] = b
  }
}

export function createTies(): Ties {
  const forest = new Forest()
  const starts: number[] = []
  const reasons: string[] = []
  /** By id: a reason, or -1. */
  const fixed = new Column()
  const events: (Tie | Mark)[] = []
  const fix = (id: number, reason: number) => {
    if (fixed.values[id] === -1) fixed.values[id] = reason
  }
  return {
    newIds: (length) => {
      const start = forest.length
      if (start + length > MOST_IDS) throw tooLarge(`its axes have more than ${MOST_IDS} places`)
      starts.push(start)
      forest.add(length, (id) => id)
      fixed.add(length, () => -1)
      return Int32Array.from({ length }, (_, i) => start + i)
    },
    tie: (x, y, where) => {
      const reason = reasons.push(`${where}: the other side keeps its order`) - 1
      for (const { a, b } of pairs(x, y))
        if (a >= 0 && b >= 0) forest.join(a, b)
        else if (a >= 0) fix(a, reason)
        else if (b >= 0) fix(b, reason)
      events.push({ x, y })
    },
    fix: (ids, text) => {
      const reason = reasons.push(text) - 1
      for (const id of ids) fix(id, reason)
    },
    mark: (ids, blockOf) => {
      events.push({ ids, blockOf })
    },
    units: () => {
      const why = new Map<number, number>()
      for (let id = 0; id < fixed.length; id++) {
        const reason = fixed.values[id]!
        const unit = forest.find(id)
        if (reason >= 0 && reason < (why.get(unit) ?? reasons.length)) why.set(unit, reason)
      }
      const alike = signatures(forest, starts, events)
      return {
        unit: (id) => forest.find(id),
        reason: (unit) => reasons[why.get(unit) ?? -1],
        alike: (unit) => alike[unit]!,
      }
    },
  }
}

/** A pair of places: the id of each and its place among those of the id; -1 for a place that keeps its order. */
interface Pair {
  a: number
  inA: number
  b: number
  inB: number
}

/** The places of two axes, pair by pair. Yields one object again and again. */
function* pairs(x: readonly Run[], y: readonly Run[]): Generator<Pair> {
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

/** Numbers pairs of numbers: equal pairs get equal numbers. */
class Numbering {
  private readonly known = new Map<number, number>()

  of(a: number, b: number): number {
    const key = a * 2 ** 26 + b
    const found = this.known.get(key)
    if (found !== undefined) return found
    const next = this.known.size + 1
    if (next > MOST_NUMBERS) throw tooLarge('its units are tied in too many different ways')
    this.known.set(key, next)
    return next
  }
}

/** Below the limit of a `Map`. */
const MOST_NUMBERS = 1 << 23

/**
 * By unit, a number that is equal for units that are treated alike: their ids are at the same positions of the same axes,
 * and each tie and mark relates them in the same way.
 */
function signatures(forest: Forest, starts: readonly number[], events: readonly (Tie | Mark)[]): Int32Array {
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
        sign[unit] = numbers.of(sign[unit]!, numbers.of(event, numbers.of(axis[id]!, each.blockOf(k))))
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

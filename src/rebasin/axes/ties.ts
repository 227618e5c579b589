/**
 * Which places of a network's tensors must move together. Every place of an axis has an id; operators tie ids, fix them,
 * or mark them. A class of tied ids is a unit. Units may change places if the network treats them alike: their ids are
 * at the same positions of the same axes, and they took part in the same ties in the same way (`alike`).
 */

import { fault } from '../../core/diagnostics.js'
import { idsOf, type Run, type Value } from './axis.js'
import { Column, Forest } from './forest.js'
import { pairs } from './pairs.js'
import { type Event, nestsOf, signatures } from './signatures.js'

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
  /** The same for blocks that can change places as a whole: `outers[b]` is an id that stands for block b, such as a head. */
  readonly nest: (ids: Int32Array, blockOf: (k: number) => number, outers: Int32Array) => void
  readonly units: () => Units
}

/** The result: units by id. */
export interface Units {
  /** By id: its unit, named by its smallest id. */
  readonly unit: (id: number) => number
  /** By unit: why it keeps its place. */
  readonly reason: (unit: number) => string | undefined
  /** By unit: a number. Units with the same number are treated alike, as far as they are in the same outer units. */
  readonly alike: (unit: number) => number
  /** By unit that lies in blocks that can change places: the units that stand for its blocks. Most often it is one. */
  readonly outers: ReadonlyMap<number, readonly number[]>
  /** The other way round: the units in a block, in order, each once. */
  readonly members: ReadonlyMap<number, readonly number[]>
}

/** Limit for all ids of a network. */
const MOST_IDS = 1 << 25

/** A network that has been followed. */
export interface Walked {
  readonly units: Units
  /** By tensor that the network reads: the ids of each axis. Axes of one place have none. */
  readonly tensors: ReadonlyMap<string, readonly (Int32Array | undefined)[]>
}

export function createTies(): Ties {
  const forest = new Forest()
  const starts: number[] = []
  const reasons: string[] = []
  /** By id: a reason, or -1. */
  const fixed = new Column()
  const events: Event[] = []
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
    nest: (ids, blockOf, outers) => {
      events.push({ ids, blockOf, outers })
    },
    units: () => {
      const why = new Map<number, number>()
      for (let id = 0; id < fixed.length; id++) {
        const reason = fixed.values[id]!
        const unit = forest.find(id)
        if (reason >= 0 && reason < (why.get(unit) ?? reasons.length)) why.set(unit, reason)
      }
      const nested = nestsOf(forest, events)
      const alike = signatures(forest, starts, events, nested)
      return {
        ...nested,
        unit: (id) => forest.find(id),
        reason: (unit) => reasons[why.get(unit) ?? -1],
        alike: (unit) => alike[unit]!,
      }
    },
  }
}

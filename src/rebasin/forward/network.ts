/**
 * A network that an architecture goes through again: its values have one axis, the channels. Words such as `linear` read a
 * module's tensors and tie their axes. If a tensor is missing, has another shape, or is read twice, the network is not of
 * this architecture.
 */
import { type Axis, idsOf, ofIds, plain } from '../axes/axis.js'
import { createTies, type Tied, type Walked } from '../axes/ties.js'
import type { Shapes } from '../spec.js'

export type Config = Readonly<Record<string, unknown>> | undefined

/** Channels: their number is always known. */
export interface Channels extends Axis {
  readonly length: number
}

export interface Net extends Tied {
  readonly config: Config
  readonly has: (name: string) => boolean
  /** Error: `Misfit` if there is no such tensor. */
  readonly shape: (name: string) => readonly number[]
  /**
   * The axes of a tensor that is read here, and nowhere else. Those that are not `free` keep their order.
   * Error: `Misfit`.
   */
  readonly read: (name: string, rank: number, free: readonly number[]) => readonly Channels[]
  /** Names of tensors that were not read and begin with this. */
  readonly unread: (start: string) => readonly string[]
  readonly fix: (axis: Axis, reason: string) => void
}

/** The network is not of this architecture. */
export class Misfit extends Error {}

export const demand = (condition: boolean, what: string): void => {
  if (!condition) throw new Misfit(what)
}

/** Counters say nothing. */
const COUNTER = /(^|\.)num_batches_tracked$/

export interface Followed extends Walked {
  /** Tensors that nothing read. */
  readonly unread: readonly string[]
}

/** Goes through a network. `prefix` stands before all names. */
export function follow(shapes: Shapes, prefix: string, config: Config, forward: (net: Net) => void): Followed {
  const ties = createTies()
  const tensors = new Map<string, readonly (Int32Array | undefined)[]>()
  const shape = (name: string) => {
    const found = shapes.get(prefix + name)
    if (!found) throw new Misfit(`no tensor ${name}`)
    return found.shape
  }
  const unread = (start: string) =>
    [...shapes.keys()]
      .filter((name) => name.startsWith(prefix + start) && !tensors.has(name) && !COUNTER.test(name))
      .map((name) => name.slice(prefix.length))
  const net: Net = {
    ties,
    config,
    has: (name) => shapes.has(prefix + name),
    shape,
    read: (name, rank, free) => {
      const lengths = shape(name)
      demand(lengths.length === rank, `${name} has ${lengths.length} axes`)
      demand(!tensors.has(prefix + name), `${name} is read twice`)
      const ids = lengths.map((length, i) => (free.includes(i) && length > 1 ? ties.newIds(length) : undefined))
      tensors.set(prefix + name, ids)
      return ids.map((own, i): Channels => (own ? channelsOf(own) : still(lengths[i]!)))
    },
    unread,
    fix: (axis, reason) => {
      for (const ids of idsOf(axis)) ties.fix(ids, reason)
    },
  }
  forward(net)
  return { units: ties.units(), tensors, unread: unread('') }
}

/** Places that keep their order. */
export const still = (length: number): Channels => ({ ...plain(length), length })

export const channelsOf = (ids: Int32Array): Channels => ({ ...ofIds(ids), length: ids.length })

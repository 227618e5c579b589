/** Groups of units that can change places, and where each tensor's axes have them. */
import type { Units } from './ties.js'

/** A network that has been followed. */
export interface Walked {
  readonly units: Units
  /** By tensor that the network reads: the ids of each axis. Axes of one place have none. */
  readonly tensors: ReadonlyMap<string, readonly (Int32Array | undefined)[]>
}

/** Consecutive places of an axis: all units of a group in order, `times` places each, or places that keep their order. */
export interface Part {
  readonly group?: number
  readonly places: number
  readonly times: number
}

export interface Groups {
  /** The size of each group. */
  readonly groups: readonly number[]
  /** By tensor with permuted axes: the parts of each axis. */
  readonly rows: ReadonlyMap<string, readonly (readonly Part[] | undefined)[]>
  /** By tensor without permuted axes: why. */
  readonly reasons: ReadonlyMap<string, string>
}

/** By unit, its group and its place in the group. */
interface Members {
  readonly group: Map<number, number>
  readonly place: Map<number, number>
  readonly sizes: number[]
}

export function groupsOf({ tensors, units }: Walked, unread: ReadonlyMap<number, string>): Groups {
  const broken = new Map<number, string>()
  for (;;) {
    const members = membersOf({ tensors, units }, broken)
    const rows = new Map<string, (readonly Part[] | undefined)[]>()
    const before = broken.size
    for (const [group, size] of members.sizes.entries()) {
      const found = [...unread].find(([length]) => length % size === 0)
      if (found)
        breakGroup(
          members,
          group,
          `the graph does not read tensor ${found[1]}, which may follow the same units`,
          broken,
        )
    }
    for (const [tensor, axes] of tensors) {
      const parts = axes.map((ids) => ids && partsOf(ids, units.unit, members, tensor, broken))
      rows.set(tensor, parts)
    }
    if (broken.size > before) continue
    return finished(rows, members, { tensors, units }, broken)
  }
}

/** Units that are treated alike, in the order of their ids. Single units and units with a reason to stay are no members. */
function membersOf({ tensors, units }: Walked, broken: ReadonlyMap<number, string>): Members {
  const alike = new Map<number, number[]>()
  const seen = new Set<number>()
  for (const axes of tensors.values())
    for (const ids of axes)
      for (const id of ids ?? []) {
        const unit = units.unit(id)
        if (seen.has(unit)) continue
        seen.add(unit)
        if (units.reason(unit) !== undefined || broken.has(unit)) continue
        const key = units.alike(unit)
        const found = alike.get(key) ?? []
        alike.set(key, found)
        found.push(unit)
      }
  const members: Members = { group: new Map(), place: new Map(), sizes: [] }
  for (const found of alike.values()) {
    if (found.length < 2) continue
    // A unit is named by its smallest id.
    found.sort((x, y) => x - y)
    for (const [place, unit] of found.entries()) {
      members.group.set(unit, members.sizes.length)
      members.place.set(unit, place)
    }
    members.sizes.push(found.length)
  }
  return members
}

function breakGroup({ group: groups }: Members, group: number, reason: string, broken: Map<number, string>): void {
  for (const [unit, own] of groups) if (own === group) broken.set(unit, reason)
}

/** The parts of an axis. A group whose units are not in order on it is broken. */
function partsOf(
  ids: Int32Array,
  unitOf: (id: number) => number,
  members: Members,
  tensor: string,
  broken: Map<number, string>,
): Part[] {
  const parts: Part[] = []
  for (let at = 0; at < ids.length; ) {
    const start = at
    const group = members.group.get(unitOf(ids[at]!))
    if (group === undefined) {
      while (at < ids.length && members.group.get(unitOf(ids[at]!)) === undefined) at++
      parts.push({ places: at - start, times: 1 })
      continue
    }
    const size = members.sizes[group]!
    const first = unitOf(ids[at]!)
    while (at < ids.length && unitOf(ids[at]!) === first) at++
    const times = at - start
    const isWhole = start + size * times <= ids.length
    for (at = start; isWhole && at < start + size * times; at++) {
      const unit = unitOf(ids[at]!)
      if (members.group.get(unit) !== group || members.place.get(unit) !== Math.floor((at - start) / times)) break
    }
    if (!isWhole || at < start + size * times) {
      breakGroup(members, group, `its units are in another order on an axis of ${tensor}`, broken)
      at = Math.max(at, start + 1)
    }
    parts.push({ group, places: size * times, times })
  }
  return parts
}

function finished(
  rows: ReadonlyMap<string, readonly (readonly Part[] | undefined)[]>,
  { sizes }: Members,
  { tensors, units }: Walked,
  broken: ReadonlyMap<number, string>,
): Groups {
  const moved = new Map<string, readonly (readonly Part[] | undefined)[]>()
  const reasons = new Map<string, string>()
  for (const [tensor, axes] of rows) {
    if (axes.some((parts) => parts?.some(({ group }) => group !== undefined))) {
      moved.set(tensor, axes)
      continue
    }
    // The order of kernels and of rows of tables is fixed in every network. Only what could move is reported.
    const ids = tensors.get(tensor)!.slice(0, 2)
    const unit = ids.flatMap((all) => (all ? [units.unit(all[0]!)] : []))
    const reason = unit.map((each) => units.reason(each) ?? broken.get(each)).find((text) => text !== undefined)
    if (reason !== undefined) reasons.set(tensor, reason)
  }
  return { groups: sizes, rows: moved, reasons }
}

/** What the places of an axis are, as specs say it. */
import type { Members } from './members.js'

/** Consecutive places of an axis: all units of a group in order, `times` places each, or places that keep their order. */
export interface Part {
  readonly group?: number
  /** A group inside of `group`: all its units in order, in each unit of `group`. */
  readonly inner?: number
  readonly places: number
  readonly times: number
}

/** The parts of an axis with these units. Groups whose units are not in order on it are broken. */
export function partsOf(units: readonly number[], members: Members, breaks: (group: number) => void): Part[] {
  const parts: Part[] = []
  for (let at = 0; at < units.length; ) {
    const part = blocksAt(units, at, members, breaks) ?? unitsAt(units, at, members, breaks)
    parts.push(part)
    at += part.places
  }
  return parts
}

function unitsAt(units: readonly number[], start: number, members: Members, breaks: (group: number) => void): Part {
  const { group, place, groups, outer } = members
  const own = group.get(units[start]!)
  let at = start
  if (own === undefined) {
    while (at < units.length && group.get(units[at]!) === undefined && !outer.has(units[at]!)) at++
    return { places: at - start, times: 1 }
  }
  while (units[at] === units[start]) at++
  const times = at - start
  const places = groups[own]!.size * times
  for (at = start; at < start + places; at++) {
    const unit = units[at]!
    if (group.get(unit) === own && place.get(unit) === Math.floor((at - start) / times)) continue
    breaks(own)
    return { group: own, places: Math.max(1, at - start), times }
  }
  return { group: own, places, times }
}

/** Blocks that change places as a whole: all of them in order, each with the same units at the same places. */
function blocksAt(
  units: readonly number[],
  start: number,
  members: Members,
  breaks: (group: number) => void,
): Part | undefined {
  const { group, place, groups, outer, inBlock } = members
  const first = outer.get(units[start]!)
  if (first === undefined) return undefined
  let size = 0
  while (outer.get(units[start + size]!) === first) size++
  const own = group.get(first)!
  const places = groups[own]!.size * size
  const inner = group.get(units[start]!)
  let times = 1
  while (inner !== undefined && units[start + times] === units[start]) times++
  let isInner = inner !== undefined && groups[inner]!.size * times === size
  for (let at = start; at < start + places; at++) {
    const unit = units[at] ?? -1
    const k = (at - start) % size
    const isThere = place.get(outer.get(unit) ?? -1) === Math.floor((at - start) / size)
    if (!isThere || group.get(outer.get(unit)!) !== own || inBlock.get(unit) !== inBlock.get(units[start + k]!)) {
      breaks(own)
      return { group: own, places: Math.max(1, at - start), times: 1 }
    }
    isInner &&= group.get(unit) === inner && place.get(unit) === Math.floor(k / times)
  }
  if (isInner) return { group: own, inner: inner!, places, times }
  for (let k = 0; k < size; k++) {
    const inside = group.get(units[start + k]!)
    if (inside !== undefined) breaks(inside)
  }
  return { group: own, places, times: size }
}

/** Which units can change places with each other. */
import { addTo } from '../../core/collections/lists.js'
import type { Walked } from './ties.js'

export interface UnitGroup {
  /** Units; in a group inside another, per outer unit. */
  readonly size: number
  /** The number of the outer group. */
  readonly inside?: number
}

/** By unit, its group and its place in the group. */
export interface Members {
  readonly groups: readonly UnitGroup[]
  readonly group: ReadonlyMap<number, number>
  readonly place: ReadonlyMap<number, number>
  /** By unit in a block that changes places: the outer unit, and its place among the units in the block. */
  readonly outer: ReadonlyMap<number, number>
  readonly inBlock: ReadonlyMap<number, number>
}

/** Units that are treated alike, in the order of their ids. Single units and units with a reason to stay are no members. */
export function membersOf(walked: Walked, broken: ReadonlyMap<number, string>): Members {
  const { units } = walked
  const stays = (unit: number) => units.reason(unit) !== undefined || broken.has(unit)
  const all = unitsIn(walked)
  const made = createMembers()
  const outerGroups = classes(
    [...units.members.keys()].filter((outer) => !stays(outer) && canMove(walked, outer)),
    (outer) => String(units.alike(outer)),
  )
  for (const outers of outerGroups) made.add(outers)
  for (const outers of outerGroups) {
    const inside = outers.map((outer) => units.members.get(outer)!)
    for (const [k, list] of inside.entries())
      for (const [at, unit] of list.entries()) {
        made.outer.set(unit, outers[k]!)
        made.inBlock.set(unit, at)
      }
    const own = inside.map((list) =>
      classes(
        list.filter((unit) => !broken.has(unit)),
        (unit) => String(units.alike(unit)),
      ),
    )
    for (const [c, first] of own[0]!.entries())
      made.add(
        own.flatMap((lists) => lists[c]!),
        { size: first.length, inside: made.group.get(outers[0]!)! },
      )
  }
  const key = (unit: number) => [units.alike(unit), ...(units.outers.get(unit) ?? [])].join()
  const rest = all.filter((unit) => !stays(unit) && !made.group.has(unit) && !made.outer.has(unit))
  for (const own of classes(rest, key)) made.add(own)
  return made
}

/** Whether a block can change places: nothing in it stays, or lies in another block too. */
function canMove({ units }: Walked, outer: number): boolean {
  return (
    !units.outers.has(outer) &&
    units.members.get(outer)!.every((unit) => units.reason(unit) === undefined && units.outers.get(unit)!.length === 1)
  )
}

function createMembers() {
  const groups: UnitGroup[] = []
  const [group, place, outer, inBlock] = [0, 1, 2, 3].map(() => new Map<number, number>())
  return {
    groups,
    group: group!,
    place: place!,
    outer: outer!,
    inBlock: inBlock!,
    /** In a group inside another, units are listed by outer unit. */
    add(units: readonly number[], own: UnitGroup = { size: units.length }): void {
      for (const [k, unit] of units.entries()) {
        group!.set(unit, groups.length)
        place!.set(unit, k % own.size)
      }
      groups.push(own)
    },
  }
}

function unitsIn({ tensors, units }: Walked): number[] {
  const all = new Set<number>()
  for (const axes of tensors.values()) for (const ids of axes) for (const id of ids ?? []) all.add(units.unit(id))
  return [...all]
}

/** Units with the same key, in the order of the units. Single ones are no class. */
function classes(units: readonly number[], keyOf: (unit: number) => string): number[][] {
  const found = new Map<string, number[]>()
  for (const unit of units) addTo(found, keyOf(unit), unit)
  // A unit is named by its smallest id.
  return [...found.values()].filter((own) => own.length > 1).map((own) => own.sort((x, y) => x - y))
}

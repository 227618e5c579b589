/** Groups of units that can change places, and where each tensor's axes have them. */
import { type Members, membersOf, type UnitGroup } from './members.js'
import { type Part, partsOf } from './parts.js'
import type { Walked } from './ties.js'

export type { Part }

export interface Groups {
  readonly groups: readonly UnitGroup[]
  /** By tensor with permuted axes: the parts of each axis. */
  readonly rows: ReadonlyMap<string, readonly (readonly Part[] | undefined)[]>
  /** By tensor without permuted axes: why. */
  readonly reasons: ReadonlyMap<string, string>
}

export function groupsOf(walked: Walked, unread: ReadonlyMap<number, string>): Groups {
  const { tensors, units } = walked
  const broken = new Map<number, string>()
  for (;;) {
    const members = membersOf(walked, broken)
    const before = broken.size
    for (const [group, { size }] of members.groups.entries()) {
      const found = [...unread].find(([length]) => length % size === 0)
      if (found)
        breakGroup(
          members,
          group,
          `the graph does not read tensor ${found[1]}, which may follow the same units`,
          broken,
        )
    }
    const rows = new Map<string, (readonly Part[] | undefined)[]>()
    for (const [tensor, axes] of tensors) {
      const breaks = (group: number) =>
        breakGroup(members, group, `its units are in another order on an axis of ${tensor}`, broken)
      rows.set(
        tensor,
        axes.map((ids) => ids && partsOf(Array.from(ids, units.unit), members, breaks)),
      )
    }
    if (broken.size === before) return finished(rows, members, walked, broken)
  }
}

/** Without outer units, those inside of them change places within their block. */
function breakGroup({ group: groups }: Members, group: number, reason: string, broken: Map<number, string>): void {
  for (const [unit, own] of groups) if (own === group) broken.set(unit, reason)
}

function finished(
  rows: ReadonlyMap<string, readonly (readonly Part[] | undefined)[]>,
  { groups }: Members,
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
  return { groups, rows: moved, reasons }
}

/** The spec of a network whose places were tied. */
import { type AxisText, groupName, readSpec, type Shapes, type Spec } from '../spec.js'
import { type Groups, groupsOf, type Part } from './groups.js'
import type { UnitGroup } from './members.js'
import type { Walked } from './ties.js'

/** What a network does not move, with the reasons. */
export interface Left {
  /** Lengths of axes of tensors that are not read, with a tensor each: they may follow the same units as a group. */
  readonly unread: ReadonlyMap<number, string>
  readonly kept: readonly (readonly [string, string])[]
}

export function specOfWalk(walked: Walked, shapes: Shapes, { unread, kept }: Left): Spec {
  const { groups, rows, reasons } = groupsOf(walked, unread)
  const nameOf = namesOf(groups, rows)
  const tensors: Record<string, AxisText[]> = Object.create(null)
  for (const [tensor, axes] of rows) tensors[tensor] = axes.map((axis) => textOf(axis, nameOf))
  return readSpec(
    {
      groups: Object.fromEntries(
        groups.map(({ size, inside }, k) => [
          nameOf(k),
          inside === undefined ? size : { size, inside: nameOf(inside) },
        ]),
      ),
      tensors,
      kept: Object.fromEntries([...kept, ...reasons]),
    },
    shapes,
  )
}

/** Groups have the name of the first tensor that they order. Those of blocks, such as heads, end with `blocks`. */
function namesOf(groups: readonly UnitGroup[], rows: Groups['rows']): (group: number) => string {
  const names = groups.map(() => '')
  const taken = new Set<string>()
  const outer = new Set(groups.map(({ inside }) => inside))
  const give = (group: number | undefined, tensor: string) => {
    if (group === undefined || names[group] !== '') return
    const plain = groupName(tensor.replace(/\.(weight|bias)$/, '')) + (outer.has(group) ? '.blocks' : '')
    let name = plain
    for (let n = 2; taken.has(name); n++) name = `${plain}#${n}`
    taken.add(name)
    names[group] = name
  }
  for (const [tensor, axes] of rows)
    for (const axis of axes)
      for (const { group, inner } of axis ?? []) {
        give(group, tensor)
        give(inner, tensor)
      }
  return (group) => names[group]!
}

/** An axis as specs write it. */
function textOf(axis: readonly Part[] | undefined, nameOf: (group: number) => string): AxisText {
  if (!axis?.some(({ group }) => group !== undefined)) return null
  const texts: string[] = []
  for (const { group, inner, places, times } of axis) {
    const text =
      [group, inner].flatMap((each) => (each === undefined ? [] : [nameOf(each)])).join('*') || String(places)
    texts.push(times === 1 || group === undefined ? text : `${text}*${times}`)
  }
  const [first] = texts
  if (texts.length === 1) return first!
  return texts.every((text) => text === first) && axis[0]!.group !== undefined ? `${texts.length}*${first}` : texts
}

/** Permutation specs for people: groups, axes, and what stays as it is. */
import type { PermutationSpec, Shapes, Spec, SpecText } from '../index.js'
import { type Branch, counted, formatCount, formatShape, printable, table } from './text.js'

/** Units of a group; of one inside another, all of them. */
const unitsOf = ({ groups }: Spec, name: string): number => {
  const { size, inside } = groups[name]!
  return inside === undefined ? size : size * groups[inside]!.size
}

const sizeText = ({ groups }: Spec, name: string): string => {
  const { size, inside } = groups[name]!
  return inside === undefined ? formatCount(size) : `${formatCount(size)} in each of ${printable(inside)}`
}

const MOST_SHOWN = 6

/** `3 groups, 768 units: fc1 256, fc2 256, fc3 256`; of many groups, how many there are of a size. */
export function groupsLine(spec: Spec): string {
  const names = Object.keys(spec.groups)
  const units = names.reduce((sum, name) => sum + unitsOf(spec, name), 0)
  const head = `${counted(names.length, 'group')}, ${counted(units, 'unit')}`
  if (names.length === 0) return head
  if (names.length <= MOST_SHOWN)
    return `${head}: ${names.map((name) => `${printable(name)} ${sizeText(spec, name)}`).join(', ')}`
  const sizes = new Map<number, number>()
  for (const name of names) sizes.set(spec.groups[name]!.size, (sizes.get(spec.groups[name]!.size) ?? 0) + 1)
  return `${head}: ${[...sizes].map(([size, count]) => `${formatCount(count)} of ${formatCount(size)}`).join(', ')}`
}

/** What stays as it is, by reason. */
export function keptBranches(kept: Readonly<Record<string, string>>): Branch[] {
  const reasons = new Map<string, string[]>()
  for (const [name, why] of Object.entries(kept)) reasons.set(why, [...(reasons.get(why) ?? []), name])
  return [...reasons].map(([why, names]) => {
    const shown = names.slice(0, 3).map(printable).join(', ')
    const more = names.length > 3 ? ` and ${formatCount(names.length - 3)} more` : ''
    return { text: `${shown}${more}: ${printable(why)}` }
  })
}

const axisText = (axis: SpecText['tensors'][string][number]): string =>
  axis === null ? '-' : typeof axis === 'string' ? printable(axis) : axis.map(printable).join(' | ')

/** A model's spec whole: the family it was told by, its groups, the axes of its tensors, and what is kept with the reasons. */
export function specText({ family, text, spec }: PermutationSpec, shapes: Shapes): string {
  const users = new Map<string, Set<string>>()
  for (const { tensor, units } of spec.parts)
    for (const unit of units)
      if (typeof unit === 'string') users.set(unit, (users.get(unit) ?? new Set<string>()).add(tensor))
  const right = 'right' as const
  const groups = table(
    [{ title: 'group' }, { title: 'size', align: right }, { title: 'tensors', align: right }],
    Object.keys(spec.groups).map((name) => [
      printable(name),
      sizeText(spec, name),
      formatCount(users.get(name)?.size ?? 0),
    ]),
  )
  const tensors = table(
    [{ title: 'tensor' }, { title: 'shape' }, { title: 'axes' }],
    Object.entries(text.tensors).map(([name, axes]) => {
      const { shape } = shapes.get(name)!
      return [printable(name), formatShape(shape), shape.map((_, i) => axisText(axes[i] ?? null)).join(', ')]
    }),
  )
  const kept = keptBranches(spec.kept).map((branch) => `  ${branch.text}`)
  return [
    `family      ${printable(family)}`,
    `permutes    ${groupsLine(spec)}`,
    '',
    groups,
    '',
    tensors,
    ...(kept.length > 0 ? ['', 'stays as it is', ...kept] : []),
  ].join('\n')
}

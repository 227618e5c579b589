/** Text about permutation specs. */
import { naturalOrder } from '../core/collections/naturalOrder.js'
import { counted, formatCount } from '../core/words.js'
import type { Spec } from './spec.js'

/** All units of a group, over all outer units. */
const unitsOf = ({ groups }: Spec, name: string): number => {
  const { size, inside } = groups[name]!
  return inside === undefined ? size : size * groups[inside]!.size
}

export const sizeText = ({ groups }: Spec, name: string): string => {
  const { size, inside } = groups[name]!
  return inside === undefined ? formatCount(size) : `${formatCount(size)} in each of ${inside}`
}

const MOST_SHOWN = 6

/** `3 groups, 768 units: fc1 256, fc2 256, fc3 256`. For many groups, the number of groups per size. */
export function groupsLine(spec: Spec): string {
  const names = Object.keys(spec.groups)
  const units = names.reduce((sum, name) => sum + unitsOf(spec, name), 0)
  const head = `${counted(names.length, 'group')}, ${counted(units, 'unit')}`
  if (names.length === 0) return head
  if (names.length <= MOST_SHOWN) return `${head}: ${names.map((name) => `${name} ${sizeText(spec, name)}`).join(', ')}`
  const sizes = new Map<number, number>()
  for (const name of names) sizes.set(spec.groups[name]!.size, (sizes.get(spec.groups[name]!.size) ?? 0) + 1)
  return `${head}: ${[...sizes].map(([size, count]) => `${formatCount(count)} of ${formatCount(size)}`).join(', ')}`
}

/** One line per reason with the tensors and groups that keep their order. */
export function keptLines(kept: Readonly<Record<string, string>>): string[] {
  const reasons = new Map<string, string[]>()
  for (const [name, why] of Object.entries(kept)) reasons.set(why, [...(reasons.get(why) ?? []), name])
  return [...reasons].map(([why, names]) => {
    const shown = names.sort(naturalOrder).slice(0, 3).join(', ')
    const more = names.length > 3 ? ` and ${formatCount(names.length - 3)} more` : ''
    return `${shown}${more}: ${why}`
  })
}

/** Permutation specs for people: groups, axes, and what stays as it is. */

import { formatCount } from '../core/words.js'
import type { PermutationSpec, Shapes, SpecText } from '../index.js'
import { formatShape, printable, table } from './text.js'

const axisText = (axis: SpecText['tensors'][string][number]): string =>
  axis === null ? '-' : typeof axis === 'string' ? printable(axis) : axis.map(printable).join(' | ')

/** A model's spec whole: the family it was told by, its groups, the axes of its tensors, and what is kept with the reasons. */
export function specText({ family, text, spec, words }: PermutationSpec, shapes: Shapes): string {
  const users = new Map<string, Set<string>>()
  for (const { tensor, units } of spec.parts)
    for (const unit of units)
      if (typeof unit === 'string') users.set(unit, (users.get(unit) ?? new Set<string>()).add(tensor))
  const right = 'right' as const
  const groups = table(
    [{ title: 'group' }, { title: 'size', align: right }, { title: 'tensors', align: right }],
    Object.keys(spec.groups).map((name) => [
      printable(name),
      printable(words.sizes.get(name)!),
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
  const kept = words.kept.map((line) => `  ${printable(line)}`)
  return [
    `family      ${printable(family)}`,
    `permutes    ${printable(words.groups)}`,
    '',
    groups,
    '',
    tensors,
    ...(kept.length > 0 ? ['', 'stays as it is', ...kept] : []),
  ].join('\n')
}

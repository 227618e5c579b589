/** Permutation specs for people: groups, axes, and what is not permuted. */

import { formatCount } from '../core/words.js'
import type { PermutationSpec, Shapes, SpecText } from '../index.js'
import { formatShape, printable, table } from './text.js'

const axisText = (axis: SpecText['tensors'][string][number]): string =>
  axis === null ? '-' : typeof axis === 'string' ? printable(axis) : axis.map(printable).join(' | ')

/** The whole spec of a model: its family, groups, the axes of its tensors, and what is not permuted, with reasons. */
export function specText({ family, text, spec, assumed, words }: PermutationSpec, shapes: Shapes): string {
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
  // The whole spec, or what stands beside a known network and is among the kept tensors.
  const doubt = assumed?.as ? `, assumed from names and shapes: write spec: ${assumed.as} to confirm it` : ''
  return [
    `family      ${printable(family)}${doubt}`,
    `permutes    ${printable(words.groups)}`,
    '',
    groups,
    '',
    tensors,
    ...(kept.length > 0 ? ['', 'not permuted', ...kept] : []),
  ].join('\n')
}

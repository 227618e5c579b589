/** The spec of one network for another one of the same structure, whose groups may have other sizes. */
import { recordOf } from '../../core/collections/ownValue.js'
import { readSpec, type Shapes, type Spec, type SpecText } from '../spec.js'

/**
 * Sizes come from axes that a group fills, alone or with numbers. Groups inside others keep their size. Error:
 * `spec-misfit` if the structure differs.
 */
export function resizedSpec(text: SpecText, shapes: Shapes): Spec {
  const sizes = new Map<string, number>()
  for (const [tensor, axes] of Object.entries(text.tensors))
    for (const [axis, runs] of axes.entries()) {
      const length = shapes.get(tensor)?.shape[axis]
      const [run, ...more] = typeof runs === 'string' ? [runs] : (runs ?? [])
      if (run === undefined || more.some((other) => other !== run) || length === undefined) continue
      const units = run.split('*').map((unit) => unit.trim())
      const names = units.filter((unit) => !/^\d+$/.test(unit))
      if (names.length !== 1 || sizes.has(names[0]!)) continue
      const times = units.reduce(
        (product, unit) => (unit === names[0] ? product : product * Number(unit)),
        more.length + 1,
      )
      if (length % times === 0 && length > 0) sizes.set(names[0]!, length / times)
    }
  const groups = Object.entries(text.groups ?? {}).map(
    ([name, group]) => [name, typeof group === 'number' ? (sizes.get(name) ?? group) : group] as const,
  )
  return readSpec({ ...text, groups: recordOf(groups) }, shapes)
}

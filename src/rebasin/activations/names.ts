/**
 * Names of the tensors in an activations file. A tensor [samples, places] is named after the units along its second axis, as a
 * permutation spec writes them: `fc1`, `heads*value`, `conv*49`. `fc1@relu` is another measurement of the same units.
 */
import { emptyTable } from '../../core/collections/ownValue.js'
import { rootOf, type Spec } from '../spec.js'

export interface Measured {
  readonly spec: Spec
  /** Tensors whose name is no run of the spec. */
  readonly foreign: readonly string[]
  /** Tensors of another number of axes or places, with what is wrong. */
  readonly wrong: readonly { readonly name: string; readonly message: string }[]
  /** Groups that no tensor has. */
  readonly missing: readonly string[]
}

/** The units of a tensor's second axis. Undefined if the name is not a run of groups of the spec. */
function unitsOf(spec: Spec, name: string): (string | number)[] | undefined {
  for (const run of [name, name.slice(0, Math.max(0, name.lastIndexOf('@')))]) {
    const units = run.split('*').map((unit) => (/^\d+$/.test(unit) ? Number(unit) : unit))
    const groups = units.filter((unit) => typeof unit === 'string')
    const known = groups.length > 0 && groups.every((group) => Object.hasOwn(spec.groups, group))
    const [outer, ...inner] = groups
    const nested =
      known &&
      spec.groups[outer!]!.inside === undefined &&
      new Set(groups).size === groups.length &&
      inner.every((group) => spec.groups[group]!.inside === outer)
    if (nested) return units
  }
  return undefined
}

/** The activations of a file as a spec: samples have no order, and no axis joins two groups. */
export function measuredSpec(
  spec: Spec,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): Measured {
  const parts: Spec['parts'][number][] = []
  const foreign: string[] = []
  const wrong: { name: string; message: string }[] = []
  for (const [name, { shape }] of tensors) {
    const units = unitsOf(spec, name)
    if (!units) {
      foreign.push(name)
      continue
    }
    const sizes = units.map((unit) => (typeof unit === 'number' ? unit : spec.groups[unit]!.size))
    const length = sizes.reduce((product, size) => product * size, 1)
    if (shape.length !== 2 || shape[1] !== length)
      wrong.push({ name, message: `is [${shape.join(', ')}] but must be [samples, ${length}]` })
    else parts.push({ tensor: name, axis: 1, offset: 0, units, length })
  }
  const has = new Set(parts.flatMap(({ units }) => units))
  const needed = new Set(
    spec.parts.flatMap((part) => [rootOf(part), ...part.units.filter((u) => typeof u === 'string')]),
  )
  const missing = [...needed].filter((group) => !has.has(group))
  const groups = emptyTable<Spec['groups'][string]>()
  for (const [name, group] of Object.entries(spec.groups)) if (has.has(name)) groups[name] = group
  return { spec: { groups, parts, kept: {} }, foreign, wrong, missing }
}

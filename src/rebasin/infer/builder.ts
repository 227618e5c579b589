import { emptyTable } from '../../core/collections/ownValue.js'
import { plural } from '../../core/words.js'
import { type AxisText, readSpec, type Shapes, type Spec } from '../spec.js'

/** A spec in the making: families say what they know of each tensor, and what is not known freezes what it touches. */
export interface Builder {
  readonly shapes: Shapes
  /** `null` for an axis that stays; a tensor that the model lacks is passed over. */
  readonly tensor: (name: string, axes: readonly AxisText[]) => void
  readonly group: (name: string, size: number, inside?: string) => void
  /** Keeps a group, with those inside it, or names a tensor that stays. The first reason is kept. */
  readonly keep: (name: string, reason: string) => void
  readonly known: (name: string) => boolean
  readonly groups: () => readonly string[]
  readonly finish: () => Spec
}

export function createBuilder(shapes: Shapes): Builder {
  const tensors = new Map<string, readonly AxisText[]>()
  const groups = new Map<string, { size: number; inside?: string }>()
  const kept = new Map<string, string>()
  const finish = (): Spec => {
    const frozen = (name: string) => kept.has(name) || kept.has(groups.get(name)?.inside ?? '')
    const thaw = (run: string) =>
      run
        .split('*')
        .map((unit) => (frozen(unit) ? String(groups.get(unit)?.size) : unit))
        .join('*')
    const rows = emptyTable<AxisText[]>()
    for (const [name, axes] of tensors) {
      rows[name] = axes.map((axis) => {
        if (axis === null) return null
        const runs = (typeof axis === 'string' ? [axis] : axis).map(thaw)
        if (runs.every((run) => run.split('*').every(isNumber))) return null
        return typeof axis === 'string' ? runs[0]! : runs
      })
    }
    const sizes = [...groups].filter(([name]) => !frozen(name))
    return readSpec({ groups: Object.fromEntries(sizes), tensors: rows, kept: Object.fromEntries(kept) }, shapes)
  }
  return {
    shapes,
    tensor: (name, axes) => {
      if (shapes.has(name)) tensors.set(name, axes)
    },
    group: (name, size, inside) => {
      const known = groups.get(name)
      if (known && known.size !== size) {
        const reason = `it would have ${plural(known.size, 'unit')} here and ${size} there`
        if (!kept.has(name)) kept.set(name, reason)
        return
      }
      groups.set(name, inside === undefined ? { size } : { size, inside })
    },
    keep: (name, reason) => {
      if (!kept.has(name)) kept.set(name, reason)
    },
    known: (name) => tensors.has(name),
    groups: () => [...groups.keys()],
    finish,
  }
}

export const isNumber = (part: string): boolean => /^\d+$/.test(part)

/** Order of names in which numbers count as numbers: `layers.2` before `layers.10`. */
export function natural(a: string, b: string): number {
  const split = (name: string) => name.match(/\d+|\D+/g) ?? []
  const [x, y] = [split(a), split(b)]
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const [p, q] = [x[i]!, y[i]!]
    if (p === q) continue
    if (/^\d/.test(p) && /^\d/.test(q) && Number(p) !== Number(q)) return Number(p) - Number(q)
    return p < q ? -1 : 1
  }
  return x.length - y.length
}

/** A whole number of a model's config, where it has one. */
export function setting(config: Readonly<Record<string, unknown>> | undefined, ...names: string[]): number | undefined {
  for (const name of names) {
    const value = config?.[name]
    if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value
  }
  return undefined
}

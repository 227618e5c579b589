/** Which family and form a model's tensors have. */
import { leavesOf } from './forms.js'
import { indexOf, nameOf } from './names.js'
import type { Facts, Family, FamilyForm, Settings } from './types.js'

/** `mixed`: some tensors have one form and some another. `unknown`: no tensor tells one form from the others. */
export type FoundForm = FamilyForm | 'mixed' | 'unknown'

/** What a model's names and shapes say of its form in a family. */
export interface Evidence {
  /** The forms that it may have: none if it has no tensor of the family, or if it is mixed. */
  readonly possible: readonly FamilyForm[]
  /** Whether it has the only possible form. */
  readonly sure: boolean
  /** Some tensors have one form and some another: by their names, or by their shapes alone. */
  readonly mixed?: 'names' | 'shapes'
  /** The one form that has its names: its shapes do not fit. */
  readonly unfit?: FamilyForm
}

/** A model's form in a family, by names and, where forms share names, by shapes. */
export function formIn(family: Family, facts: Facts): FoundForm {
  const { possible, sure, mixed } = evidenceOf(family, facts)
  if (mixed) return 'mixed'
  return sure ? possible[0]! : 'unknown'
}

const NOTHING: Evidence = { possible: [], sure: false }

export function evidenceOf(family: Family, facts: Facts): Evidence {
  if (family.isOne?.(facts) === false) return NOTHING
  const stored = storedIn(family)
  const index = indexOf(facts.shapes)
  // A skeleton stands for all of its names, unless a pattern chooses among them by a number.
  const bySkeleton = stored.every((patterns) =>
    patterns.every((pattern) => nameOf(pattern).plain || index.skeletons(pattern).length === 0),
  )
  const keys = stored.map(
    (patterns) =>
      new Set(
        patterns.flatMap((pattern) =>
          bySkeleton ? index.skeletons(pattern) : index.find(pattern).map(({ name }) => name),
        ),
      ),
  )
  const all = new Set(keys.flatMap((set) => [...set]))
  if (all.size === 0) return NOTHING
  const telling = [...all].filter((key) => keys.some((set) => !set.has(key)))
  const named = family.forms.filter((_, at) => telling.every((key) => keys[at]!.has(key)))
  if (named.length === 0)
    return { ...NOTHING, mixed: ambiguous(family).some((name) => index.find(name).length > 0) ? 'shapes' : 'names' }
  const shaped = named.filter((form) => form.fits?.(facts) !== false)
  const one = telling.length > 0 && named.length === 1
  if (shaped.length === 0) return one ? { ...NOTHING, unfit: named[0]! } : { ...NOTHING, mixed: 'shapes' }
  const certain = shaped.filter((form) => form.fits?.(facts) === true)
  if (certain.length === 1) return { possible: certain, sure: true }
  return { possible: shaped, sure: telling.length > 0 && shaped.length === 1 }
}

/** The tensors that forms describe in different ways: where layers have several forms, names do not show which. */
function ambiguous({ forms }: Family): string[] {
  const rules = forms.flatMap((form) => form.rules)
  const atoms = new Set(rules.flatMap(({ is }) => (typeof is === 'string' ? [] : leavesOf(is))))
  return rules
    .filter((one) => atoms.has(one.tensor) || rules.some(({ tensor, is }) => tensor === one.tensor && is !== one.is))
    .map((one) => one.tensor)
}

/** Square matrices of a model that forms store in different ways: neither names nor shapes show in which one. */
export function undecidedIn(family: Family, shapes: Facts['shapes']): string[] {
  const index = indexOf(shapes)
  const names = new Set(ambiguous(family).flatMap((pattern) => index.find(pattern).map(({ name }) => name)))
  return [...names].filter((name) => {
    const { shape } = shapes.get(name)!
    return shape.length > 1 && shape.at(-1) === shape.at(-2)
  })
}

const cached = new WeakMap<Family, readonly (readonly string[])[]>()

/**
 * By form: the names that its tensors have, which are those of its rules, and the atoms of other forms that it stores as
 * they are.
 */
function storedIn(family: Family): readonly (readonly string[])[] {
  const known = cached.get(family)
  if (known) return known
  const leaves = family.forms.flatMap(({ rules }) => rules.flatMap(({ is }) => leavesOf(is)))
  const all = family.forms.map(({ rules }) => {
    const own = new Set(rules.flatMap(({ is }) => leavesOf(is)))
    return [...new Set([...rules.map(({ tensor }) => tensor), ...leaves.filter((atom) => !own.has(atom))])]
  })
  cached.set(family, all)
  return all
}

/** The `model_type`s in a configuration: its own, and those of its parts (`text_config`, `vision_config`). */
export function typesIn(config: Settings | undefined): ReadonlySet<string> {
  const found = new Set<string>()
  for (const part of [config, ...Object.values(config ?? {})]) {
    const type = typeof part === 'object' && part !== null ? (part as Settings).model_type : undefined
    if (typeof type === 'string') found.add(type)
  }
  return found
}

/** Whether the configuration says that a model is of a family. */
export const isDeclared = (family: Family, config: Settings | undefined): boolean => {
  const types = typesIn(config)
  return family.types.some((type) => types.has(type))
}

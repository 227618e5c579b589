/** Which family and form a model's tensors have. */
import { leavesOf } from './forms.js'
import { type Name, nameOf } from './names.js'
import type { Facts, Family, FamilyForm, Settings } from './types.js'

/** `mixed`: some tensors have one form and some another. `unknown`: nothing that differs between the forms is there. */
export type FoundForm = FamilyForm | 'mixed' | 'unknown'

/** A model's form in a family, by names and, where forms share names, by shapes. */
export function formIn(family: Family, facts: Facts): FoundForm {
  if (family.isOne?.(facts) === false) return 'unknown'
  const forms = family.forms.map((form) => ({ form, names: storedIn(family, form), fits: true }))
  let told = false
  for (const name of facts.shapes.keys()) {
    const matching = forms.map(({ names }) => names.some((pattern) => pattern.match(name)))
    if (matching.every((one) => !one) || matching.every((one) => one)) continue
    told = true
    for (const [index, one] of matching.entries()) if (!one) forms[index]!.fits = false
  }
  const named = forms.filter(({ fits }) => fits).map(({ form }) => form)
  if (named.length === 0) return 'mixed'
  const shaped = named.filter((form) => form.fits?.(facts) !== false)
  if (told && named.length === 1) return shaped[0] ?? 'unknown'
  if (shaped.length === 0) return 'mixed'
  const sure = shaped.filter((form) => form.fits?.(facts) === true)
  return sure.length === 1 ? sure[0]! : told && shaped.length === 1 ? shaped[0]! : 'unknown'
}

const cached = new WeakMap<FamilyForm, readonly Name[]>()

/** The names that a form's tensors have: those of its rules, and the atoms of other forms that it stores as they are. */
function storedIn(family: Family, form: FamilyForm): readonly Name[] {
  const known = cached.get(form)
  if (known) return known
  const own = new Set(form.rules.flatMap(({ is }) => leavesOf(is)))
  const others = family.forms.flatMap(({ rules }) => rules.flatMap(({ is }) => leavesOf(is)))
  const plain = others.filter((atom) => !own.has(atom))
  const names = [...new Set([...form.rules.map(({ tensor }) => tensor), ...plain])].map(nameOf)
  cached.set(form, names)
  return names
}

/** The `model_type`s in a configuration: its own, and those of its parts (`text_config`, `vision_config`). */
function typesIn(config: Settings | undefined): ReadonlySet<string> {
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

/** All families of layouts. A family has its own file in `families/`, and a line here. */
import { DIFFUSION } from './families/diffusion/index.js'
import { EXPERTS } from './families/experts/index.js'
import { FUSED } from './families/fused/index.js'
import { NAMES } from './families/names/index.js'
import type { Family, FamilyForm } from './types.js'

export const FAMILIES: readonly Family[] = [...DIFFUSION, ...EXPERTS, ...FUSED, ...NAMES]

export interface Layout {
  readonly family: Family
  readonly form: FamilyForm
}

/** The names of all layouts. */
export const layoutNames = (): string[] =>
  FAMILIES.flatMap((family) => family.forms.map((form) => layoutName({ family, form })))

/** `mixtral/released`. */
export const layoutName = ({ family, form }: Layout): string => `${family.name}/${form.name}`

/** A layout that a recipe names: `mixed` for a model whose layers have several. */
export interface NamedLayout {
  readonly family: Family
  readonly form: FamilyForm | 'mixed'
}

/**
 * The layouts of a name: `mixtral/released`; those of a model type, `gemma3/released`; those of all families with a form,
 * `released`. `mixtral/mixed` says that layers have several.
 */
export function layoutsNamed(name: string): readonly NamedLayout[] {
  const all = FAMILIES.flatMap((family) => family.forms.map((form): Layout => ({ family, form })))
  const own = all.filter((layout) => layoutName(layout) === name)
  if (own.length > 0) return own
  const [form, type] = name.split('/').reverse()
  if (form === 'mixed' && type !== undefined)
    return FAMILIES.filter(({ name, types }) => name === type || types.includes(type)).map((family) => ({
      family,
      form,
    }))
  return all.filter((layout) => layout.form.name === form && (type === undefined || layout.family.types.includes(type)))
}

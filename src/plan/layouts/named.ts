/** The layouts that a recipe names, for the models that they are about. */
import { quote } from '../../core/suggest.js'
import type { Faults } from '../../language/faults.js'
import type { LayoutChoice, Path } from '../../language/types.js'
import { leavesOf } from '../../layouts/forms.js'
import { FAMILIES, type Layout, layoutName } from '../../layouts/index.js'
import { certaintyOf, factsOf, formName, type Laid, layoutsOf } from '../../layouts/model.js'
import { indexOf } from '../../layouts/names.js'
import { evidenceOf } from '../../layouts/recognise.js'
import type { Family, FamilyForm, LayoutRule } from '../../layouts/types.js'
import type { Recipe } from '../../recipe/types.js'

/** By family, the form that the recipe names. */
export type NamedForms = ReadonlyMap<Family, FamilyForm>

type NameChoice = LayoutChoice & { readonly kind: 'name' }

export const rulesOf = (choices: readonly LayoutChoice[] = []): readonly { rule: LayoutRule; at: Path }[] =>
  choices.flatMap((choice) => (choice.kind === 'rule' ? [{ rule: choice.rule, at: choice.at }] : []))

export const namesOf = (choices: readonly LayoutChoice[] = []): readonly NameChoice[] =>
  choices.filter((choice) => choice.kind === 'name')

/** `other`: the model that it is used with. Errors: `unknown-layout`, `contradiction` for two forms of one family. */
export function namedForms(
  recipe: Recipe,
  choices: readonly NameChoice[],
  name: string,
  model: Laid,
  other: Laid | undefined,
  faults: Faults,
): NamedForms {
  const found = new Map<Family, FamilyForm>()
  for (const choice of choices) {
    const layout = layoutNamed(recipe, choice, name, model, other, faults)
    if (!layout) continue
    const { family, form } = layout
    if (found.has(family))
      faults.error(
        'contradiction',
        `${choice.name} is a second layout of the same tensors, after ${formName(family, found.get(family)!)}`,
        recipe.placeOf(choice.at),
        'remove one of them',
      )
    found.set(family, form)
  }
  return found
}

function layoutNamed(
  recipe: Recipe,
  choice: NameChoice,
  name: string,
  model: Laid,
  other: Laid | undefined,
  faults: Faults,
): Layout | undefined {
  const all = FAMILIES.flatMap((family) => family.forms.map((form): Layout => ({ family, form })))
  const whole = all.find((layout) => layoutName(layout) === choice.name)
  if (whole) {
    refuseDeclared(recipe, choice, whole, name, model, faults)
    return whole
  }
  const fitting = all.filter(({ family, form }) => {
    if (form.name !== choice.name) return false
    const { possible, mixed } = evidenceOf(family, factsOf(model))
    return mixed || possible.length > 0
  })
  const certain = fitting.filter(({ family }) => certaintyOf(family, model.config, other?.config) !== undefined)
  if (certain.length === 1) return certain[0]
  const offered = (
    certain.length > 0 ? certain : fitting.length > 0 ? fitting : all.filter(({ form }) => form.name === choice.name)
  ).map(layoutName)
  faults.error(
    'unknown-layout',
    `${quote(choice.name)} is a layout of several networks, and ${certain.length > 1 ? `${quote(name)} fits ${certain.length} of them` : `nothing says which one ${quote(name)} is`}`,
    recipe.placeOf(choice.at),
    `write its whole name: ${offered.slice(0, 4).join(', ')}${offered.length > 4 ? ', …' : ''}`,
  )
  return undefined
}

/** A configuration can say that the same tensors are of another family: halves for gate and up, or every other column. */
function refuseDeclared(
  recipe: Recipe,
  choice: NameChoice,
  { family }: Layout,
  name: string,
  model: Laid,
  faults: Faults,
): void {
  if (certaintyOf(family, model.config) === 'config') return
  const rival = layoutsOf(model).find(
    (found) => found.certain === 'config' && sharesTensors(found.family, family, model),
  )
  if (!rival) return
  faults.error(
    'contradiction',
    `the configuration of ${quote(name)} says that its layout is ${formName(rival.family, rival.form)}, not one of ${family.name}`,
    recipe.placeOf(choice.at),
    `write ${rival.family.forms.map((form) => formName(rival.family, form)).join(' or ')}, or correct model_type in config.json`,
  )
}

/** Whether forms of two families take the same tensors of a model apart. */
function sharesTensors(one: Family, other: Family, model: Laid): boolean {
  const apart = (family: Family): Set<string> => {
    const index = indexOf(model.tensors)
    const rules = family.forms.flatMap(({ rules }) => rules)
    const patterns = rules.flatMap(({ tensor, is }) => (typeof is === 'string' ? [] : [tensor, ...leavesOf(is)]))
    return new Set(patterns.flatMap((pattern) => index.find(pattern).map(({ name }) => name)))
  }
  const theirs = apart(other)
  return [...apart(one)].some((name) => theirs.has(name))
}

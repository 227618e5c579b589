/** The layouts that a recipe names, for the models that they are about. */
import { quote } from '../../core/suggest.js'
import type { Faults } from '../../language/faults.js'
import type { LayoutChoice, Path } from '../../language/types.js'
import { leavesOf } from '../../layouts/forms.js'
import { layoutsNamed, type NamedLayout } from '../../layouts/index.js'
import { certaintyOf, factsOf, formName, type Laid, layoutsOf, type OwnForm } from '../../layouts/model.js'
import { indexOf } from '../../layouts/names.js'
import { evidenceOf } from '../../layouts/recognise.js'
import type { Family, FamilyForm, LayoutRule } from '../../layouts/types.js'
import type { Recipe } from '../../recipe/types.js'

/** By family, the form that the recipe names. */
export type NamedForms = ReadonlyMap<Family, OwnForm>

/** Without families whose layers have several forms, which an output can't have. */
export const formsOf = (named: NamedForms): ReadonlyMap<Family, FamilyForm> =>
  new Map([...named].flatMap(([family, form]) => (form === 'mixed' ? [] : [[family, form]])))

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
  const found = new Map<Family, OwnForm>()
  for (const choice of choices) {
    for (const { family, form } of layoutsFor(recipe, choice, name, model, other, faults)) {
      if (found.has(family) && found.get(family) !== form)
        faults.error(
          'contradiction',
          `${choice.name} is a second layout of the same tensors, after ${formName(family, found.get(family)!)}`,
          recipe.placeOf(choice.at),
          'remove one of them',
        )
      found.set(family, form)
    }
  }
  return found
}

/** The layouts of a model that a name is about. A form alone, or a model type, can be that of several families. */
function layoutsFor(
  recipe: Recipe,
  choice: NameChoice,
  name: string,
  model: Laid,
  other: Laid | undefined,
  faults: Faults,
): readonly NamedLayout[] {
  const all: readonly NamedLayout[] = layoutsNamed(choice.name)
  const fitting = all.filter(({ family }) => {
    const { possible, mixed } = evidenceOf(family, factsOf(model))
    return mixed || possible.length > 0
  })
  if (choice.name.includes('/')) {
    const found = fitting.length > 0 ? fitting : all
    for (const layout of found) refuseDeclared(recipe, choice, layout, name, model, faults)
    return found
  }
  const certain = fitting.filter(({ family }) => certaintyOf(family, model.config, other?.config) !== undefined)
  if (certain.length > 0) return certain
  const offered = (fitting.length > 0 ? fitting : all).map(({ family, form }) => formName(family, form))
  faults.error(
    'unknown-layout',
    `${quote(choice.name)} is a layout of several networks, and nothing says which one ${quote(name)} is`,
    recipe.placeOf(choice.at),
    `write its whole name: ${offered.slice(0, 4).join(', ')}${offered.length > 4 ? ', …' : ''}`,
  )
  return []
}

/** A configuration can say that the same tensors are of another family: halves for gate and up, or every other column. */
function refuseDeclared(
  recipe: Recipe,
  choice: NameChoice,
  { family }: NamedLayout,
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

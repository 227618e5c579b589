/** One model of a recipe, read in other layouts, one family after another. */

import { sameShape } from '../../core/dtypes.js'
import { plural } from '../../core/words.js'
import type { Faults } from '../../language/faults.js'
import type { Path } from '../../language/types.js'
import { convertTensors } from '../../layouts/convert.js'
import { factsOf, formName, type Laid, type OwnForm, readAs } from '../../layouts/model.js'
import { evidenceOf } from '../../layouts/recognise.js'
import type { Converted, Family, LayoutProblem, LayoutRule, Tensors } from '../../layouts/types.js'
import type { Recipe } from '../../recipe/types.js'

/** A change of a model's layout. */
export interface Change {
  readonly family: Family
  readonly from: OwnForm
  readonly to: OwnForm
  /** Tensors that have no place in the new form. */
  readonly left: readonly string[]
}

/** A model in the course of being read in other layouts. */
export interface Reading {
  readonly recipe: Recipe
  readonly name: string
  readonly at: Path
  readonly faults: Faults
}

/** The model with one family's tensors in another form. Error: `layout-misfit`. `like`: the model that has this form. */
export function changed(
  { recipe, name, at, faults }: Reading,
  { family, from, to }: Omit<Change, 'left'>,
  model: Laid,
  like?: { readonly name: string; readonly tensors: Tensors },
): { readonly tensors: Tensors; readonly left: readonly string[] } | undefined {
  const converted = readAs(family, from, to, model, like?.tensors)
  const sides = [
    { name, form: from, shapes: model.tensors },
    ...(like ? [{ name: like.name, form: to, shapes: like.tensors }] : []),
  ]
  const problems: readonly LayoutProblem[] = [
    ...sides.flatMap((side) => (from === to ? [] : undecided(family, side, model.config))),
    ...converted.problems,
    ...(like ? unlike(converted, like) : []),
  ]
  const [first] = problems
  if (!first) return converted
  const more = problems.length > 1 ? ` (and ${plural(problems.length - 1, 'more problem')})` : ''
  const [own, target] = [formName(family, from), formName(family, to)]
  const has = like
    ? `${name} has the layout ${own} and ${like.name} has ${target}`
    : `${name} can't be read as ${target}`
  faults.error(
    'layout-misfit',
    `${has}, but ${first.tensor} ${first.message}${more}`,
    recipe.placeOf(at, 'key'),
    first.needs === 'config'
      ? `give its configuration: ${name}: {path: …, config: FILE} (terge convert: --config FILE)`
      : 'use a complete model; if its layout is another one, write layout: NAME for it',
    family.name,
  )
  return undefined
}

/** Of a model whose layers have different forms with the same names: shapes do not tell the form of square matrices. */
const undecided = (
  family: Family,
  { name, form, shapes }: { readonly name: string; readonly form: OwnForm; readonly shapes: Tensors },
  config: Laid['config'],
) =>
  form === 'mixed' && evidenceOf(family, { config, shapes }).mixed === 'shapes'
    ? [{ tensor: name, message: 'has layers of several layouts, and their names do not show which' }]
    : []

/** Tensors that were put together, but have another shape than in the model whose form they have: experts are missing. */
const unlike = ({ tensors, from }: Converted, like: { readonly name: string; readonly tensors: Tensors }) =>
  [...from].flatMap(([name, of]) => {
    const [own, other] = [tensors.get(name), like.tensors.get(name)]
    if (!own || !other || sameShape(own.shape, other.shape)) return []
    const made = of.length > 1 ? `would be made of ${plural(of.length, 'tensor')} and` : 'would'
    return [{ tensor: name, message: `${made} have the shape [${own.shape}], but ${like.name} has [${other.shape}]` }]
  })

/**
 * The model with rules of the recipe applied: tensors become their parts, and parts become the tensor. Errors:
 * `no-match` for a rule that applies to no tensor, `layout-misfit`.
 */
export function withRules(
  { recipe, name, faults }: Reading,
  rules: readonly { readonly rule: LayoutRule; readonly at: Path }[],
  model: Laid,
): Laid {
  let read = model
  for (const { rule, at } of rules) {
    const own = factsOf(read)
    const apart = convertTensors(read.tensors, { rules: [rule] }, { rules: [] }, own)
    const joined = convertTensors(read.tensors, { rules: [] }, { rules: [rule] }, own)
    const found = [apart, joined].filter(({ from, problems }) => from.size > 0 || problems.length > 0)
    const [one] = found
    if (one && found.length === 1 && one.problems.length === 0) {
      read = { ...read, tensors: one.tensors }
      continue
    }
    const place = recipe.placeOf(at)
    const [problem] = one?.problems ?? []
    if (!one)
      faults.error(
        'no-match',
        `the rule matches no tensor of ${name}: neither ${rule.tensor} nor its parts`,
        place,
        `terge inspect shows the names; captures such as {n} match numbers`,
      )
    else if (found.length > 1)
      faults.error(
        'layout-misfit',
        `${name} has tensors of both sides of the rule, such as ${[...joined.from.values()][0]?.[0] ?? rule.tensor}`,
        place,
        'write a rule for each part of the model, with its whole names',
      )
    else if (problem)
      faults.error(
        'layout-misfit',
        `${name}: ${problem.tensor} ${problem.message}`,
        place,
        'check the rule against the shapes that terge inspect shows',
      )
  }
  return read
}

/** Tensors with their names, for messages. */
export const someOf = (names: readonly string[]): string =>
  `${names.slice(0, 3).join(', ')}${names.length > 3 ? `, and ${names.length - 3} more` : ''}`

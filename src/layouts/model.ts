/** Layouts of whole models: what each family finds in one, and the model read in other forms. */
import { convertTensors, type Target } from './convert.js'
import { FAMILIES } from './index.js'
import { formIn, isDeclared, typesIn } from './recognise.js'
import type { Converted, Facts, Family, FamilyForm, LayoutProblem, Settings, Tensors } from './types.js'

/** The parts of a model that layouts depend on. */
export interface Laid {
  readonly tensors: Tensors
  readonly config?: Settings | undefined
}

/** Of a model whose layers have several forms. */
export type OwnForm = FamilyForm | 'mixed'

/** Why a family is certain: the recipe names it, a configuration has its `model_type`, or names and shapes are enough. */
export type Certainty = 'named' | 'config' | 'names'

export interface FoundLayout {
  readonly family: Family
  readonly form: OwnForm
  readonly certain: Certainty
}

export const factsOf = ({ tensors, config }: Laid): Facts => ({ config, shapes: tensors })

/** The values of `model_type` in a configuration and its parts. */
export const modelTypesIn = (config: Settings | undefined): readonly string[] => [...typesIn(config)]

/** Why a family applies to a model with one of these configurations; undefined if it may be another one. */
export function certaintyOf(family: Family, ...configs: readonly (Settings | undefined)[]): Certainty | undefined {
  if (configs.some((config) => isDeclared(family, config))) return 'config'
  return family.byNames ? 'names' : undefined
}

/** The form of a model in a family; undefined if it has none of its tensors, or if nothing tells forms apart. */
export function ownForm(family: Family, model: Laid): OwnForm | undefined {
  const form = formIn(family, factsOf(model))
  return form === 'unknown' ? undefined : form
}

/** The layouts that a model certainly has, one per family. `others`: configurations of models that it is used with. */
export function layoutsOf(model: Laid, ...others: readonly (Settings | undefined)[]): FoundLayout[] {
  return FAMILIES.flatMap((family): FoundLayout[] => {
    const certain = certaintyOf(family, model.config, ...others)
    const form = certain && ownForm(family, model)
    return form ? [{ family, form, certain }] : []
  })
}

/** A model's tensors in another form. `like`: the tensors of the model whose form `to` is, if it is mixed. */
export function readAs(family: Family, from: OwnForm, to: OwnForm, model: Laid, like?: Tensors): Converted {
  return convertTensors(model.tensors, sourceOf(family, from), targetOf(family, to, like), factsOf(model))
}

const everyRule = ({ forms }: Family) => forms.flatMap(({ rules }) => rules)

const sourceOf = (family: Family, form: OwnForm): Pick<FamilyForm, 'rules' | 'only'> =>
  form === 'mixed' ? { rules: everyRule(family), only: family.forms.flatMap(({ only = [] }) => only) } : form

function targetOf(family: Family, form: OwnForm, like: Tensors = new Map()): Target {
  return form === 'mixed' ? { rules: everyRule(family), wanted: (name) => like.has(name) } : form
}

/** `mixtral/released`, or `mixtral/mixed`. */
export const formName = (family: Family, form: OwnForm): string =>
  `${family.name}/${form === 'mixed' ? 'mixed' : form.name}`

/** Layouts of two models that differ, where the second can't be read as the first stores it. */
export interface Unread {
  /** `mixtral/released`. */
  readonly layout: string
  /** That of the other model. */
  readonly as: string
  /** The first problem. */
  readonly problem: LayoutProblem
}

/** A model as another one stores it. */
export interface ReadLike {
  readonly tensors: Tensors
  /** The layouts that it is read as. */
  readonly readAs: readonly string[]
  /** The layouts that it is not read as, or not as a whole. */
  readonly unread: readonly Unread[]
}

/**
 * A model as another one stores it, as far as that is certain and possible. Tensors that can't be read so, or that the other
 * layout has no place for, are there as they are stored.
 */
export function readLike(model: Laid, like: Laid): ReadLike {
  let read: Laid = { ...model, config: model.config ?? like.config }
  const names: string[] = []
  const unread: Unread[] = []
  for (const family of FAMILIES) {
    if (!certaintyOf(family, model.config, like.config)) continue
    const [own, target] = [ownForm(family, read), ownForm(family, like)]
    if (!own || !target || own === target) continue
    const made = readAs(family, own, target, read, like.tensors)
    const [problem] = made.problems
    const as = formName(family, target)
    if (problem) unread.push({ layout: formName(family, own), as, problem })
    if (made.from.size === 0) continue
    read = { ...read, tensors: withRest(made, read.tensors) }
    names.push(as)
  }
  return { tensors: read.tensors, readAs: names, unread }
}

/** The tensors that were read, and those that none of them was made of. */
function withRest({ tensors, from }: Converted, stored: Tensors): Tensors {
  const used = new Set([...tensors.keys()].flatMap((name) => from.get(name) ?? [name]))
  const rest = [...stored].filter(([name]) => !used.has(name) && !tensors.has(name))
  return rest.length > 0 ? new Map([...tensors, ...rest]) : tensors
}

/**
 * Reads the models of a recipe in one layout: that of the base, or that of the output. Everything after this, such as
 * renamed tensors, adapters and steps, uses the models as they are read.
 */
import type { Checkpoint } from '../../checkpoints/types.js'
import { changeJson } from '../../core/json/edit.js'
import type { Faults } from '../../language/faults.js'
import { FAMILIES } from '../../layouts/index.js'
import { certaintyOf, factsOf, formName, type Laid, type OwnForm, ownForm } from '../../layouts/model.js'
import { evidenceOf } from '../../layouts/recognise.js'
import type { Family, FamilyForm, Settings } from '../../layouts/types.js'
import type { OutputSpec, Recipe } from '../../recipe/types.js'
import { type Change, changed, type Reading, someOf, withRules } from './convert.js'
import { computedTogether } from './groups.js'
import { formsOf, type NamedForms, namedForms, namesOf, rulesOf } from './named.js'
import { refuseStatistics } from './statistics.js'
import { placed } from './storage.js'
import { refuseUnclear, refuseUndecided } from './unclear.js'
import { refuseParts, withoutOthers } from './whole.js'
import { unwrapped, wrapped } from './wrapped.js'

/** The layouts of a model: as it is stored, and as it is read where that differs. */
export interface ModelLayouts {
  readonly stored: readonly string[]
  readonly read?: readonly string[]
}

export interface LaidModels {
  /** As they are read. */
  readonly checkpoints: ReadonlyMap<string, Checkpoint>
  /** By model: only those with a layout that is certain. */
  readonly layouts: ReadonlyMap<string, ModelLayouts>
}

/** `whole`: the recipe that `recipe` is a part of. */
export function readLayouts(
  recipe: Recipe,
  whole: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  faults: Faults,
): LaidModels {
  const laid = new Map(checkpoints)
  const layouts = new Map<string, ModelLayouts>()
  for (const { base, models, outputs } of computedTogether(recipe, whole)) {
    // Rules of a recipe are about whole names.
    const inside = new Map(
      [base, ...models].flatMap((name) => {
        const own = checkpoints.get(name)
        const hasRules = rulesOf(recipe.models.get(name)?.layout).length > 0
        return own ? [[name, hasRules ? { wrapper: '', model: own } : unwrapped(own)]] : []
      }),
    )
    const stored = inside.get(base)?.model
    if (!stored) continue
    const configs = [base, ...models].map((name) => checkpoints.get(name)?.config)
    const reference = readBase(recipe, base, stored, outputs, configs, faults)
    if (!reference) continue
    const read = (name: string, model: ReadModel): void => {
      const { wrapper, model: given } = inside.get(name)!
      laid.set(name, model.checkpoint === given ? checkpoints.get(name)! : wrapped(wrapper, model.checkpoint))
      if (model.stored.length > 0)
        layouts.set(name, { stored: model.stored, ...(model.changes.length > 0 ? { read: model.read } : {}) })
    }
    read(base, reference)
    for (const name of models) {
      const own = inside.get(name)?.model
      if (!own || name === base) continue
      const found = readLike(recipe, name, own, { ...reference, name: base }, configs, faults)
      if (!found) continue
      read(name, found)
      const { statistics } = recipe.models.get(name)!
      if (statistics !== undefined)
        refuseStatistics(readingOf(recipe, name, faults), own, found.checkpoint, checkpoints.get(statistics))
    }
  }
  return { checkpoints: laid, layouts }
}

interface ReadModel {
  readonly checkpoint: Checkpoint
  /** The forms that it has now, by family, and whether the recipe names them. */
  readonly forms: ReadonlyMap<Family, OwnForm>
  readonly named: NamedForms
  readonly changes: readonly Change[]
  readonly stored: readonly string[]
  readonly read: readonly string[]
}

const readingOf = (recipe: Recipe, name: string, faults: Faults): Reading => ({
  ...{ recipe, name, faults },
  at: recipe.models.get(name)!.at,
})

/** The configurations of models that are computed with each other. */
type Configs = readonly (Settings | undefined)[]

/** The base: as it is stored, or in the layout of the outputs. Undefined if it is not whole. */
function readBase(
  recipe: Recipe,
  name: string,
  stored: Checkpoint,
  outputs: readonly OutputSpec[],
  configs: Configs,
  faults: Faults,
): ReadModel | undefined {
  const reading = readingOf(recipe, name, faults)
  const { layout } = recipe.models.get(name)!
  const written = withRules(reading, rulesOf(layout), stored)
  const named = namedForms(recipe, namesOf(layout), name, written, undefined, faults)
  const start = withoutOthers(reading, named, written)
  if (!refuseParts(reading, start, { named, configs, isBase: true })) return undefined
  const output = layoutOfOutputs(recipe, outputs, faults)
  const wanted = output ? formsOf(namedForms(recipe, output.layout!, name, start, undefined, faults)) : new Map()
  const changes: Change[] = []
  const forms = new Map<Family, OwnForm>()
  let model: Laid = start
  let config: Settings | undefined = stored.config
  for (const family of FAMILIES) {
    const own = named.get(family) ?? ownForm(family, model)
    const target = wanted.get(family)
    if (named.has(family)) refuseOther(reading, family, named, model)
    if (own && (named.has(family) || certaintyOf(family, stored.config))) forms.set(family, own)
    if (!target) continue
    if (!own) {
      refuseNone(reading, output!, family, model)
      continue
    }
    forms.set(family, own)
    if (own === target) continue
    const made = changed(reading, { family, from: own, to: target }, model)
    if (!made) continue
    refuseLeft(reading, output!, formName(family, target), made.left)
    changes.push({ family, from: own, to: target, left: made.left })
    forms.set(family, target)
    model = { ...model, tensors: made.tensors }
    config = configFor(reading, output!, target, config)
  }
  const before = new Map([...forms, ...changes.map(({ family, from }) => [family, from] as const)])
  const made = model === stored ? stored : { ...stored, tensors: model.tensors, ...rewritten(stored, config) }
  const checkpoint = output ? placedLike(reading, output, wanted, changes, made) : made
  return {
    checkpoint,
    forms,
    named: new Map([...named, ...wanted]),
    changes,
    stored: namesIn(before),
    read: namesIn(forms),
  }
}

/** The base as the layout of its output is stored. */
function placedLike(
  reading: Reading,
  output: OutputSpec,
  wanted: ReadonlyMap<Family, FamilyForm>,
  changes: readonly Change[],
  model: Checkpoint,
): Checkpoint {
  for (const [family, form] of wanted) {
    const moved = form.storage?.kind === 'file' || changes.some(({ to }) => to === form)
    if (form.storage && moved) return placed({ reading, output, layout: formName(family, form) }, form.storage, model)
  }
  return model
}

const namesIn = (forms: ReadonlyMap<Family, OwnForm>): string[] =>
  FAMILIES.flatMap((family) => (forms.has(family) ? [formName(family, forms.get(family)!)] : []))

/** A model that is computed with the base, in the layout that the base is read in. */
function readLike(
  recipe: Recipe,
  name: string,
  stored: Checkpoint,
  base: ReadModel & { readonly name: string },
  configs: Configs,
  faults: Faults,
): ReadModel | undefined {
  const reading = readingOf(recipe, name, faults)
  const { layout, at } = recipe.models.get(name)!
  const written = withRules(reading, rulesOf(layout), stored)
  const like = base.checkpoint
  const named = namedForms(recipe, namesOf(layout), name, written, like, faults)
  const start = withoutOthers(reading, named, written)
  if (!refuseParts(reading, start, { named: new Map([...base.named, ...named]), configs, isBase: false }))
    return undefined
  const config = stored.config ?? like.config
  const changes: Change[] = []
  const forms = new Map<Family, OwnForm>()
  let model: Laid = { ...start, config }
  for (const family of FAMILIES) {
    const certain = named.has(family) || base.named.has(family) || certaintyOf(family, stored.config, like.config)
    if (!certain) continue
    if (named.has(family)) refuseOther(reading, family, named, model)
    const own = named.get(family) ?? ownForm(family, model)
    const target = base.forms.get(family) ?? ownForm(family, like)
    if (certain === 'config') {
      if (target && !own) refuseUnfit(reading, family, target, { name, model })
      if (own && !target) refuseUnfit(reading, family, own, { name: base.name, model: { ...like, config } })
    }
    if (!own && target) refuseUndecided(reading, family, model, target, { ...like, name: base.name })
    if (own && !target) refuseUndecided({ ...reading, name: base.name, at }, family, like, own, { ...model, name })
    if (!own) continue
    forms.set(family, own)
    if (!target) {
      if (named.has(family)) refuseNone({ ...reading, name: base.name, at }, undefined, family, like)
      continue
    }
    if (own === target && own !== 'mixed') continue
    const made = changed(reading, { family, from: own, to: target }, model, { name: base.name, tensors: like.tensors })
    if (!made || made.tensors === model.tensors) continue
    changes.push({ family, from: own, to: target, left: made.left })
    forms.set(family, target)
    model = { ...model, tensors: made.tensors }
  }
  if (!faults.list.some(({ code }) => code === 'layout-misfit'))
    refuseUnclear(reading, model, { name: base.name, ...like }, (family) => forms.has(family))
  warnOfChanges(reading, base.name, changes, layout !== undefined)
  const before = new Map([...forms, ...changes.map(({ family, from }) => [family, from] as const)])
  return {
    checkpoint: model.tensors === stored.tensors ? stored : { ...stored, tensors: model.tensors },
    ...{ forms, named, changes, stored: namesIn(before), read: namesIn(forms) },
  }
}

/** The output whose layout the models are read in; undefined if none names one. Error: `contradiction`. */
function layoutOfOutputs(recipe: Recipe, outputs: readonly OutputSpec[], faults: Faults): OutputSpec | undefined {
  const [first] = outputs.filter(({ layout }) => layout !== undefined)
  if (!first) return undefined
  const text = ({ layout = [] }: OutputSpec): string => layout.map(({ name }) => name).join(', ')
  const other = outputs.find((output) => text(output) !== text(first))
  if (other)
    faults.error(
      'contradiction',
      `the outputs ${first.path} and ${other.path} need the same models in different layouts`,
      recipe.placeOf([...first.at, 'layout'], 'key'),
      'give them the same layout, and convert one of them afterwards: terge convert MODEL --layout NAME',
    )
  return first
}

/** The recipe names a form, but names and shapes say another one. */
function refuseOther({ recipe, name, at, faults }: Reading, family: Family, named: NamedForms, model: Laid): void {
  const found = ownForm(family, model)
  const said = named.get(family)!
  if (found === said || found === 'mixed') return
  if (!found && couldBe(family, model).some((form) => form === said)) return
  faults.error(
    'layout-misfit',
    found
      ? `${name} has the layout ${formName(family, found)}, not ${formName(family, said)}`
      : `${name} has no tensor of the layout ${formName(family, said)}`,
    recipe.placeOf([...at, 'layout']),
    found ? 'remove layout, or correct it' : 'terge inspect --layout shows what it has',
  )
}

function refuseNone(
  { recipe, name, at, faults }: Reading,
  output: OutputSpec | undefined,
  family: Family,
  model: Laid,
): void {
  const possible = couldBe(family, model).map((form) => formName(family, form))
  faults.error(
    'layout-unclear',
    possible.length > 0
      ? `nothing shows which layout ${name} has: ${possible.join(' or ')}`
      : `${name} has no tensor of the layouts ${family.forms.map((form) => formName(family, form)).join(' and ')}`,
    output ? recipe.placeOf([...output.at, 'layout']) : recipe.placeOf([...at, 'layout']),
    possible.length > 0
      ? `write it for the model: ${name}: {path: …, layout: ${possible[0]}}`
      : 'terge inspect --layout shows what it has',
  )
}

/** A model with the names of one form and other shapes, where the one that it is used with has another form. */
function refuseUnfit(
  { recipe, at, faults }: Reading,
  family: Family,
  other: OwnForm,
  { name, model }: { readonly name: string; readonly model: Laid },
): void {
  const { unfit } = evidenceOf(family, factsOf(model))
  if (!unfit || unfit === other) return
  const said = formName(family, unfit)
  faults.error(
    'layout-misfit',
    `${name} has tensors with the names of ${said}, but not with its shapes, and so they can't be read as ${formName(family, other)}`,
    recipe.placeOf(at, 'key'),
    `use a complete model; terge inspect --layouts shows the shapes of ${said}`,
    family.name,
  )
}

const couldBe = (family: Family, model: Laid) => evidenceOf(family, factsOf(model)).possible

/** Tensors that the layout of an output has no place for. Error: `no-place`. Warning: `dropped-tensors` if the recipe drops them. */
function refuseLeft(
  { recipe, name, faults }: Reading,
  output: OutputSpec,
  target: string,
  left: readonly string[],
): void {
  if (left.length === 0) return
  const message = `${left.length === 1 ? 'a tensor' : `${left.length} tensors`} of ${name} ${left.length === 1 ? 'has' : 'have'} no place in ${target}: ${someOf(left)}`
  const place = recipe.placeOf([...output.at, 'layout'])
  if (output.drop)
    faults.warn(
      'dropped-tensors',
      `${message}; terge drops ${left.length === 1 ? 'it' : 'them'}`,
      place,
      undefined,
      target,
    )
  else faults.error('no-place', message, place, 'to write the rest, add drop: true (terge convert: --drop)', target)
}

/** The configuration of a model in the form. Error: `layout-config`. */
function configFor(
  { recipe, name, faults }: Reading,
  output: OutputSpec,
  form: Change['to'],
  config: Settings | undefined,
): Settings | undefined {
  if (form === 'mixed' || !form.config || !config) return config
  const made = form.config(config)
  if (typeof made !== 'string') return made
  faults.error(
    'layout-config',
    `the configuration of ${name} can't be written for this layout: ${made}`,
    recipe.placeOf([...output.at, 'layout']),
    'write a single file, which has no configuration, or convert with the library that wrote the model',
  )
  return config
}

/** The checkpoint's configuration as changed: unchanged parts keep their text. */
function rewritten({ config, configText }: Checkpoint, wanted: Settings | undefined): Partial<Checkpoint> {
  if (!config || !wanted || wanted === config) return {}
  const text = changeJson(configText!, config, wanted)
  return text === undefined ? {} : { config: wanted, configText: text, newConfig: true }
}

/** Warnings: `other-layout` for a model that is read in another layout than it has, `dropped-tensors` for what it loses. */
function warnOfChanges(
  { recipe, name, at, faults }: Reading,
  base: string,
  changes: readonly Change[],
  known: boolean,
): void {
  const place = recipe.placeOf(at, 'key')
  const [first] = changes
  if (!first) return
  const text = (form: (change: Change) => OwnForm): string =>
    changes.map((change) => formName(change.family, form(change))).join(' and ')
  const [from, to] = [text((change) => change.from), text((change) => change.to)]
  const named =
    first.from === 'mixed'
      ? undefined
      : `to write this in the recipe: layout: ${changes.length > 1 ? `[${from.replaceAll(' and ', ', ')}]` : from}`
  if (!known)
    faults.warn(
      'other-layout',
      `the tensors of ${name} and ${base} have different layouts: terge reads ${from} as ${to}`,
      place,
      named,
    )
  const left = changes.flatMap((change) => change.left)
  if (left.length > 0)
    faults.warn(
      'dropped-tensors',
      `${base} has no place for ${left.length === 1 ? 'a tensor' : `${left.length} tensors`} of ${name}, which terge skips: ${someOf(left)}`,
      place,
    )
}

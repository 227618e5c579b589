import { byPlace } from '../checkpoints/order.js'
import type { Checkpoint } from '../checkpoints/types.js'
import { type Diagnostic, hasErrors } from '../core/diagnostics.js'
import { scopeBook } from '../expr/scopes.js'
import type { PlanFactoring } from '../expr/types.js'
import type { Value } from '../expr/values.js'
import { faults as newFaults } from '../language/faults.js'
import { lookupMethod } from '../methods/registry.js'
import { tokenizerModels } from '../recipe/tokenizer.js'
import type { Recipe } from '../recipe/types.js'
import { usesOf } from '../recipe/uses.js'
import { planExtract } from '../steps/extract/plan.js'
import type { Analysis, Step } from '../steps/index.js'
import { type Point, planPoints } from '../steps/interpolate/plan.js'
import { planMerge } from '../steps/merge/plan.js'
import { checkStatisticsFiles } from '../steps/merge/statistics.js'
import type { MergeStep } from '../steps/merge/types.js'
import { planRebasin } from '../steps/rebasin/plan.js'
import { planRepair } from '../steps/repair/plan.js'
import { planStack } from '../steps/stack/plan.js'
import type { TokenizerFiles } from '../tokenizers/types.js'
import { joinAdapters } from './adapter/among.js'
import { applyAdapters } from './adapter/apply.js'
import { checkDepths } from './depths.js'
import { planDigest } from './digest.js'
import { costOf, refuseAnalyses, refuseLargePlans, refuseTooLarge } from './limits.js'
import { modelValue } from './models/modelValue.js'
import { underBasePrefix } from './models/prefix.js'
import { renamedTensors } from './models/rename.js'
import { type Twins, tiedValues, withTied } from './models/tied.js'
import { type OutputContext, planOutput, planPointOutputs } from './outputs/output.js'
import { comparedModels, warnOfOtherTokens } from './tokens/otherTokens.js'
import { chatTemplate } from './tokens/template.js'
import type { Lexicon } from './tokens/tokenizer.js'
import { followTokens } from './tokens/tokenRows.js'
import { planVocabulary } from './tokens/vocabulary.js'
import type { Plan, PlanFile, PlanModel } from './types.js'

/** Warnings that tell a recipe's author something; whoever wrote a mergekit configuration meant just what it says. */
const UNSAID = ['list-is-gradient', 'never-applies', 'tied-head']

/**
 * Compiles a recipe into a plan: a pure function of the recipe and the models' headers.
 * `checkpoints` holds every model that `modelsOf(recipe)` names, and `files` the texts of the `TOKENIZER_FILES` of those that
 * `tokenizersNeeded` names. The plan is absent where there are errors. `whole`: what the recipe is a part of, which decides by
 * whose names tensors go.
 */
export function planRecipe(
  recipe: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  files: ReadonlyMap<string, TokenizerFiles> = new Map(),
  whole: Recipe = recipe,
  twins: Twins = new Map(),
): { plan?: Plan; diagnostics: readonly Diagnostic[] } {
  const faults = newFaults(recipe.converted ? UNSAID : [])
  const values = new Map<string, Value>()
  const models: PlanModel[] = []
  const planned: PlanFile[] = []
  const base = originOf(whole, whole.outputs[0]!.from)
  const anchors = anchorsOf(whole)
  const written = new Map(
    modelsOf(recipe).map((name) => [
      name,
      renamedTensors(recipe, recipe.models.get(name)!, checkpoints.get(name)!, faults),
    ]),
  )
  const whose = checkpoints.get(base)!
  const form = written.get(base) ?? renamedTensors(recipe, recipe.models.get(base)!, whose, faults)
  const reference = { name: base, named: form, config: whose.config }
  for (const [name, given] of written) {
    const checkpoint = checkpoints.get(name)!
    const source = recipe.models.get(name)!
    const revision = checkpoint.revision ?? source.revision
    // An adapter's names are of its own kind.
    const own = anchors.has(name) || source.companion === 'lora'
    const like = own ? given : underBasePrefix(recipe, source, given, reference, faults)
    const named =
      own || source.companion ? like : withTied(recipe, source, like, checkpoint.config, reference, twins, faults)
    values.set(name, modelValue(name, named, planned.length, checkpoint.config))
    const model = models.length
    models.push({ name, reference: checkpoint.reference, ...(revision === undefined ? {} : { revision }) })
    planned.push(...planFiles(checkpoint, model))
  }
  checkStatisticsFiles(recipe, checkpoints, values, faults)
  const modelOf = (file: number): string => models[planned[file]!.model]!.name
  const amendments = applyAdapters(recipe, values, checkpoints, modelOf, twins, faults)
  const split = new Set([...amendments].flatMap(([name, amendment]) => (amendment.split ? [name] : [])))
  const origins = new Map(recipe.outputs.map(({ from }) => [from, originOf(recipe, from)]))
  const unfit = joinAdapters(recipe, origins, values, checkpoints, faults)
  const participants = participantsOf(recipe)
  const vocabulary = planVocabulary(recipe, base, participants, values, checkpoints, files, faults)
  const followed = vocabulary && followTokens(recipe, vocabulary, faults)
  for (const [name, value] of followed?.values ?? []) values.set(name, value)
  const template = chatTemplate(recipe, participants, files, faults)
  const lexicon: Lexicon = { vocabulary, template, files, checkpoints }
  const steps: Plan['steps'][number][] = []
  const analyses: Analysis[] = []
  const scopes = scopeBook()
  const points = new Map<string, readonly Point[]>()
  const factorings: PlanFactoring[] = []
  /** Steps that have a fault, and what is built on them: it can't be judged without them. The rest is. */
  const lost = new Set(unfit)
  if (refuseLargePlans(recipe, (name) => values.get(originOf(recipe, name))?.tensors.size ?? 0, faults))
    return { diagnostics: faults.list }
  const configOf = (name: string) => checkpoints.get(name)?.config
  for (const step of recipe.steps) {
    if (lost.has(step.name) || usesOf(step).some((name) => lost.has(name))) {
      lost.add(step.name)
      continue
    }
    const read = tiedValues(recipe, step, values, configOf, twins, split, faults)
    if (step.kind === 'stack' || step.kind === 'rebasin' || step.kind === 'repair') {
      const value =
        step.kind === 'stack'
          ? planStack(recipe, step, values, configOf, faults)
          : step.kind === 'rebasin'
            ? planRebasin(recipe, step, values, configOf, analyses, faults)
            : planRepair(recipe, step, values, analyses, faults)
      if (value) values.set(step.name, value)
      else lost.add(step.name)
      steps.push({ name: step.name, kind: step.kind, patterns: [] })
      continue
    }
    if (step.kind === 'interpolate') {
      points.set(step.name, planPoints(recipe, step, read, configOf(values.get(step.from)!.origin), faults))
      steps.push({ name: step.name, kind: step.kind, patterns: [] })
      continue
    }
    if (step.kind === 'extract') {
      const { config } = checkpoints.get(values.get(step.base)!.origin)!
      const extraction = planExtract(recipe, step, read, config, factorings, faults)
      if (extraction) values.set(step.name, extraction.value)
      else lost.add(step.name)
      const { patterns = [], left } = extraction ?? {}
      steps.push({ name: step.name, kind: step.kind, patterns, ...(left ? { left } : {}) })
      continue
    }
    checkDepths(recipe, step, values, configOf, faults)
    const { value, patterns } = planMerge(recipe, step, read, configOf(values.get(step.base)!.origin), faults, scopes)
    values.set(step.name, value)
    steps.push({ name: step.name, kind: step.kind, patterns })
  }
  const context: OutputContext = {
    recipe,
    checkpoints,
    modelIndex: (name) => models.findIndex((model) => model.name === name),
    modelOf,
    amendments,
    lexicon,
    faults,
  }
  const outputs = recipe.outputs.flatMap((spec, index) => {
    if (lost.has(spec.from)) return []
    const path = points.get(spec.from)
    const step = recipe.steps.find(({ name }) => name === spec.from)
    return path && step?.kind === 'interpolate'
      ? planPointOutputs(context, spec, index, step, path)
      : [planOutput(context, spec, index, values.get(spec.from)!)]
  })
  if (hasErrors(faults.list)) return { diagnostics: faults.list }
  if (!vocabulary) warnOfOtherTokens(recipe, outputs, context.modelOf, (from) => originOf(recipe, from), files, faults)
  refuseAnalyses(recipe, analyses, faults)
  if (hasErrors(faults.list)) return { diagnostics: faults.list }
  const work = { compute: recipe.compute, files: planned, outputs, analyses, scopes: scopes.list, factorings }
  const cost = costOf(work)
  refuseTooLarge(recipe, work, cost, faults)
  if (hasErrors(faults.list)) return { diagnostics: faults.list }
  const draft: Omit<Plan, 'digest'> = {
    plan: 1,
    seed: recipe.seed,
    models,
    ...work,
    steps,
    cost,
    ...(followed ? { tokenizer: followed.record } : {}),
    warnings: [...recipe.warnings, ...faults.list],
  }
  return { plan: deepFreeze({ ...draft, digest: planDigest(draft) }), diagnostics: faults.list }
}

function planFiles(checkpoint: Checkpoint, model: number): PlanFile[] {
  const tensors = checkpoint.files.map((): { name: string; offset: number; bytes: number }[] => [])
  for (const { name, file, offset, bytes } of checkpoint.tensors.values()) tensors[file]!.push({ name, offset, bytes })
  return checkpoint.files.map(({ name, size, headerBytes, headerDigest }, index) => ({
    model,
    name,
    size,
    headerBytes,
    headerDigest,
    tensors: tensors[index]!.sort(byPlace),
  }))
}

/** Models and steps that a recipe's outputs are made of. */
const usedBy = (recipe: Recipe): Set<string> =>
  new Set([...recipe.outputs.map((output) => output.from), ...recipe.steps.flatMap(usesOf)])

/** Models that outputs are made of, in the recipe's order. */
function participantsOf(recipe: Recipe): string[] {
  const used = usedBy(recipe)
  return [...recipe.models.keys()].filter((name) => used.has(name))
}

/** The models that a recipe's outputs need, in the recipe's order. */
export function modelsOf(recipe: Recipe): string[] {
  const used = usedBy(recipe)
  for (const name of recipe.steps.flatMap((step) => (step.kind === 'merge' ? statisticsOf(recipe, step) : [])))
    used.add(name)
  for (const name of tokenizerModels(recipe.tokenizer, recipe.chatTemplate, recipe.models)) used.add(name)
  const adapters = new Set([...used].map((name) => recipe.models.get(name)?.lora))
  return [...recipe.models.keys()].filter((name) => used.has(name) || adapters.has(name))
}

/** The models whose tokenizers planning has to see. */
export function tokenizersNeeded(recipe: Recipe, checkpoints: ReadonlyMap<string, Checkpoint>): readonly string[] {
  const { tokenizer, chatTemplate } = recipe
  return tokenizer !== undefined || chatTemplate !== undefined
    ? [...checkpoints.keys()]
    : comparedModels(recipe, checkpoints)
}

/**
 * The model whose config and tokenizer go with a model's or a step's result. Of a recipe with faults it may be no model's name.
 */
export function originOf(recipe: Recipe, name: string): string {
  const steps = new Map(recipe.steps.map((step) => [step.name, step]))
  let origin = name
  for (let step = steps.get(name); step; step = steps.get(origin)) {
    // Steps with faults may go in circles: each is passed once.
    steps.delete(step.name)
    origin = formOf(step)
  }
  return origin
}

/** Whose form a step's result has. */
function formOf(step: Step): string {
  switch (step.kind) {
    case 'merge':
    case 'extract':
      return step.base
    case 'rebasin':
    case 'repair':
      return step.model
    case 'interpolate':
      return step.from
    case 'stack':
      return step.slices[0]?.model ?? ''
  }
}

/** Models whose own names are those of a result; all others are read under the base's. */
function anchorsOf(recipe: Recipe): Set<string> {
  const bases = recipe.steps.flatMap((step) => (step.kind === 'merge' || step.kind === 'extract' ? [step.base] : []))
  return new Set([...bases, ...recipe.outputs.map(({ from }) => from)].map((name) => originOf(recipe, name)))
}

/** Files of statistics that a merge's methods need. */
export const statisticsOf = (recipe: Recipe, step: MergeStep): string[] =>
  [step.settings, ...step.rules.map(({ settings }) => settings)]
    .filter(({ method }) => lookupMethod(method)?.statistics)
    .flatMap(({ models }) => models.flatMap((model) => recipe.models.get(model)?.statistics ?? []))

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) deepFreeze(inner)
  }
  return value
}

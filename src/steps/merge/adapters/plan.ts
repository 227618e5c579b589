/**
 * Plans a merge of adapters with each other. It computes on what adapters change, ΔW = s·B·A, and needs no base model. A
 * module that an adapter lacks counts as ΔW = 0.
 */
import { nestedModule } from '../../../adapters/peft/methods/experts.js'
import type { Update } from '../../../adapters/types.js'
import { COPY_REASONS } from '../../../core/reasons.js'
import { quote } from '../../../core/suggest.js'
import type { AdapterModule, Value, ValueTensor } from '../../../expr/values.js'
import { lookupMethod } from '../../../methods/registry.js'
import { onAdapters } from '../../../methods/shared/adapters.js'
import type { Method } from '../../../methods/types.js'
import { type LayerPlace, layerPlaces } from '../../../networks/layers.js'
import { factorNames, moduleOf } from '../../../networks/modules.js'
import { patternBook } from '../../shared/patterns.js'
import type { PlanContext, PlannedStep, ReadAdapter } from '../../types.js'
import { blocksFor } from '../blocks.js'
import { checkParameters, checkWeightSum } from '../checks.js'
import { resolveParameters, resolveWeights } from '../resolve.js'
import type { MergeStep } from '../types.js'
import { isChanged, mergeBias, mergeWhole, sameCopy } from './beside.js'
import { completeBiases } from './biases.js'
import { mergedConfig } from './config.js'
import { factored, isFactorable } from './dense.js'
import { inOneFormat, KOHYA } from './formats.js'
import type { Mixture } from './mixture.js'
import { type Changed, changedBy } from './modules.js'
import { haveSameNorms, normsOf } from './norms.js'
import { savedAs } from './saved.js'
import { tiesHeads } from './tying.js'
import { isDense, type MergedWeight, type Weighing } from './weighing.js'
import { mergeWeight, resultRank } from './weights.js'

/** Errors: those of `changedBy`, `mixtureOf`, `mergeWhole` and patterns; `nothing-to-merge`. Warning: `adapter-factors`. */
export function planAdapterMerge(step: MergeStep, context: PlanContext): PlannedStep {
  const { recipe, values, faults } = context
  const names = [...new Set([...(step.baseWritten ? [step.base] : []), ...modelsOf(step)])]
  const same = sameAdapter(step, values)
  if (same) return { value: sameValue(same, step, context.adapters.get(same.name)!) }
  const given = new Map(names.map((name) => [name, context.adapters.get(name)!]))
  const adapters = inOneFormat(step, given, context)
  if (!adapters) return {}
  const changed = changedBy(adapters, faults, (name) => recipe.placeOf(recipe.models.get(name)!.at))
  if (!changed) return {}
  const targets = namesIn(changed)
  const book = patternBook(step)
  const places = placesOf(step, changed, context)
  const left = new Map<string, string>()
  const rules = new Map<string, number>()
  for (const target of targets) {
    const decision = book.decide(target, true)
    if (decision.kind === 'copy') left.set(target, COPY_REASONS[decision.reason])
    else rules.set(target, decision.rule)
  }
  const patterns = book.close(recipe, targets, faults)
  if (patterns.some(({ matches }) => matches === 0)) return {}
  const merger: Merger = { step, context, places }
  const merged = mergeAll(merger, changed, rules, left)
  if (!merged) return {}
  warnOfFactors(step, context)
  return { value: adapterValue(step, adapters, changed, merged), patterns, left: Object.fromEntries(left) }
}

const namesIn = ({ weights, biases, differences, whole }: Changed): string[] => [
  ...weights.keys(),
  ...biases.keys(),
  ...differences.keys(),
  ...whole.keys(),
]

const modelsOf = ({ settings, rules }: MergeStep): string[] =>
  [settings, ...rules.map((rule) => rule.settings)].flatMap(({ models }) => models)

interface Merger {
  readonly step: MergeStep
  readonly context: PlanContext
  readonly places: (target: string) => LayerPlace
}

/** What the result consists of. */
interface Merged {
  readonly weights: readonly MergedWeight[]
  /** By module: the norms of DoRA. */
  readonly norms: ReadonlyMap<string, ValueTensor>
  readonly biases: ReadonlyMap<string, ValueTensor>
  /** By stored name. */
  readonly differences: ReadonlyMap<string, ValueTensor>
  /** Tensors that are saved whole, by name in the network. */
  readonly whole: ReadonlyMap<string, ValueTensor>
  /** Whether heads follow embeddings. */
  readonly ties: boolean | undefined
}

/** The layers of the network, as far as the names of changed weights show them. */
function placesOf(step: MergeStep, changed: Changed, { recipe, faults }: PlanContext): (target: string) => LayerPlace {
  const tensors = new Map<string, ValueTensor>()
  for (const name of namesIn(changed))
    tensors.set(name, {
      dtype: 'F32',
      shape: [],
      expr: { kind: 'computed', step: step.name, tensor: name, shape: [], inputs: [] },
    })
  const network: Value = { name: step.name, tensors, origin: step.base }
  const inLayers = layerPlaces(network, undefined)
  const blocks = blocksFor(recipe, step, network, faults)
  return blocks ? (target) => ({ ...inLayers(target), block: blocks.of(target) }) : inLayers
}

/** Undefined after an error. `left`: gets what is not in the result. */
function mergeAll(
  merger: Merger,
  changed: Changed,
  rules: ReadonlyMap<string, number>,
  left: Map<string, string>,
): Merged | undefined {
  const { step, context } = merger
  const ranked: Ranked[] = []
  const biases = new Map<string, ValueTensor>()
  const differences = new Map<string, ValueTensor>()
  const whole = new Map<string, ValueTensor>()
  let sound = true
  const mix = (target: string): Mixture | undefined => {
    const mixture = mixtureOf(merger, target, rules.get(target)!)
    if (!mixture) sound = false
    return mixture
  }
  for (const [target, weight] of changed.weights) {
    const mixture = rules.has(target) ? mix(target) : undefined
    if (!mixture) continue
    const weighing = { context, step, mixture, target, weight }
    const rank = resultRank(weighing)
    if (rank === undefined) left.set(target, NO_CHANGE)
    else if (isDense(weighing) && !isFactorable(weighing)) return undefined
    else ranked.push({ ...weighing, rank })
  }
  if (!haveSameNorms(step, ranked, context)) return undefined
  const norms = new Map<string, ValueTensor>()
  for (const one of ranked) {
    const own = normsOf(one)
    if (own) norms.set(one.weight.module, own)
  }
  const weights = ranked.map((one) =>
    isDense(one) ? factored(one, one.rank) : mergeWeight(one, storedRank(one, ranked)),
  )
  const scaleOf = new Map(weights.map(({ module, scale }) => [module, scale]))
  for (const [target, bias] of changed.biases) {
    const mixture = rules.has(target) ? mix(target) : undefined
    const scale = scaleOf.get(bias.module)
    if (mixture && scale !== undefined && isChanged(mixture, bias))
      biases.set(bias.module, mergeBias(step, mixture, bias, scale))
    else if (mixture) left.set(target, NO_CHANGE)
  }
  for (const [target, difference] of changed.differences) {
    const mixture = rules.has(target) ? mix(target) : undefined
    if (mixture && isChanged(mixture, difference)) differences.set(target, mergeBias(step, mixture, difference, 1))
    else if (mixture) left.set(target, NO_CHANGE)
  }
  if (biases.size > 0 && !completeBiases(step, context, changed, weights, biases)) sound = false
  for (const [target, copies] of changed.whole) {
    const mixture = rules.has(target) ? mix(target) : undefined
    const isBeneath = changed.beneath.has(target) && changed.weights.has(target)
    // Without an update, the weight of the base beneath it is not a change.
    if (!mixture || (isBeneath && left.has(target))) continue
    const tensor =
      (isBeneath && sameCopy(context, mixture, copies)) || mergeWhole(context, step, mixture, target, copies)
    if (tensor) whole.set(target, tensor)
    else sound = false
  }
  if (sound && weights.length + differences.size === 0) {
    const why = [...new Set(left.values())].join(', ')
    context.faults.error(
      'nothing-to-merge',
      `no module of the adapters can be merged: ${why}`,
      context.recipe.placeOf(step.at, 'key'),
      'widen filters, or give an adapter a weight that is not 0',
    )
    sound = false
  }
  const ties = tiesHeads(step, context, ranked)
  return sound && ties !== 'mixed' ? { weights, norms, biases, differences, whole, ties } : undefined
}

interface Ranked extends Weighing {
  readonly rank: number
}

/** The rank in the configuration: parameters of one stack of experts have the same one, the largest. */
function storedRank({ rank, weight }: Ranked, all: readonly Ranked[]): number {
  if (weight.experts === undefined) return rank
  const stack = moduleOf(weight.module).module
  const beside = all.filter((one) => one.weight.experts !== undefined && moduleOf(one.weight.module).module === stack)
  return Math.max(...beside.map((one) => one.rank))
}

const NO_CHANGE = 'no merged adapter changes it'

/**
 * How one tensor is merged. Errors: `adapter-method` if the method does not work on adapters, and those of weights and
 * parameters.
 */
function mixtureOf({ step, context, places }: Merger, target: string, rule: number): Mixture | undefined {
  const { recipe, faults } = context
  const settings = rule < 0 ? step.settings : step.rules[rule]!.settings
  const method = lookupMethod(settings.method)!
  const how = onAdapters(method)
  if (how.kind === 'refused') {
    faults.error(
      'adapter-method',
      `${method.name} can’t merge adapters: ${how.why}`,
      recipe.placeOf(settings.at, 'key'),
      'apply each adapter to the base ({path: BASE, lora: ADAPTER}), and merge the models',
    )
    return undefined
  }
  const base = baseOf(method, step)
  const models = settings.models.filter((name) => !(base.kind === 'adapter' && base.apart && name === base.name))
  const place = places(target)
  const weights = method.weights ? resolveWeights(settings, models, place) : models.map(() => 1)
  const parameters = resolveParameters(method, settings, models, place)
  checkWeightSum({ recipe, faults }, settings, method, target, models, weights, parameters)
  checkParameters({ recipe, faults }, settings, method, { models, weights, parameters })
  return { method, how, base, models, weights, parameters, rule }
}

/** The adapter that changes are compared with. Methods on task vectors need none: without an adapter, ΔW is 0. */
function baseOf(method: Method, { base, baseWritten, settings, rules }: MergeStep): Mixture['base'] {
  if (method.base === 'none') return { kind: 'none' }
  if (method.base === 'required') return baseWritten ? { kind: 'adapter', name: base, apart: true } : { kind: 'zero' }
  if (method.base === 'listed') return { kind: 'adapter', name: base, apart: true }
  const listed = [settings, ...rules.map((one) => one.settings)].some(({ models }) => models.includes(base))
  return baseWritten && !listed ? { kind: 'adapter', name: base, apart: true } : { kind: 'none' }
}

const OUTSIDE: LayerPlace = { layer: undefined, count: 0 }

/**
 * The one adapter that is the result, unchanged, bit for bit: the only one with a weight, which is 1. Undefined if there
 * is more to do.
 */
function sameAdapter(
  { settings, rules, filters, dtype, rank, energy, baseWritten, base }: MergeStep,
  values: PlanContext['values'],
) {
  const method = lookupMethod(settings.method)!
  const how = onAdapters(method)
  const others =
    rules.length + filters.include.length + filters.exclude.length > 0 ||
    dtype ||
    typeof rank === 'number' ||
    energy !== undefined
  if (how.kind !== 'sum' || others || (method.base === 'required' && baseWritten && !settings.models.includes(base)))
    return undefined
  const gradients = settings.weights.some((weight) => 'blocks' in weight || weight.length !== 1)
  if (gradients || [...settings.parameters.values()].some(({ value }) => value.kind === 'gradient')) return undefined
  const { models } = settings
  const weights = resolveWeights(settings, models, OUTSIDE)
  const parameters = resolveParameters(method, settings, models, OUTSIDE)
  const used = how.coefficients({ weights, parameters }).flatMap((factor, i) => (factor === 0 ? [] : [{ factor, i }]))
  return used.length === 1 && used[0]!.factor === 1 ? values.get(models[used[0]!.i]!) : undefined
}

/** An adapter as the result, unchanged. */
function sameValue(same: Value, { name }: MergeStep, adapter: ReadAdapter): Value {
  if (adapter.format === KOHYA) return { ...same, name, adapterFormat: 'kohya' }
  const modules = modulesIn(same, adapter)
  return { ...same, name, ...(modules ? { modules } : {}) }
}

/** The modules of an adapter as it is stored. Undefined if its updates are more than the factors that it stores. */
function modulesIn({ tensors }: Value, { content }: ReadAdapter): AdapterModule[] | undefined {
  const names = new Map([...tensors].map(([name, tensor]) => [tensor, name]))
  const weights = content.updates.filter(({ kind }) => kind !== 'bias')
  const isPlain = ({ kind, parts, start, magnitude }: Update): boolean =>
    (kind === 'lora' || kind === 'experts') &&
    Object.keys(parts).every((role) => role === 'a' || role === 'b') &&
    !start &&
    !magnitude
  if (!weights.every(isPlain)) return undefined
  return weights.map(({ kind, module, embedding, parts, scale, rank = parts.a!.shape[0]! }) => ({
    ...{ module, kind: kind === 'lora' && !embedding ? 'layer' : 'other', rank, scale },
    ...{ a: names.get(parts.a!)!, b: names.get(parts.b!)! },
  }))
}

/** The tensors of the adapter, in PEFT's form, and its configuration. */
function adapterValue(
  step: MergeStep,
  adapters: ReadonlyMap<string, ReadAdapter>,
  changed: Changed,
  { weights, norms, biases, differences, whole, ties }: Merged,
): Value {
  const named: (readonly [string, ValueTensor])[] = []
  const modules: AdapterModule[] = []
  for (const { module, embedding, experts, a, b, rank, scale } of weights) {
    const names = factorNames(
      { kind: embedding ? 'embedding' : 'linear', turned: embedding },
      experts === undefined ? module : nestedModule(module, parametersOf(weights)),
    )
    named.push([names.a, a], [names.b, b])
    const kind = embedding || experts !== undefined ? 'other' : 'layer'
    modules.push({ module, kind, ...names, rank, scale })
  }
  for (const [module, tensor] of biases) named.push([`${PREFIX}${module}.lora_B.bias`, tensor])
  const isKohya = [...adapters.values()][0]!.format === KOHYA
  for (const [module, tensor] of norms)
    named.push([isKohya ? `${module}.dora_scale` : `${PREFIX}${module}.lora_magnitude_vector`, tensor])
  named.push(...differences)
  const configs = [...adapters.values()].map(({ config }) => config ?? {})
  const updated = new Set(weights.map(({ module }) => module))
  const saved = savedAs([...whole.keys()], [...changed.whole.keys()], updated, configs)
  for (const [name, tensor] of whole) named.push([`${PREFIX}${saved.names.get(name)!}`, tensor])
  const left = [...changed.weights.values()].flatMap(({ module }) => (updated.has(module) ? [] : [module]))
  const [origin] = adapters.keys()
  return {
    name: step.name,
    tensors: new Map(named.sort(([a], [b]) => (a < b ? -1 : 1))),
    origin: origin!,
    modules,
    ...(isKohya ? { adapterFormat: 'kohya' as const } : {}),
    adapter: mergedConfig(configs, weights, {
      ...{ saved, left, ties, hasBiases: biases.size > 0, isDora: norms.size > 0 },
    }),
  }
}

/** The parameters of stacks of experts in the result. */
const parametersOf = (weights: readonly MergedWeight[]): string[] =>
  weights.flatMap(({ module, experts }) => (experts === undefined ? [] : [module]))

const PREFIX = 'base_model.model.'

/** Recipes of older versions averaged factors, which is another result. A recipe that names a rank is newer. */
function warnOfFactors({ settings, rank, energy, at, name }: MergeStep, { recipe, faults }: PlanContext): void {
  if (rank !== undefined || energy !== undefined || lookupMethod(settings.method)?.base === 'required') return
  faults.warn(
    'adapter-factors',
    `${quote(name)} merges what the adapters do, exactly: earlier versions of terge averaged the factors A and B instead`,
    recipe.placeOf(at, 'key'),
    'the ranks add up: write rank: N for a smaller result, or rank: full to confirm this one',
  )
}

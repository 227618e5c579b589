import { sharer } from '../../core/collections/share.js'
import { sameShape } from '../../core/dtypes.js'
import { type AbsentReason, COPY_REASONS, type CopyReason } from '../../core/reasons.js'
import { quote } from '../../core/suggest.js'
import { counted, plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { ScopeBook } from '../../expr/scopes.js'
import type { CropExpr, MergeExpr, PatternCount } from '../../expr/types.js'
import { stackedLike, type Value, type ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import type { Method } from '../../methods/types.js'
import type { Config } from '../../networks/layerCounts.js'
import { type LayerPlace, layerPlaces } from '../../networks/layers.js'
import { packedOf, refusePacked } from '../../networks/packed.js'
import { patternBook } from '../shared/patterns.js'
import { type Unmerged, unmergedBook } from '../shared/unmerged.js'
import { blocksFor } from './blocks.js'
import { checkParameters, checkWeightSum } from './checks.js'
import { commonRows, mergeRows, sameColumns, withRest } from './crop.js'
import { methodOf } from './formula/formed.js'
import { resolveParameters, resolveWeights } from './resolve.js'
import { refuseForeignGrams, statisticsFor } from './statistics.js'
import type { MergeSettings, MergeStep } from './types.js'

interface Context {
  readonly recipe: RecipeHead
  readonly step: MergeStep
  readonly base: Value
  readonly values: ReadonlyMap<string, Value>
  readonly placeOf: (name: string) => LayerPlace
  readonly faults: Faults
  readonly scopes: ScopeBook
  /** By name of the model or step. */
  readonly packed: (name: string) => ReadonlyMap<string, string>
  /** Models with packed weights that were reported. */
  readonly refused: Set<string>
  /** By model: whether it contributes to any tensor. */
  readonly parts: Map<string, boolean>
  /** By model with Gram matrices: whether its file has one for any merged matrix, of any shape. */
  readonly grams: Map<string, boolean>
  readonly unmerged: Unmerged
  /** Settings are shared between tensors. */
  readonly share: <T>(value: T) => T
}

/**
 * Plans a merge: every tensor of the base, merged or copied. `config`: the configuration of the base, which gives the
 * number of layers.
 */
export function planMerge(
  recipe: RecipeHead,
  step: MergeStep,
  values: ReadonlyMap<string, Value>,
  config: Config | undefined,
  faults: Faults,
  scopes: ScopeBook,
): { value: Value; patterns: readonly PatternCount[] } {
  const base = values.get(step.base)!
  const names = [...base.tensors.keys()]
  const known = new Map<string, ReadonlyMap<string, string>>()
  const packed = (name: string): ReadonlyMap<string, string> => {
    const found = known.get(name) ?? packedOf(values.get(name)!)
    known.set(name, found)
    return found
  }
  const refused = new Set<string>()
  const blocks = blocksFor(recipe, step, base, faults)
  const inLayers = layerPlaces(base, config)
  const context: Context = {
    recipe,
    step,
    base,
    values,
    placeOf: blocks ? (name) => ({ ...inLayers(name), block: blocks.of(name) }) : inLayers,
    faults,
    scopes,
    packed,
    refused,
    parts: new Map(),
    grams: new Map(),
    unmerged: unmergedBook(
      recipe,
      { name: step.name, at: step.at, keep: step.onMissing === 'keep', canKeep: true, base, values, config },
      faults,
    ),
    share: sharer(),
  }
  const book = patternBook(step)
  const tensors = new Map<string, ValueTensor>()
  const reasons = new Map<CopyReason, number>()
  let merged = 0
  for (const [name, tensor] of base.tensors) {
    const decision = book.decide(name, isFloat(tensor.dtype))
    const copy = (reason: CopyReason): ValueTensor => {
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
      return { dtype: tensor.dtype, shape: tensor.shape, expr: tensor.expr, reason }
    }
    if (decision.kind === 'copy') tensors.set(name, copy(isFloat(tensor.dtype) ? decision.reason : INTEGER))
    else if (isKept(context, name, decision.rule)) tensors.set(name, copy(KEPT))
    else if (refusedAsPacked(context, name, decision.rule)) continue
    else if (!isFloat(tensor.dtype)) tensors.set(name, copy(INTEGER))
    else {
      const result = mergeTensor(context, name, tensor, decision.rule)
      if (result.reason === undefined) merged++
      tensors.set(name, result.reason === undefined ? result : { ...copy(result.reason), ...absentOf(result) })
    }
  }
  const patterns = book.close(recipe, names, faults)
  warnOfLists(context)
  refuseForeignGrams(recipe, step, context.grams, faults)
  if (merged > 0) {
    warnOfIdle(context)
    // Not if each missing tensor is already an error, or if packed weights were reported: their names match nothing.
    if (!refusesAbsent(step) && refused.size === 0) context.unmerged.close()
  }
  const unmatched = patterns.some((pattern) => pattern.matches === 0)
  if (merged === 0 && !unmatched && refused.size === 0 && !reasons.has(KEPT)) {
    const why = [...reasons]
      .map(([reason, count]) => `${counted(count, 'tensor')} (${COPY_REASONS[reason]})`)
      .join(', ')
    const place = recipe.placeOf(step.at, 'key')
    const hint = `copied from base: ${why}${exampleOf(step, tensors, values)}`
    faults.error('nothing-to-merge', `no tensor of ${step.base} can be merged`, place, hint)
  }
  return { value: { name: step.name, tensors, origin: base.origin, ...stackedLike(base) }, patterns }
}

const INTEGER = 'not-float'
const KEPT = 'packed'

/** The base itself, passed through. Nothing is computed, so it may be packed. */
function isKept({ step, base, packed }: Context, name: string, rule: number): boolean {
  if (!packed(step.base).has(name)) return false
  const { method, models, parameters } = rule < 0 ? step.settings : step.rules[rule]!.settings
  return method === 'passthrough' && models.every((model) => model === base.name) && parameters.size === 0
}

/** Reports packed weights of the base or of a merged model, once per model. Error: `packed-weights`. */
function refusedAsPacked(
  { recipe, step, values, packed, refused, faults }: Context,
  name: string,
  rule: number,
): boolean {
  const { models } = rule < 0 ? step.settings : step.rules[rule]!.settings
  const found = [step.base, ...models].filter((model) => packed(model).has(name))
  for (const model of found.filter((model) => !refused.has(model))) {
    refused.add(model)
    refusePacked(recipe, values.get(model)!, packed(model), name, step.at, faults)
  }
  return found.length > 0
}

const absentOf = ({ absent }: ValueTensor): Pick<ValueTensor, 'absent'> => (absent ? { absent } : {})

/** Where a model differs from the base, for a hint. */
function exampleOf(step: MergeStep, tensors: ReadonlyMap<string, ValueTensor>, values: Context['values']): string {
  const found = [...tensors].find(([, { absent }]) => absent?.length)
  if (!found) return ''
  const [name, own] = found
  const { model } = own.absent![0]!
  const other = values.get(model)!.tensors.get(name)
  return other
    ? `; ${name} is ${formOf(other)} in ${model} but ${formOf(own)} in ${step.base}`
    : `; ${model} has no ${name}`
}

const formOf = ({ dtype, shape }: ValueTensor): string => `${dtype}[${shape.join(', ')}]`

function mergeTensor(context: Context, name: string, tensor: ValueTensor, rule: number): ValueTensor {
  const { recipe, step, base, values } = context
  const settings = rule < 0 ? step.settings : step.rules[rule]!.settings
  const method = methodOf(settings)
  if (!method) throw new Error(`internal: method ${settings.method} is not in the registry`)
  const absent: { model: string; reason: AbsentReason }[] = []
  const listed = candidates(method, settings, step.base)
  const own: ValueTensor[] = []
  const present = listed.filter((model) => {
    const other = values.get(model)!.tensors.get(name)
    const reason: AbsentReason | undefined = !other
      ? 'missing'
      : !isFloat(other.dtype)
        ? 'dtype'
        : sameShape(other.shape, tensor.shape) || (step.onMismatch === 'crop' && sameColumns(other.shape, tensor.shape))
          ? undefined
          : 'shape'
    if (reason) {
      absent.push({ model, reason })
      reportAbsent(context, name, model, reason)
    } else own.push(other!)
    return reason === undefined
  })
  for (const model of listed) context.parts.set(model, context.parts.get(model) === true || present.includes(model))
  const note = absent.length > 0 ? { absent } : {}
  const { needed } = method.models
  const few = present.length < (needed === 'all' ? listed.length : Math.min(needed, listed.length))
  context.unmerged.note(name, tensor, listed, absent, few)
  if (few) {
    return { ...tensor, reason: 'too-few', ...note }
  }
  const shapes = own.map(({ shape }) => shape)
  const place = context.placeOf(name)
  const weights = method.weights ? resolveWeights(settings, present, place) : present.map(() => 1)
  const parameters = resolveParameters(method, settings, present, place)
  checkWeightSum(context, settings, method, name, present, weights, parameters)
  checkParameters(context, settings, method, { models: present, weights, parameters })
  const onBase =
    method.base === 'required' ||
    method.base === 'listed' ||
    (method.base === 'optional' && step.baseWritten && !settings.models.includes(step.base))
  const expr: MergeExpr = {
    kind: 'merge',
    step: step.name,
    method: method.name,
    models: context.share(present),
    weights: context.share(weights),
    parameters: context.share(parameters),
    inputs: own.map(({ expr }) => expr),
    ...(onBase ? { base: base.tensors.get(name)!.expr } : {}),
    ...statisticsFor(context, settings, method.statistics, present, name),
    ...(roundedTo(recipe, step) ?? {}),
  }
  return {
    dtype: tensor.dtype,
    shape: tensor.shape,
    expr: joined(context, method, expr, name, tensor, shapes),
    rule,
    ...note,
  }
}

/** The merge in its scope, cropped if the models have other numbers of rows, and after the merge that its method starts from. */
function joined(
  { scopes, share }: Context,
  method: Method,
  expr: MergeExpr,
  name: string,
  tensor: ValueTensor,
  shapes: readonly (readonly number[])[],
): MergeExpr | CropExpr {
  const { shape } = tensor
  const whole = shapes.every((other) => sameShape(other, shape))
  const join = (one: MergeExpr, of: typeof shapes): MergeExpr =>
    whole ? scopes.join(one, name, shape) : scopes.join(mergeRows(one, shape, of), name, commonRows(shape, of))
  const inner = method.inner?.(expr.parameters)
  if (!inner) return whole ? join(expr, shapes) : withRest(join(expr, shapes), tensor, shapes)
  const { rounded: _, ...exact } = expr
  const first = join({ ...exact, method: inner.method, parameters: share(inner.parameters) }, shapes)
  const outer: MergeExpr = {
    ...expr,
    parameters: share(inner.own),
    inputs: [first, ...expr.inputs],
    models: share([expr.step, ...expr.models]),
    weights: share([1, ...expr.weights]),
  }
  const all = [shape, ...shapes]
  return whole ? join(outer, all) : withRest(join(outer, all), tensor, all)
}

/** The rounding dtype of a merge, or undefined if it loses nothing of the compute type. */
const roundedTo = ({ compute }: RecipeHead, { dtype }: MergeStep): Pick<MergeExpr, 'rounded'> | undefined =>
  dtype === undefined || dtype === 'F64' || (dtype === 'F32' && compute === 'float32') ? undefined : { rounded: dtype }

const refusesAbsent = ({ onMissing, onMismatch }: MergeStep): boolean => onMissing === 'error' && onMismatch === 'error'

/** Methods on differences skip the base even if it is listed: its difference is 0 and its weight never counts. */
const candidates = (method: Method, settings: MergeSettings, base: string): readonly string[] =>
  method.base === 'required' || method.base === 'listed'
    ? settings.models.filter((model) => model !== base)
    : settings.models

function reportAbsent(
  { recipe, step, faults, base, values }: Context,
  name: string,
  model: string,
  reason: AbsentReason,
) {
  const place = (key: string) => recipe.placeOf([...step.at, key], 'key')
  if (reason === 'missing' && step.onMissing === 'error') {
    faults.error(
      'missing-tensor',
      `${model} has no tensor ${name}, which base ${step.base} has`,
      place('on_missing'),
      'write on_missing: copy to merge the rest',
      model,
    )
  }
  if (reason !== 'missing' && step.onMismatch === 'error') {
    const other = values.get(model)!.tensors.get(name)!
    const own = base.tensors.get(name)!
    const message = `${name} is ${formOf(other)} in ${model} but ${formOf(own)} in base ${step.base}`
    const rows = reason === 'shape' && sameColumns(other.shape, own.shape)
    const hint = `write on_mismatch: copy to merge the rest${rows ? ', or crop to merge the rows that all models have' : ''}`
    faults.error('tensor-mismatch', message, place('on_mismatch'), hint, model)
  }
}

const perModel = (settings: MergeSettings, name: string): boolean =>
  methodOf(settings)?.parameters.some((parameter) => parameter.name === name && parameter.perModel === true) ?? false

/** Warns of models that contribute to no merged tensor. Warning: `unused-model`. */
function warnOfIdle({ recipe, step, parts, faults }: Context) {
  for (const [model, takesPart] of parts) {
    if (takesPart) continue
    const { at } = recipe.models.get(model) ?? recipe.steps.find(({ name }) => name === model)!
    const message = `${quote(model)} is not used by ${quote(step.name)}: it shares no merged tensor with the base ${quote(step.base)}`
    faults.warn(
      'unused-model',
      message,
      recipe.placeOf(at, 'key'),
      'remove it, or use rename to give its tensors the names of the base',
    )
  }
}

/**
 * A list with as many entries as models, but not as layers, was probably meant as one value per model. Warning:
 * `list-is-gradient`.
 */
function warnOfLists({ recipe, step, base, placeOf, faults }: Context) {
  const layers = Math.max(0, ...[...new Set([...base.tensors.keys()].map((name) => placeOf(name).count))])
  for (const settings of [step.settings, ...step.rules.map((rule) => rule.settings)]) {
    for (const [name, { value, at }] of settings.parameters) {
      const list = value.kind === 'gradient' && !('blocks' in value.value) ? value.value : []
      if (list.length < 2 || list.length !== settings.models.length || list.length === layers) continue
      const mapping = settings.models.map((model, index) => `${model}: ${list[index]}`).join(', ')
      faults.warn(
        'list-is-gradient',
        layers === 0
          ? `${name} is a gradient over layers, and the models have none: its first value, ${list[0]}, applies to every tensor`
          : `${name} is a gradient over ${plural(layers, 'layer')}, but it has one value for each of ${plural(settings.models.length, 'model')}`,
        recipe.placeOf(at, 'value'),
        perModel(settings, name)
          ? `for one value per model, write ${name}: {${mapping}}`
          : `${name} is the same for all models: write a single number for all layers`,
      )
    }
  }
}

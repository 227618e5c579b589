import type { Place } from '../../core/diagnostics.js'
import { sameShape } from '../../core/dtypes.js'
import { COPY_REASONS } from '../../core/reasons.js'
import { quote } from '../../core/suggest.js'
import { isFloat } from '../../encodings/index.js'
import { computeOf } from '../../expr/cost.js'
import type { MergeExpr, PatternCount, PlanFactoring } from '../../expr/types.js'
import type { AdapterModule, Value, ValueTensor } from '../../expr/values.js'
import { jsonForm } from '../../expr/walk.js'
import type { HeldWork } from '../../kernels/held/types.js'
import type { Compute } from '../../kernels/types.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { tiedHeadOf } from '../../networks/heads.js'
import {
  type AdaptedLayer,
  adaptedLayer,
  factorNames,
  factorShapes,
  moduleOf,
  SAVED_PARTS,
} from '../../networks/modules.js'
import { isConv1dName, type Orientations, orientations } from '../../networks/orientation.js'
import { refuseAnyPacked } from '../../networks/packed.js'
import { EMBEDDING, HEAD, headOf, tiesHead } from '../../networks/tied.js'
import { factorWork } from '../shared/factorWork.js'
import { patternBook } from '../shared/patterns.js'
import type { PlanContext } from '../types.js'
import { adapterConfig } from './config.js'
import { kroneckerConfig, kroneckerTensors } from './lokr.js'
import type { ExtractStep } from './types.js'

export interface Extraction {
  readonly value: Value
  readonly patterns: readonly PatternCount[]
  /** Tensors that are not in the adapter, with reasons. */
  readonly left: Readonly<Record<string, string>>
}

/** A layer that goes into the adapter. */
interface Adapted {
  readonly tensor: string
  readonly module: string
  readonly layer: AdaptedLayer
  readonly rank: number
}

/** A layer with its rank. */
interface Ranked extends Adapted {
  /** The rank without `energy`. */
  readonly bound: number
}

/** What all layers share. `open`: ranks are bounds, and the run finds the ranks that reach the energy. */
interface Form {
  readonly rank: number
  readonly alpha: number
  readonly open: boolean
}

/**
 * Plans an extraction: the tensors of the adapter in PEFT's form, and its configuration. Adds its factorings to those
 * of the plan. Errors: `tensor-mismatch`, `rank-too-large`, `nothing-to-extract`, `contradiction`, and those of
 * patterns.
 */
export function planExtract(
  recipe: RecipeHead,
  step: ExtractStep,
  values: ReadonlyMap<string, Value>,
  config: Readonly<Record<string, unknown>> | undefined,
  { factorings, rankOf, faults }: Pick<PlanContext, 'factorings' | 'rankOf' | 'faults'>,
): Extraction | undefined {
  const [from, base] = [values.get(step.from)!, values.get(step.base)!]
  const place = recipe.placeOf([...step.at, step.key], 'value')
  if (refuseAnyPacked(recipe, [from, base], step.at, faults)) return undefined
  const book = patternBook({ base: step.base, filters: step.filters, rules: [] })
  const oriented = orientations(base.tensors, config)
  const left = new Map<string, string>()
  const adapted: Adapted[] = []
  let sound = true
  for (const [name, own] of base.tensors) {
    const other = from.tensors.get(name)
    const why = leftOut(step, book.decide(name, isFloat(own.dtype)), own, other)
    const layer =
      why === undefined ? adaptedLayer(name, own.shape, (module) => oriented.of(module) === 'turned') : undefined
    if (
      why === undefined &&
      (layer || step.modulesToSave || isBias(step, name)) &&
      !sameShape(other!.shape, own.shape)
    ) {
      sound = false
      const shapes = [other!, own].map(({ shape }) => `[${shape.join(', ')}]`)
      const message = `${name} is ${shapes[0]} in ${step.from} but ${shapes[1]} in ${step.base}: an adapter can’t change the shape`
      faults.error('tensor-mismatch', message, place, `skip it: exclude: [${quote(name)}]`)
    } else if (layer?.kind === 'linear' && !isOriented(name, own, oriented, faults.error, place)) sound = false
    else if (layer) adapted.push({ tensor: name, module: moduleOf(name).module, layer, rank: shorterSide(own.shape) })
    else left.set(name, why ?? '')
  }
  for (const name of from.tensors.keys()) if (!base.tensors.has(name)) left.set(name, `${step.base} has no such tensor`)
  const names = [...base.tensors.keys()]
  const patterns = book.close(recipe, names, faults)
  if (!sound || patterns.some(({ matches }) => matches === 0)) return undefined
  const { saved, biases } = settleRest(step, left, adapted, base)
  if (adapted.length === 0) {
    const why = [...new Set(left.values())].slice(0, 3).join('; ')
    const message = `${step.from} and ${step.base} share no layer that a low-rank adapter can hold`
    faults.error('nothing-to-extract', message, place, why === '' ? 'name two models of the same architecture' : why)
    return undefined
  }
  const most = adapted.reduce((largest, { rank }) => Math.max(largest, rank), 0)
  if (step.rank !== undefined && step.rank > most) {
    const message = `rank ${step.rank} is larger than the rank of any matrix: the largest possible rank is ${most}`
    faults.error('rank-too-large', message, recipe.placeOf([...step.at, 'lora', 'rank']), `write rank: ${most} or less`)
    return undefined
  }
  if (step.lokr) {
    const value = kroneckerValue(recipe, step, adapted, left, [from, base], config, { factorings, faults })
    return value && { value, patterns, left: Object.fromEntries(left) }
  }
  const { ranked, form } = rankedLayers(step, adapted, rankOf)
  // PEFT gives every adapted layer a change of its bias, or none.
  const inAll = biases.length === adapted.length
  const factors = ranked.flatMap((one) => factorTensors(recipe, step, form, one, from, base, factorings))
  const others = [
    ...saved.map((name) => savedTensor(name, from, base)),
    ...biases.map((name) => (inAll ? biasTensor(step, form, name, from, base) : wholeBias(name, from, base))),
  ]
  const kept = biases.length === 0 ? 'none' : inAll ? 'changes' : 'whole'
  const adapter = adapterConfig(recipe, step, form, ranked, saved, kept, base, config)
  warnTied(ranked, base, config, (message, hint) => faults.warn('tied-embedding', message, place, hint))
  const tensors = new Map([...factors, ...others].sort(([a], [b]) => (a < b ? -1 : 1)))
  return {
    value: { name: step.name, tensors, origin: base.origin, adapter, modules: modulesOf(ranked, form) },
    patterns,
    left: Object.fromEntries(left),
  }
}

/** Error: `nothing-to-extract` if no layer can be a Kronecker product, or if a weight is the result of a step. */
function kroneckerValue(
  recipe: RecipeHead,
  step: ExtractStep,
  adapted: readonly Adapted[],
  left: Map<string, string>,
  [from, base]: readonly [Value, Value],
  config: Readonly<Record<string, unknown>> | undefined,
  { factorings, faults }: Pick<PlanContext, 'factorings' | 'faults'>,
): Value | undefined {
  const unfit = ({ layer }: Adapted): string | undefined =>
    layer.kind === 'embedding'
      ? 'an embedding: LoKr has none'
      : layer.kind === 'linear' && layer.turned
        ? 'a Conv1D layer: PEFT has no LoKr for it'
        : undefined
  const layers = adapted.filter((one) => unfit(one) === undefined)
  for (const one of adapted) if (unfit(one) !== undefined) left.set(one.tensor, unfit(one)!)
  const tensors = layers.map((one) => {
    const form: Form = { rank: 1, alpha: 1, open: false }
    const ranked: Ranked = { ...one, rank: 1, bound: 1, layer: { ...one.layer, turned: false } }
    return kroneckerTensors(recipe, step, one, [from, base], factorings, (rows, columns, compute) =>
      workOf(recipe, step, form, ranked, [rows, columns], compute),
    )
  })
  if (layers.length === 0 || tensors.includes(undefined)) {
    faults.error(
      'nothing-to-extract',
      layers.length === 0
        ? `${step.from} and ${step.base} share no layer that a LoKr adapter can hold`
        : `a LoKr adapter needs weights of models, and ${step.from} or ${step.base} is the result of a step`,
      recipe.placeOf([...step.at, step.key], 'value'),
      layers.length === 0
        ? 'LoKr is for linear layers and convolutions: extract a LoRA, with lora'
        : 'write the result to an output first, and name that in from or base',
    )
    return undefined
  }
  const named = tensors.flatMap((one) => one ?? []).sort(([a], [b]) => (a < b ? -1 : 1))
  const adapter = kroneckerConfig(recipe, step, layers, base, config)
  return { name: step.name, tensors: new Map(named), origin: base.origin, adapter }
}

/** The ranks of all layers. `rankOf`: those that reach the energy, if the run has found them. */
function rankedLayers(
  { name, rank: most, energy, alpha }: ExtractStep,
  adapted: readonly Adapted[],
  rankOf: PlanContext['rankOf'],
): { readonly ranked: readonly Ranked[]; readonly form: Form } {
  const ranked = adapted.map((one): Ranked => {
    const bound = Math.min(most ?? one.rank, one.rank)
    return { ...one, bound, rank: rankOf(name, one.tensor) ?? bound }
  })
  // The scale is the same for all layers: that of the largest rank.
  const rank = ranked.reduce((largest, own) => Math.max(largest, own.rank), 0)
  const open = energy !== undefined && adapted.every(({ tensor }) => rankOf(name, tensor) === undefined)
  return { ranked, form: { rank, alpha: alpha ?? rank, open } }
}

const modulesOf = (ranked: readonly Ranked[], { rank: most, alpha }: Form): AdapterModule[] =>
  ranked.map(({ module, layer, rank }) => ({
    ...{ module, kind: layer.kind === 'embedding' ? 'other' : 'layer', ...factorNames(layer, module), rank },
    scale: alpha / most,
  }))

type Named = readonly [name: string, tensor: ValueTensor]

/** A and B of a layer, [rank, in] and [out, rank], and the factoring that computes them. */
function factorTensors(
  recipe: RecipeHead,
  step: ExtractStep,
  form: Form,
  one: Ranked,
  from: Value,
  base: Value,
  factorings: PlanFactoring[],
): Named[] {
  const { tensor, module, layer, rank } = one
  const { dtype, shape, expr } = base.tensors.get(tensor)!
  const inputs = [from.tensors.get(tensor)!.expr, expr] as const
  const work = workOf(recipe, step, form, one, shape, computeOf(recipe.compute, ...inputs))
  const factoring = factorings.push({ step: step.name, tensor, shape, from: inputs[0], base: inputs[1], work }) - 1
  const [names, shapes] = [factorNames(layer, module), factorShapes(layer, shape, rank)]
  return (['a', 'b'] as const).map((factor) => {
    const own = { kind: 'factor', step: step.name, factoring, factor, shape: shapes[factor], inputs } as const
    return [names[factor], { dtype, shape: shapes[factor], expr: own }]
  })
}

function savedTensor(name: string, from: Value, base: Value, shown = name): Named {
  const { rule: _, ...tensor } = from.tensors.get(name)!
  const { dtype } = base.tensors.get(name)!
  return [`base_model.model.${shown}`, { ...tensor, dtype, reason: 'saved-whole' }]
}

/** A bias of an adapted layer as it is in the tuned model, under the name that PEFT has for it inside the layer. */
const wholeBias = (name: string, from: Value, base: Value): Named =>
  savedTensor(name, from, base, `${moduleOf(name).module}.base_layer.bias`)

const isBias = ({ loraBias }: ExtractStep, name: string): boolean => loraBias && moduleOf(name).part === 'bias'

/** The difference of two biases. PEFT scales it like the factors. */
function biasTensor(step: ExtractStep, { rank, alpha }: Form, name: string, from: Value, base: Value): Named {
  const { dtype, shape, expr } = base.tensors.get(name)!
  const factor = rank / alpha
  const difference: MergeExpr = {
    kind: 'merge',
    step: step.name,
    method: 'linear',
    models: [step.from, step.base],
    weights: [factor, -factor],
    parameters: { normalize: false },
    inputs: [from.tensors.get(name)!.expr, expr],
  }
  return [`base_model.model.${moduleOf(name).module}.lora_B.bias`, { dtype, shape, expr: difference }]
}

const shorterSide = ([rows = 1, ...rest]: readonly number[]): number =>
  Math.min(
    rows,
    rest.reduce((product, size) => product * size, 1),
  )

const textOf = ({ expr }: ValueTensor): string => JSON.stringify(jsonForm(expr))

const SAME = 'the same tensor in both'
/** Reasons that do not hold for a tensor of a module that is saved whole. */
const WHOLE_TOO: readonly string[] = [SAME, COPY_REASONS['not-float']]

/** Why a tensor of any kind is not in the adapter. */
function leftOut(
  { from }: ExtractStep,
  decision: ReturnType<ReturnType<typeof patternBook>['decide']>,
  own: ValueTensor,
  other: ValueTensor | undefined,
): string | undefined {
  if (decision.kind === 'copy') return COPY_REASONS[decision.reason].replace(' by filters', '')
  if (!other) return `${from} has no such tensor`
  if (!isFloat(own.dtype) || !isFloat(other.dtype)) return COPY_REASONS['not-float']
  if (textOf(own) === textOf(other)) return SAME
  return undefined
}

/** Decides about tensors without factors: some are saved in the adapter in full, the others get their reasons. */
function settleRest(
  step: ExtractStep,
  left: Map<string, string>,
  adapted: readonly Adapted[],
  { tensors }: Value,
): { readonly saved: readonly string[]; readonly biases: readonly string[] } {
  const layers = new Set(adapted.map(({ module }) => module))
  const [saved, biases]: [string[], string[]] = [[], []]
  for (const [name, why] of left) {
    if (why !== '') continue
    const { module, part } = moduleOf(name)
    const vector = tensors.get(name)!.shape.length <= 1
    const known = SAVED_PARTS.includes(part) && module !== ''
    if (layers.has(module)) {
      if (isBias(step, name)) biases.push(name)
      else left.set(name, part === 'bias' ? 'a bias of an adapted layer: lora_bias' : 'a part of an adapted layer')
    } else if (!known) left.set(name, 'no weight of a layer that adapters know')
    else if (step.modulesToSave) saved.push(name)
    else left.set(name, vector ? 'a norm or a bias: modules_to_save' : 'no low-rank form: modules_to_save')
  }
  // PEFT looks for all tensors of a copied module, those that are no numbers of training and unchanged ones too.
  const copied = new Set(saved.map((name) => moduleOf(name).module))
  for (const [name, why] of left) {
    const { module, part } = moduleOf(name)
    if (WHOLE_TOO.includes(why) && SAVED_PARTS.includes(part) && copied.has(module)) saved.push(name)
  }
  for (const name of [...saved, ...biases]) left.delete(name)
  return { saved, biases }
}

function workOf(
  recipe: RecipeHead,
  { from, method, oversampling, iterations, energy }: ExtractStep,
  form: Form,
  { tensor, layer, rank, bound }: Ranked,
  [rows = 1, ...rest]: readonly number[],
  compute: Compute,
): HeldWork {
  return factorWork(recipe, {
    ...{ rows, columns: rest.reduce((product, size) => product * size, 1), compute, rank, bound },
    ...{ method, oversampling, iterations, scale: form.alpha / form.rank, turned: layer.turned },
    ...(form.open ? { energy: energy! } : {}),
    stream: [from, tensor],
  })
}

/** If the head has no weight of its own, it is the embedding. */
function warnTied(
  adapted: readonly Adapted[],
  { tensors }: Value,
  config: Readonly<Record<string, unknown>> | undefined,
  warn: (message: string, hint: string) => void,
): void {
  const embedding = adapted.find(({ tensor }) => EMBEDDING.test(tensor))
  if (!embedding || !tiesHead(config, headOf([...tensors]) ?? embedding.tensor)) return
  if (adapted.some(({ tensor }) => HEAD.test(tensor))) return
  if (tiedHeadOf(embedding.tensor, tensors, config).kind === 'none') return
  warn(
    `${embedding.tensor} is also the head (tie_word_embeddings), but PEFT would adapt only the embedding`,
    `exclude: [${quote(embedding.tensor)}] skips both`,
  )
}

/**
 * Whether the orientation of a square layer is certain, if architectures store it in both ways ([in, out] in GPT-2).
 * Readers of the adapter know the class of the layer. Error: `adapter-orientation`.
 */
function isOriented(
  name: string,
  { shape }: ValueTensor,
  oriented: Orientations,
  tell: Faults['error'],
  place: Place | undefined,
): boolean {
  const { module } = moduleOf(name)
  if (shape.length !== 2 || shape[0] !== shape[1] || !isConv1dName(module)) return true
  const decision = oriented.of(module)
  if (decision === 'straight' || decision === 'turned') return true
  tell(
    'adapter-orientation',
    `${name} is square, so its shape does not show whether the layer is stored as [in, out], like Conv1D of transformers, or as [out, in]`,
    place,
    `write model_type in the base's config.json, or skip the layer: exclude: [${quote(name)}]`,
  )
  return false
}

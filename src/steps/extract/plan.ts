import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import type { MergeExpr, PatternCount } from '../../expr/types.js'
import type { Value } from '../../expr/values.js'
import type { RecipeHead } from '../../language/types.js'
import { tiedHeadOf } from '../../networks/heads.js'
import { moduleOf } from '../../networks/modules.js'
import { refuseAnyPacked } from '../../networks/packed.js'
import { EMBEDDING, HEAD, headOf, tiesHead } from '../../networks/tied.js'
import type { PlanContext } from '../types.js'
import { adapterConfig } from './config.js'
import { type Form, factorTensors, modulesOf, type Named, type Ranked, rankedLayers, workOf } from './factors.js'
import { inMemory } from './inMemory.js'
import { kroneckerConfig, kroneckerTensors } from './lokr.js'
import { type Adapted, SMALL, type Sorted, settleRest, sortTensors } from './sort.js'
import type { ExtractStep } from './types.js'
import { refuseAmbiguous, tiedWhole } from './whole.js'

export interface Extraction {
  readonly value: Value
  readonly patterns: readonly PatternCount[]
  /** Tensors that are not in the adapter, with reasons. */
  readonly left: Readonly<Record<string, string>>
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
  const stored = [values.get(step.from)!, values.get(step.base)!] as const
  const place = recipe.placeOf([...step.at, step.key], 'value')
  if (refuseAnyPacked(recipe, stored, step.at, faults)) return undefined
  const models = inMemory(recipe, step, stored, config, faults)
  if (!models) return undefined
  const { from, base } = models
  const sorted = sortTensors(recipe, step, models, config, faults)
  if (!sorted) return undefined
  const { patterns, left, whole } = sorted
  const { ranked, form } = rankedLayers(step, sorted.adapted, rankOf)
  const adapted = ranked.filter(({ rank }) => rank > 0)
  for (const { tensor, rank } of ranked) if (rank === 0) left.set(tensor, SMALL)
  const { saved, biases } = settleRest(step, left, adapted, base)
  if (adapted.length === 0) {
    const why = [...new Set(left.values())].slice(0, 3).join('; ')
    const message =
      ranked.length > 0
        ? `no layer has a singular value above sv_epsilon, ${step.above}`
        : `${step.from} and ${step.base} share no layer that a low-rank adapter can hold`
    faults.error('nothing-to-extract', message, place, why === '' ? 'name two models of the same architecture' : why)
    return undefined
  }
  const most = sorted.adapted.reduce((largest, { rank }) => Math.max(largest, rank), 0)
  if (step.rank !== undefined && step.rank > most) {
    const message = `rank ${step.rank} is larger than the rank of any matrix: the largest possible rank is ${most}`
    faults.error('rank-too-large', message, recipe.placeOf([...step.at, 'lora', 'rank']), `write rank: ${most} or less`)
    return undefined
  }
  if (step.lokr) {
    const value = kroneckerValue(recipe, step, adapted, left, [from, base], config, { factorings, faults })
    return value && { value, patterns, left: Object.fromEntries(left) }
  }
  const inFull = [...whole.tensors, ...saved]
  const tied = tiedWhole(inFull, base, config)
  for (const name of [tied?.head, tied?.bias?.like]) if (name !== undefined) left.delete(name)
  // PEFT gives every adapted layer a change of its bias, or none. Parameters have none.
  const inAll = biases.length === adapted.length && adapted.every(({ parameter }) => !parameter)
  const factors = adapted.flatMap((one) => factorTensors(recipe, step, form, one, adapted, [from, base], factorings))
  const rest = [
    ...inFull.map((name) => savedTensor(name, from, base)),
    ...(tied?.head === undefined ? [] : [savedTensor(tied.embedding, from, base, tied.head)]),
    ...(tied?.bias === undefined ? [] : [savedTensor(tied.bias.like, from, base, tied.bias.name)]),
    ...biases.map((name) => (inAll ? biasTensor(step, form, name, from, base) : wholeBias(name, from, base))),
  ]
  const kept = biases.length === 0 ? 'none' : inAll ? 'changes' : 'whole'
  const others = [...saved, ...(tied?.head === undefined ? [] : [tied.head])]
  const modules = [...new Set([...whole.modules, ...others.map((name) => moduleOf(name).module)])].sort()
  const names = adapted.map(({ module }) => module)
  refuseAmbiguous(modules, names, (message) =>
    faults.error('adapter-saves', message, place, 'skip the layer with exclude, or save it whole too'),
  )
  warnResized(step, sorted, [from, base], (message, hint) => faults.warn('adapter-resizes', message, place, hint))
  const saves = { modules, tensors: new Set(inFull), tied: tied?.head !== undefined }
  const adapter = adapterConfig(recipe, step, form, adapted, saves, kept, base, config)
  const warn = (message: string, hint: string) => faults.warn('tied-embedding', message, place, hint)
  warnTied(adapted, base, config, warn)
  if (tied?.why !== undefined)
    warn(
      `${tied.embedding} may also be the head, but PEFT would change only the embedding: ${tied.why}`,
      `exclude: [${quote(tied.embedding)}] skips both`,
    )
  const tensors = new Map([...factors, ...rest].sort(([a], [b]) => (a < b ? -1 : 1)))
  return {
    value: {
      ...{ name: step.name, tensors, origin: base.origin, adapter, modules: modulesOf(adapted, form) },
      ...(sorted.resized.length > 0 ? { vocabularyOf: from.origin } : {}),
    },
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
      workOf(recipe, step, form, ranked, one.tensor, [rows, columns], compute),
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

function savedTensor(name: string, from: Value, base: Value, shown = name): Named {
  const { rule: _, ...tensor } = from.tensors.get(name)!
  const { dtype } = base.tensors.get(name)!
  return [`base_model.model.${shown}`, { ...tensor, dtype, reason: 'saved-whole' }]
}

/** A bias of an adapted layer as it is in the tuned model, under the name that PEFT has for it inside the layer. */
const wholeBias = (name: string, from: Value, base: Value): Named =>
  savedTensor(name, from, base, `${moduleOf(name).module}.base_layer.bias`)

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

/** Says that the adapter has another vocabulary, and how to load it. */
function warnResized(
  step: ExtractStep,
  { resized }: Sorted,
  [from, base]: readonly [Value, Value],
  warn: (message: string, hint: string) => void,
): void {
  const [name] = resized
  if (name === undefined) return
  const [own, other] = [base, from].map((value) => value.tensors.get(name)!.shape[0])
  warn(
    `${name} has ${other} rows in ${step.from} and ${own} in ${step.base}: the adapter has ${resized.length === 1 ? 'it' : `it and ${plural(resized.length - 1, 'other tensor')}`} whole`,
    `before loading the adapter with PEFT, call model.resize_token_embeddings(${other}) on the base`,
  )
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
    `modules_to_save: [${quote(moduleOf(embedding.tensor).module)}] saves both whole; exclude: [${quote(embedding.tensor)}] skips both`,
  )
}

/** Heads that are their model's embedding once more, and are stored only there. */
import type { Place } from '../core/diagnostics.js'
import { isFloat } from '../core/dtypes.js'
import type { ModelSource, Recipe, Step } from '../recipe/types.js'
import { usesOf } from '../recipe/uses.js'
import type { Named } from './prefix.js'
import type { Faults } from './report.js'
import type { Value, ValueTensor } from './values.js'

type Config = Readonly<Record<string, unknown>> | undefined

/** Names of embeddings of tokens. */
export const EMBEDDING =
  /(^|\.)(embed_tokens|wte|word_embeddings|tok_embeddings|embed_in|shared|token_embedding)\.weight$/
/** Names of heads: a row a token, as in embeddings. */
export const HEAD = /(^|\.)(lm_head|embed_out|output_layer)\.weight$|^output\.weight$/
/** Whether a tensor has a row a token: an embedding or a head. */
export const hasRows = (name: string): boolean => EMBEDDING.test(name) || HEAD.test(name)
/** One embedding under several names: a model with encoder and decoder may store any of them. */
const SHARED = /(^|\.)(shared|(encoder|decoder)\.embed_tokens)\.weight$/

/** Whether a model's head is its embedding: so it is where there is a configuration, and neither that nor its text part's denies it. */
export function tiesHead(config: Config): boolean {
  if (!config) return false
  const text = config.text_config as Config | null
  return (config.tie_word_embeddings ?? text?.tie_word_embeddings ?? true) !== false
}

/**
 * A model with what it leaves out because it ties it: where the base has a head, or one embedding under several names, and the model does not,
 * the model's embedding stands for it. Warnings: `tied-head`; `unused-head` where the model has a head of its own and
 * the base ties its.
 */
export function withTied(
  recipe: Recipe,
  source: ModelSource,
  named: Named,
  config: Config,
  base: { readonly name: string; readonly named: Named; readonly config: Config },
  faults: Faults,
): Named {
  const place = recipe.placeOf(source.at, 'key')
  const added = standIns(named, config, base.named).map(([name, [own, stored]]) => {
    if (HEAD.test(name)) warnOfTied(source.name, name, own, place, faults)
    return [name, stored] as const
  })
  const theirs = named.find(([name]) => HEAD.test(name))?.[0]
  const has = (pattern: RegExp): boolean => base.named.some(([name]) => pattern.test(name))
  const ties = tiesHead(base.config) && has(EMBEDDING) && !has(HEAD)
  if (theirs !== undefined && ties && !tiesHead(config))
    faults.warn(
      'unused-head',
      `${source.name} has a head of its own, ${theirs}, which plays no part: ${base.name} ties its head to its embedding`,
      place,
      'a base that stores its head keeps it',
    )
  return added.length === 0 ? named : [...named, ...added].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

/**
 * Values as a step reads them: what takes part beside its base, a model or what a step has made, has its embedding where the
 * base has a head and it ties its own. Warning: `tied-head`.
 */
export function tiedValues(
  recipe: Recipe,
  step: Step,
  values: ReadonlyMap<string, Value>,
  configOf: (model: string) => Config,
  faults: Faults,
): ReadonlyMap<string, Value> {
  const like =
    step.kind === 'interpolate' ? step.from : step.kind === 'merge' || step.kind === 'extract' ? step.base : ''
  const base = values.get(like)
  if (!base) return values
  const others = new Set(usesOf(step).filter((name) => name !== like))
  const tied = [...others].flatMap((name) => {
    const value = values.get(name)!
    const added = standIns([...value.tensors], configOf(value.origin), [...base.tensors])
    if (added.length === 0) return []
    const { at } = recipe.models.get(name) ?? recipe.steps.find((other) => other.name === name)!
    for (const [head, [own]] of added)
      if (HEAD.test(head)) warnOfTied(name, head, own, recipe.placeOf(at, 'key'), faults)
    const tensors = [...value.tensors, ...added.map(([head, [, tensor]]) => [head, alone(tensor)] as const)]
    return [[name, { ...value, tensors: new Map(tensors.sort(([a], [b]) => (a < b ? -1 : 1))) }] as const]
  })
  return tied.length === 0 ? values : new Map([...values, ...tied])
}

/** An adapter of an embedding leaves a head that is tied to it as it is. */
const alone = (tensor: ValueTensor): ValueTensor =>
  tensor.expr.kind === 'lora' ? { ...tensor, expr: tensor.expr.base } : tensor

type Sized = Pick<ValueTensor, 'dtype' | 'shape'>
type Entries<T> = readonly (readonly [name: string, tensor: T])[]

/** By name that the base has and a model leaves out since it ties it: the model's embedding. */
function standIns<T extends Sized>(
  tensors: Entries<T>,
  config: Config,
  base: Entries<Sized>,
): Entries<readonly [own: string, tensor: T]> {
  const names = new Set(tensors.map(([name]) => name))
  return base.flatMap(([name, { shape }]) => {
    const head = HEAD.test(name)
    if (names.has(name) || !(head ? tiesHead(config) : SHARED.test(name))) return []
    const embeddings = tensors.filter(
      ([own, stored]) =>
        (head ? EMBEDDING : SHARED).test(own) &&
        isFloat(stored.dtype) &&
        stored.shape.length === shape.length &&
        stored.shape.every((size, axis) => axis === 0 || size === shape[axis]),
    )
    const best = embeddings.find(([own]) => /(^|\.)shared\./.test(own)) ?? nearestTo(name, embeddings)
    return best ? [[name, best] as const] : []
  })
}

function warnOfTied(model: string, head: string, own: string, place: Place, faults: Faults): void {
  faults.warn('tied-head', `${model} has no ${head}: it ties it to ${own}, which stands for it`, place)
}

/** Of several parts of a model that have an embedding each, the one that the name belongs to. */
function nearestTo<T>(name: string, found: Entries<T>): Entries<T>[number] | undefined {
  const shared = (other: string): number => {
    let length = 0
    while (length < name.length && name[length] === other[length]) length++
    return length
  }
  return found.reduce<Entries<T>[number] | undefined>(
    (best, one) => (best === undefined || shared(one[0]) > shared(best[0]) ? one : best),
    undefined,
  )
}

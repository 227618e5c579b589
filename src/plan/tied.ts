/** Heads that are their model's embedding once more, and are stored only there. */

import type { Place } from '../core/diagnostics.js'
import { isFloat } from '../core/dtypes.js'
import { isObject } from '../core/jsonText.js'
import type { ModelSource, Recipe, Step } from '../recipe/types.js'
import { usesOf } from '../recipe/uses.js'
import type { Named } from './prefix.js'
import type { Faults } from './report.js'
import { sameShape, type Value, type ValueTensor } from './values.js'

type Config = Readonly<Record<string, unknown>> | undefined

/** Names of embeddings of tokens. */
export const EMBEDDING =
  /(^|\.)(embed_tokens|wte|word_embeddings?|tok_embeddings|tokens_embed|embed_in|shared|token_embeddings?)\.weight$|^(backbone|rwkv|transformer)\.embeddings?\.weight$/
/** Names of heads: a row a token, as in embeddings. */
export const HEAD =
  /(^|\.)((lm|generator_lm)_head|lm_head\.(decoder|out_proj)|embed_out|output_layer|predictions\.decoder|mlm_score\.decoder|vocab_projector|pred_layer\.proj|lm_loss|output_projection)\.weight$|^(output|proj_out|decoder|head)\.weight$/
/** Those of them that are common elsewhere too: heads only where an embedding of the same shape is there. */
const LOOSE_HEAD = /^(proj_out|decoder|head)\.weight$|(^|\.)(output_projection|lm_loss)\.weight$/
/** Whether a tensor has a row a token: an embedding or a head. */
export const hasRows = (name: string): boolean => EMBEDDING.test(name) || HEAD.test(name)
/** One embedding under several names: a model with encoder and decoder may store any of them. */
export const SHARED = /(^|\.)(shared|(text_)?(encoder|decoder)\.(embed_tokens|word_embeddings))\.weight$/
/** One bias of a head under two names. */
const BIAS = /^((?:.+\.)?(?:lm_head|predictions|mlm_head))(\.decoder)?\.bias$/

/**
 * By model: tensors that hold the same as an embedding, and which, by the names that they are stored under. It was read before planning;
 * nothing is known of others.
 */
export type Twins = ReadonlyMap<string, ReadonlyMap<string, readonly Twin[]>>

export interface Twin {
  readonly model: string
  readonly tensor: string
}

/** The part of a configuration that says of a head of this name whether it is tied. */
export function tyingPart(config: NonNullable<Config>, head: string): NonNullable<Config> {
  const { decoder } = config
  const composed = /encoder-decoder$/.test(String(config.model_type)) && head.startsWith('decoder.')
  return composed && isObject(decoder) ? decoder : config
}

/** Whether a model's head is its embedding: so it is where there is a configuration, and neither that nor its text part's denies it. */
export function tiesHead(config: Config, head = ''): boolean {
  if (!config) return false
  const part = tyingPart(config, head)
  const text = part.text_config as Config | null
  return (part.tie_word_embeddings ?? text?.tie_word_embeddings ?? true) !== false
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
  twins: Twins,
  faults: Faults,
): Named {
  const place = recipe.placeOf(source.at, 'key')
  const known = twins.get(base.name)
  const added = standIns(named, config, base.named, ({ name }) => known?.has(name) ?? false).map(
    ([name, [own, stored]]) => {
      if (!SHARED.test(name)) warnOfTied(source.name, name, own, place, faults)
      return [name, stored] as const
    },
  )
  const theirs = headOf(named)
  const has = base.named.some(([name]) => EMBEDDING.test(name)) && headOf(base.named) === undefined
  if (theirs !== undefined && has && tiesHead(base.config, theirs) && !tiesHead(config, theirs))
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
 * base has a head and it ties its own. Where an adapter gave a participant (`split`: by origin) a head of its own, the base has its embedding for
 * one too, so that the result has both. Warning: `tied-head`.
 */
export function tiedValues(
  recipe: Recipe,
  step: Step,
  values: ReadonlyMap<string, Value>,
  configOf: (model: string) => Config,
  twins: Twins,
  split: ReadonlySet<string>,
  faults: Faults,
): ReadonlyMap<string, Value> {
  const like =
    step.kind === 'interpolate' ? step.from : step.kind === 'merge' || step.kind === 'extract' ? step.base : ''
  const stored = values.get(like)
  if (!stored) return values
  const others = new Set(usesOf(step).filter((name) => name !== like))
  const tell = (name: string, head: string, own: string): void => {
    const { at } = recipe.models.get(name) ?? recipe.steps.find((other) => other.name === name)!
    warnOfTied(name, head, own, recipe.placeOf(at, 'key'), faults)
  }
  const complete = (name: string, like: Value): Value | undefined => {
    const value = values.get(name)!
    const known = twins.get(like.origin)
    const twin = ({ expr }: ValueTensor) => expr.kind === 'read' && (known?.has(expr.tensor) ?? false)
    const added = standIns([...value.tensors], configOf(value.origin), [...like.tensors], twin)
    for (const [head, [own]] of added) if (!SHARED.test(head)) tell(name, head, own)
    if (added.length === 0) return undefined
    const tensors = [...value.tensors, ...added.map(([head, [, tensor]]) => [head, tensor] as const)]
    return { ...value, tensors: new Map(tensors.sort(([a], [b]) => (a < b ? -1 : 1))) }
  }
  const apart = headOf([...stored.tensors])
    ? undefined
    : [...others].find((name) => split.has(values.get(name)!.origin) && headOf([...values.get(name)!.tensors]))
  const base = (apart !== undefined && complete(like, values.get(apart)!)) || stored
  const tied = [...others].flatMap((name) => {
    const value = complete(name, base)
    return value ? [[name, value] as const] : []
  })
  const changed = base === stored ? tied : [...tied, [like, base] as const]
  return changed.length === 0 ? values : new Map([...values, ...changed])
}

type Sized = Pick<ValueTensor, 'dtype' | 'shape'>
type Entries<T> = readonly (readonly [name: string, tensor: T])[]

/** The head that a model has. */
export const headOf = (tensors: Entries<Sized>): string | undefined =>
  tensors.find(([name, { shape }]) => isHead(name, shape, tensors))?.[0]

function isHead(name: string, shape: readonly number[], tensors: Entries<Sized>): boolean {
  if (!HEAD.test(name)) return false
  return !LOOSE_HEAD.test(name) || tensors.some(([own, other]) => EMBEDDING.test(own) && sameShape(other.shape, shape))
}

/**
 * By name that the base has and a model leaves out since it ties it: the model's embedding, or its head where it stores only that. `twin`: whether a tensor of the base holds the
 * same as its embedding; it is then tied to it, whatever it is called.
 */
function standIns<T extends Sized, B extends Sized>(
  tensors: Entries<T>,
  config: Config,
  base: Entries<B>,
  twin: (tensor: B) => boolean,
): Entries<readonly [own: string, tensor: T]> {
  const names = new Map(tensors)
  return base.flatMap(([name, tensor]) => {
    if (names.has(name)) return []
    const { shape } = tensor
    const otherBias = otherBiasOf(name)
    const bias = otherBias === undefined ? undefined : names.get(otherBias)
    if (bias && isFloat(bias.dtype) && sameShape(bias.shape, shape)) return [[name, [otherBias!, bias]] as const]
    const same = twin(tensor) && !SHARED.test(name)
    const head = same || isHead(name, shape, base) || (LOOSE_HEAD.test(name) && isHead(name, shape, tensors))
    if (!head && (EMBEDDING.test(name) || SHARED.test(name))) {
      const stored = onlyHead(tensors, config, shape)
      if (stored) return [[name, stored] as const]
    }
    if (!(head ? tiesHead(config, name) || (same && !config) : SHARED.test(name))) return []
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

/** The head of a model that stores that of the two which it ties, as some savers keep the name that is first in the alphabet. */
function onlyHead<T extends Sized>(
  tensors: Entries<T>,
  config: Config,
  shape: readonly number[],
): Entries<T>[number] | undefined {
  if (tensors.some(([name]) => EMBEDDING.test(name) || SHARED.test(name))) return undefined
  return tensors.find(
    ([name, stored]) =>
      HEAD.test(name) &&
      isFloat(stored.dtype) &&
      tiesHead(config, name) &&
      stored.shape.length === shape.length &&
      stored.shape.every((size, axis) => axis === 0 || size === shape[axis]),
  )
}

/**
 * Whether a tensor that a model has and its base lacks is what the base ties: another name of an embedding that both have. A head of its own
 * that the model has there is warned of as such (`unused-head`).
 */
export function isTiedName(
  name: string,
  tensors: ReadonlyMap<string, unknown>,
  base: ReadonlyMap<string, unknown>,
  config: Config,
): boolean {
  const bias = otherBiasOf(name)
  if (bias !== undefined) return base.has(bias)
  if (!HEAD.test(name) && !SHARED.test(name) && !EMBEDDING.test(name)) return false
  const both = [...base.keys()].filter((own) => tensors.has(own))
  const stored = both.some((own) => SHARED.test(own) || EMBEDDING.test(own))
  const one = HEAD.test(name) || SHARED.test(name) ? stored : !stored && both.some((own) => HEAD.test(own))
  return one && tiesHead(config, name)
}

/** The other name of a head's bias that is stored under two. */
export function otherBiasOf(name: string): string | undefined {
  const [, head, decoder] = BIAS.exec(name) ?? []
  return head === undefined ? undefined : `${head}${decoder === undefined ? '.decoder' : ''}.bias`
}

function warnOfTied(model: string, head: string, own: string, place: Place, faults: Faults): void {
  faults.warn('tied-head', `${model} has no ${head}: it ties it to ${own}, which stands for it`, place)
}

/** Of several parts of a model that have an embedding each, the one that the name belongs to. */
export function nearestTo<T>(name: string, found: Entries<T>): Entries<T>[number] | undefined {
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

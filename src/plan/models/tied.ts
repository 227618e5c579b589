import {
  type Config,
  EMBEDDING,
  type Entries,
  HEAD,
  headOf,
  isHead,
  LOOSE_HEAD,
  nearestTo,
  otherBiasOf,
  SHARED,
  type Sized,
  tiesHead,
} from '../../networks/tied.js'
import { mainStored } from '../../views/stored.js'
/** Tied heads, which a model stores only as its embedding. */

import type { Place } from '../../core/diagnostics.js'
import { sameShape } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { ModelSource } from '../../language/types.js'
import type { Recipe } from '../../recipe/types.js'
import { usesOf } from '../../recipe/uses.js'
import { kindOf, type Step } from '../../steps/index.js'
import { haveSameNames, type Named } from './prefix.js'

/**
 * By model and stored name: tensors with the same content as an embedding, found before planning. Nothing is known
 * about other tensors.
 */
export type Twins = ReadonlyMap<string, ReadonlyMap<string, readonly Twin[]>>

export interface Twin {
  readonly model: string
  readonly tensor: string
}

/**
 * A model with the tensors that it does not store because they are tied. If the base has a head, or one embedding under
 * several names, and the model does not, the model's embedding is used.
 * Warnings: `tied-head`; `unused-head` if the model stores its head and the base ties its head.
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
      `${source.name} has a separate head, ${theirs}, which terge ignores: ${base.name} ties its head to its embedding`,
      place,
      'to keep the head, use a base that stores its head',
    )
  return added.length === 0 ? named : [...named, ...added].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

/**
 * The values that a step reads. If the base has a head and another merged model ties its head, that model's embedding
 * is used for the head. If an adapter gave a merged model a separate head (`split`, by origin), the base gets its
 * embedding as a head as well, so that the result has both. Warning: `tied-head`.
 */
export function tiedValues(
  recipe: Recipe,
  step: Step,
  values: ReadonlyMap<string, Value>,
  configOf: (model: string) => Config,
  { twins, split }: { readonly twins: Twins; readonly split: ReadonlySet<string> },
  faults: Faults,
): ReadonlyMap<string, Value> {
  const { sharesNames, like: likeOf } = kindOf(step)
  const like = likeOf(step)
  const stored = sharesNames ? values.get(like) : undefined
  if (!stored) return values
  const others = new Set(usesOf(step).filter((name) => name !== like))
  const warn = (name: string, head: string, own: string): void => {
    const { at } = recipe.models.get(name) ?? recipe.steps.find((other) => other.name === name)!
    warnOfTied(name, head, own, recipe.placeOf(at, 'key'), faults)
  }
  const complete = (name: string, like: Value): Value | undefined => {
    const value = values.get(name)!
    if (![...like.tensors.keys()].some((name) => !value.tensors.has(name))) return undefined
    const known = twins.get(like.origin)
    const twin = ({ expr }: ValueTensor) => expr.kind === 'read' && (known?.has(mainStored(expr.view).tensor) ?? false)
    const added = standIns([...value.tensors], configOf(value.origin), [...like.tensors], twin)
    for (const [head, [own]] of added) if (!SHARED.test(head)) warn(name, head, own)
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

/**
 * For each name that the base has and the model lacks because it is tied: the model's embedding, or its head if it
 * stores only that. `twin`: whether a tensor of the base has the same content as its embedding; then it is tied to it,
 * whatever its name.
 */
function standIns<T extends Sized, B extends Sized>(
  tensors: Entries<T>,
  config: Config,
  base: Entries<B>,
  twin: (tensor: B) => boolean,
): Entries<readonly [own: string, tensor: T]> {
  if (haveSameNames(tensors, base)) return []
  const own = new Set(tensors.map(([name]) => name))
  const lacking = base.filter(([name]) => !own.has(name))
  if (lacking.length === 0) return []
  const names = new Map(tensors)
  return lacking.flatMap(([name, tensor]) => {
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

/**
 * The head of a model that stores only the head of a tied pair. Some libraries keep the name that comes first in the
 * alphabet.
 */
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

function warnOfTied(model: string, head: string, own: string, place: Place, faults: Faults): void {
  faults.warn(
    'tied-head',
    `${model} has no ${head}: terge uses ${own} instead, which is tied to it`,
    place,
    'store the head in all models to merge it',
  )
}

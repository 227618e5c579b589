/** Heads that are their model's embedding once more, and are stored only there. */
import { isFloat } from '../core/dtypes.js'
import type { ModelSource, Recipe } from '../recipe/types.js'
import type { Named } from './prefix.js'
import type { Faults } from './report.js'

type Config = Readonly<Record<string, unknown>> | undefined

/** Names of embeddings of tokens. */
export const EMBEDDING =
  /(^|\.)(embed_tokens|wte|word_embeddings|tok_embeddings|embed_in|shared|token_embedding)\.weight$/
/** Names of heads: a row a token, as in embeddings. */
export const HEAD = /(^|\.)(lm_head|embed_out|output_layer)\.weight$|^output\.weight$/
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
  const names = new Set(named.map(([name]) => name))
  const place = recipe.placeOf(source.at, 'key')
  const added = base.named.flatMap(([name, { shape }]) => {
    const head = HEAD.test(name)
    if (names.has(name) || !(head ? tiesHead(config) : SHARED.test(name))) return []
    const embeddings = named.filter(
      ([own, stored]) =>
        (head ? EMBEDDING : SHARED).test(own) &&
        isFloat(stored.dtype) &&
        stored.shape.length === shape.length &&
        stored.shape.every((size, axis) => axis === 0 || size === shape[axis]),
    )
    const best = embeddings.find(([own]) => /(^|\.)shared\./.test(own)) ?? nearestTo(name, embeddings)
    if (!best) return []
    if (head)
      faults.warn('tied-head', `${source.name} has no ${name}: it ties it to ${best[0]}, which stands for it`, place)
    return [[name, best[1]] as const]
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

/** Of several parts of a model that have an embedding each, the one that the name belongs to. */
function nearestTo(name: string, found: Named): Named[number] | undefined {
  const shared = (other: string): number => {
    let length = 0
    while (length < name.length && name[length] === other[length]) length++
    return length
  }
  return found.reduce<Named[number] | undefined>(
    (best, one) => (best === undefined || shared(one[0]) > shared(best[0]) ? one : best),
    undefined,
  )
}

import { sameShape } from '../core/dtypes.js'
import { isObject } from '../core/json/text.js'
import type { ValueTensor } from '../expr/values.js'

export type Config = Readonly<Record<string, unknown>> | undefined

/** Names of token embeddings. */
export const EMBEDDING =
  /(^|\.)(embed_tokens|wte|word_embeddings?|tok_embeddings|tokens_embed|embed_in|shared|token_embeddings?)\.weight$|^(backbone|rwkv|transformer)\.embeddings?\.weight$/

/** Names of heads, which have one row per token like embeddings. */
export const HEAD =
  /(^|\.)((lm|generator_lm)_head|lm_head\.(decoder|out_proj)|embed_out|output_layer|predictions\.decoder|mlm_score\.decoder|vocab_projector|pred_layer\.proj|lm_loss|output_projection)\.weight$|^(output|proj_out|decoder|head)\.weight$/

/** Names that also occur elsewhere: they are heads only if there is an embedding of the same shape. */
export const LOOSE_HEAD = /^(proj_out|decoder|head)\.weight$|(^|\.)(output_projection|lm_loss)\.weight$/

/** Whether a tensor has one row per token: an embedding or a head. */
export const hasRows = (name: string): boolean => EMBEDDING.test(name) || HEAD.test(name)

/** One embedding with several names: an encoder-decoder model may store any of them. */
export const SHARED = /(^|\.)(shared|(text_)?(encoder|decoder)\.(embed_tokens|word_embeddings))\.weight$/

/** One bias of a head with two names. */
const BIAS = /^((?:.+\.)?(?:lm_head|predictions|mlm_head))(\.decoder)?\.bias$/

/** The part of a configuration that decides whether this head is tied. */
export function tyingPart(config: NonNullable<Config>, head: string): NonNullable<Config> {
  const { decoder } = config
  const composed = /encoder-decoder$/.test(String(config.model_type)) && head.startsWith('decoder.')
  return composed && isObject(decoder) ? decoder : config
}

/**
 * Whether the head of a model is its embedding. With a configuration the default is true, unless it or its text part
 * says otherwise.
 */
export const tiesHead = (config: Config, head = ''): boolean => !!config && statedTie(config, head) !== false

/** Whether a configuration says that the head is the embedding. Without it, the default depends on the class. */
export const saysTied = (config: Config, head = ''): boolean => !!config && statedTie(config, head) === true

/** What a configuration or its text part says of the head. */
function statedTie(config: NonNullable<Config>, head: string): unknown {
  const part = tyingPart(config, head)
  return part.tie_word_embeddings ?? (part.text_config as Config | null)?.tie_word_embeddings
}

export type Sized = Pick<ValueTensor, 'dtype' | 'shape'>

export type Entries<T> = readonly (readonly [name: string, tensor: T])[]

/** The head of a model. */
export const headOf = (tensors: Entries<Sized>): string | undefined =>
  tensors.find(([name, { shape }]) => isHead(name, shape, tensors))?.[0]

export function isHead(name: string, shape: readonly number[], tensors: Entries<Sized>): boolean {
  if (!HEAD.test(name)) return false
  return !LOOSE_HEAD.test(name) || tensors.some(([own, other]) => EMBEDDING.test(own) && sameShape(other.shape, shape))
}

/**
 * Whether a tensor that only the model has is tied in the base: another name of an embedding that both have. If the
 * model has its own head there, a warning says so (`unused-head`).
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

/** The other name of a head's bias that can have two. */
export function otherBiasOf(name: string): string | undefined {
  const [, head, decoder] = BIAS.exec(name) ?? []
  return head === undefined ? undefined : `${head}${decoder === undefined ? '.decoder' : ''}.bias`
}

/** The entry with the longest common start of its name. It finds the embedding of the part that a name belongs to. */
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

/** What names and configurations say of a transformer as a whole: its norms, which bases its stream can have, its positions. */
import { isHeadless } from '../infer/transformers/index.js'
import type { OrthogonalFamily } from './families.js'
import type { Basis, Described, NormKind } from './layout.js'

const typeOf = ({ config }: Described): string => String(config?.model_type ?? '')

/** Why no map at all is known for a type of model. */
export function refusedType(model: Described): string | undefined {
  const type = typeOf(model)
  if (/gemma/.test(type)) return 'gemma scales its embeddings and norms in its own way'
  if (typeof model.config?.clip_qkv === 'number') return 'it clips queries, keys and values (clip_qkv)'
  if (type === 'nemotron') return 'nemotron adds 1 to the weights of its norms'
  return undefined
}

/** Types with the names of Llama whose norms are LayerNorm. */
const LAYER_NORMS: readonly string[] = ['opt', 'phi', 'stablelm', 'starcoder2', 'olmo', 'cohere', 'cohere2']

/** `biased`: a norm has a bias. */
export function kindOf({ name }: OrthogonalFamily, model: Described, biased: boolean): NormKind {
  if (name !== 'llama') return biased ? 'layer' : 'either'
  return LAYER_NORMS.includes(typeOf(model)) ? 'layer' : biased ? 'either' : 'rms'
}

/** Types of language models whose head is the embedding unless their configuration says otherwise. */
const TIED_BY_DEFAULT: readonly string[] = ['opt', 'starcoder2', 'cohere', 'cohere2']

function isTied({ tied }: OrthogonalFamily, { config, tensors }: Described): boolean {
  const names = [...tensors.keys()]
  if (names.some((tensor) => /^score\.weight$/.test(tensor))) return false
  // One tensor under one of its two names.
  const stored = [/(^|\.)lm_head\.weight$/, /(^|\.)(wte|embed_tokens)\.weight$/]
  if (!stored.every((pattern) => names.some((tensor) => pattern.test(tensor)))) return true
  const { tie_word_embeddings: tie } = config ?? {}
  if (typeof tie === 'boolean') return tie
  return tied === true || TIED_BY_DEFAULT.includes(String(config?.model_type))
}

/** `inner`: the output of a norm is in the stream. */
export function basisOf(
  family: OrthogonalFamily,
  model: Described,
  prefix: string,
  inner: boolean,
): { basis: Basis; reason?: string } {
  const { tensors, config } = model
  const headless = isHeadless(
    { encoder: !family.language, layer: /\d/, ...(family.head ? { head: family.head } : {}) },
    prefix,
    tensors,
    config,
  )
  if (headless)
    return { basis: 'kept', reason: 'the model has no head: the places of its residual stream are its outputs' }
  if (inner || family.post || config?.do_layer_norm_before === false)
    return {
      basis: 'permuted',
      reason: 'norms are part of the residual stream, and their weights allow only another order of it',
    }
  if (family.language && isTied(family, model))
    return {
      basis: 'permuted',
      reason: 'the embedding is also the head (tied), so the weights of the last norm cannot be moved into it',
    }
  return { basis: 'rotated' }
}

/** Types whose rotary positions turn neighbours instead of halves. */
const INTERLEAVED: readonly string[] = ['cohere', 'cohere2', 'glm', 'glm4', 'ernie4_5', 'helium']
/** Shares of a head's places that rotate where the configuration does not say it. */
const SHARES: Readonly<Record<string, number>> = { phi: 0.5, stablelm: 0.25 }

/** Tables of positions, outside of layers. */
const POSITIONS = /^(?!.*\.\d+\.)(.*[._])?(wpe|embed_positions|position_embeddings|pos_embed|pos_embedding)(\.weight)?$/
/** Architectures of timm that rotate queries and keys, some of them beside a table of positions. */
const TURNING = /rope|eva/i

/** How many of a head's first places rotary positions turn, as two halves. Undefined if that is not known. */
export function rotaryPlaces(family: OrthogonalFamily, model: Described, width: number): number | undefined {
  const [type, { config, tensors }] = [typeOf(model), model]
  const table = [...tensors.keys()].some((name) => POSITIONS.test(name)) && !TURNING.test(String(config?.architecture))
  const { position_embedding_type: way = 'absolute', rope_parameters: rope } = config ?? {}
  const plain = type === '' ? table : family.plain.includes(type)
  if (family.name !== 'llama') return plain && way === 'absolute' ? 0 : undefined
  if (plain) return 0
  if (INTERLEAVED.includes(type)) return undefined
  const told =
    config?.partial_rotary_factor ?? (rope as { partial_rotary_factor?: unknown } | null)?.partial_rotary_factor
  const share = typeof told === 'number' ? told : (SHARES[type] ?? 1)
  const places = Math.floor(width * share)
  return places >= 0 && places <= width && places % 2 === 0 ? places : undefined
}

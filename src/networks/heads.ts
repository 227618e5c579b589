/** Finds the head of a model that does not store it, because it is tied to the embedding. */
import { EMBEDDING, SHARED } from './tied.js'

type Config = Readonly<Record<string, unknown>> | undefined
type Tensors = ReadonlyMap<string, unknown>

/** Classes of transformers with a head that has one row per token. */
const WITH_HEAD =
  /(ForCausalLM|LMHeadModel|LMHead|ForConditionalGeneration|ForPreTraining|ForMaskedLM|ForImageTextToText|EncoderDecoderModel|DoubleHeadsModel|WithLMHead)$/
/** Encoders: the other tensors of the head, and its weight. Without these, the model has no head. */
const MASKED: readonly (readonly [part: RegExp, head: string])[] = [
  [/^cls\.predictions\./, 'cls.predictions.decoder.weight'],
  [/^predictions\./, 'predictions.decoder.weight'],
  [/^lm_head\.(dense|layer_norm|bias|decoder)/, 'lm_head.decoder.weight'],
  [/^vocab_(transform|projector|layer_norm)\./, 'vocab_projector.weight'],
  [/^generator_(predictions|lm_head)\./, 'generator_lm_head.weight'],
  [/^decoder\.bias$/, 'decoder.weight'],
]
/** Decoders: the end of the embedding's name, and the name of the head that replaces it. */
const CAUSAL: readonly (readonly [embedding: RegExp, head: string])[] = [
  [/^(language_model\.)(model\.)?embed_tokens\.weight$/, '$1lm_head.weight'],
  [/^(decoder\.)(transformer\.wte|model\.(decoder\.)?embed_tokens)\.weight$/, '$1lm_head.weight'],
  [/^(gpt_neox\.)?embed_in\.weight$/, 'embed_out.weight'],
  [
    /^((model|transformer)\.)?((language_model|text_model|decoder)\.)?(embed_tokens|wte|word_embeddings|tokens_embed)\.weight$/,
    'lm_head.weight',
  ],
  [/^backbone\.embeddings?\.weight$/, 'lm_head.weight'],
]
/** Decoders whose head has another name. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  whisper: 'proj_out.weight',
  moonshine: 'proj_out.weight',
}

export type Head =
  | { readonly kind: 'head'; readonly name: string }
  /** The model has no head. */
  | { readonly kind: 'none' }
  /** The model may have a head, but its name is unknown, or it is unknown whether it can have its own weights. */
  | { readonly kind: 'unknown'; readonly why: string }

/** The head that is tied to this embedding and not stored. `hasHead`: the model is known to have one. */
export function tiedHeadOf(embedding: string, tensors: Tensors, config: Config, hasHead = false): Head {
  const names = [...tensors.keys()]
  const masked = MASKED.find(([part]) => names.some((name) => part.test(name)))
  if (masked) return { kind: 'head', name: masked[1] }
  const [architecture] = Array.isArray(config?.architectures) ? (config.architectures as unknown[]) : []
  if (!hasHead && typeof architecture === 'string' && !WITH_HEAD.test(architecture)) return { kind: 'none' }
  // Encoders without the other tensors of a head.
  if (/(^|\.)embeddings\.(word|tok|token)_embeddings?\.weight$/.test(embedding)) return { kind: 'none' }
  if (isShared(tensors, config))
    return { kind: 'unknown', why: 'encoder, decoder and head of the model share one embedding' }
  const type = String(config?.model_type)
  const found = CAUSAL.find(([pattern]) => pattern.test(embedding))
  if (found) return { kind: 'head', name: OTHER_NAMES[type] ?? embedding.replace(...found) }
  return { kind: 'unknown', why: `the name of the head that is tied to ${embedding} is not known` }
}

/** Whether encoder and decoder share one embedding. The loader ties it by the same setting as the head. */
export function isShared(tensors: Tensors, config: Config): boolean {
  const names = [...tensors.keys()].filter((name) => SHARED.test(name))
  if (names.some((name) => /(^|\.)shared\.weight$/.test(name))) return true
  return config?.is_encoder_decoder === true && names.length > 1
}

/** The token embeddings of a model. */
export const embeddingsOf = (tensors: Tensors): string[] => [...tensors.keys()].filter((name) => EMBEDDING.test(name))

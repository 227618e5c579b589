/** What a configuration says to its own class, and must say to the class of a mixture. */
import { isObject } from '../../core/json/text.js'
import type { Value } from '../../expr/values.js'
import type { ConfigChange } from './architectures.js'

type Config = Readonly<Record<string, unknown>>

const TOKENS = { bos_token_id: 1, eos_token_id: 2 }

/** What classes assume where a configuration is silent. Other classes assume other things, so it is written. */
const DEFAULTS: Readonly<Record<string, Config>> = {
  llama: { rms_norm_eps: 1e-6, max_position_embeddings: 2048, hidden_act: 'silu', ...TOKENS },
  mistral: {
    ...{ rms_norm_eps: 1e-6, max_position_embeddings: 131072, hidden_act: 'silu', num_key_value_heads: 8 },
    ...TOKENS,
  },
  qwen2: { rms_norm_eps: 1e-6, max_position_embeddings: 32768, hidden_act: 'silu', num_key_value_heads: 32 },
  qwen3: {
    rms_norm_eps: 1e-6,
    max_position_embeddings: 32768,
    hidden_act: 'silu',
    num_key_value_heads: 32,
    head_dim: 128,
  },
  mixtral: {
    ...{ rms_norm_eps: 1e-5, max_position_embeddings: 131072, hidden_act: 'silu', num_key_value_heads: 8 },
    ...TOKENS,
  },
  qwen2_moe: { rms_norm_eps: 1e-6, max_position_embeddings: 32768, hidden_act: 'silu', num_key_value_heads: 16 },
  qwen3_moe: { rms_norm_eps: 1e-6, max_position_embeddings: 32768, hidden_act: 'silu', num_key_value_heads: 4 },
  deepseek: {
    ...{ rms_norm_eps: 1e-6, max_position_embeddings: 2048, hidden_act: 'silu' },
    ...{ bos_token_id: 100000, eos_token_id: 100001 },
  },
}
const ROPE_THETA: Readonly<Record<string, number>> = { mixtral: 1e6 }

/** Keys that a configuration leaves to the defaults of its class, and whose meaning must survive another class. */
export function stated(config: Config, { tensors }: Pick<Value, 'tensors'>): ConfigChange {
  const heads = config.num_attention_heads
  const silent = { num_key_value_heads: heads, ...DEFAULTS[String(config.model_type)] }
  const missing = Object.entries(silent).filter(([key, value]) => config[key] === undefined && value !== undefined)
  const hasHead = [...tensors.keys()].some((name) => /(^|\.)lm_head\.weight$/.test(name))
  return {
    ...Object.fromEntries(missing),
    // Classes of mixtures refuse null here, or compute with it.
    ...(config.num_key_value_heads === null && heads !== undefined ? { num_key_value_heads: heads } : {}),
    ...(config.head_dim === null ? { head_dim: headWidth(config) } : {}),
    ...positions(config),
    tie_word_embeddings: config.tie_word_embeddings ?? !hasHead,
  }
}

/** The width of a head where a configuration has none. */
export const headWidth = ({ hidden_size: hidden, num_attention_heads: heads }: Config): number =>
  Number(hidden) / Number(heads)

/**
 * Rotary positions as both generations of transformers read them: `rope_theta` and `rope_scaling`, which come first where
 * `rope_parameters` is known as well.
 */
function positions(config: Config): ConfigChange {
  const { rope_scaling: scaling, rope_parameters: parameters } = config
  const own = isObject(scaling) ? scaling : isObject(parameters) ? parameters : {}
  // By kinds of layers, which the classes of these models do not have.
  if (Object.values(own).some(isObject)) return {}
  const { rope_theta: theta, ...rest } = own
  const kind = rest.rope_type ?? rest.type
  return {
    rope_theta: theta ?? config.rope_theta ?? ROPE_THETA[String(config.model_type)] ?? 10000,
    ...(own === parameters && kind !== undefined && kind !== 'default'
      ? { rope_scaling: { type: kind, ...rest } }
      : {}),
  }
}

/** Layers that see the last positions only: how many, and how far. */
export interface Windows {
  readonly size: number
  readonly layers: 'all' | 'some'
}

/**
 * The sliding windows of a dense model, as its class reads them. Windows of the whole context are none. `layers`: which of the
 * layers of the configuration it has.
 */
export function windowsOf(config: Config, layers: readonly number[]): Windows | undefined {
  const type = String(config.model_type)
  const { sliding_window: size = 4096, layer_types: types, max_window_layers: first = 28 } = config
  const context = config.max_position_embeddings ?? DEFAULTS[type]?.max_position_embeddings
  if (typeof size !== 'number' || size >= Number(context)) return undefined
  if (type === 'mistral') return { size, layers: 'all' }
  if (!/^qwen[23]$/.test(type) || config.use_sliding_window !== true) return undefined
  const kinds = layers.map((layer) =>
    Array.isArray(types) ? types[layer] === 'sliding_attention' : layer >= Number(first),
  )
  if (!kinds.includes(true)) return undefined
  return { size, layers: kinds.includes(false) ? 'some' : 'all' }
}

/** Numbers of a configuration that layouts depend on. */
import type { Facts, Settings } from './types.js'

/** The configuration of the language model: its own, or that of the part `text_config`. */
function textConfig({ config }: Facts): Settings | undefined {
  const part = config?.text_config ?? config?.llm_config
  return typeof part === 'object' && part !== null ? (part as Settings) : config
}

/** A positive number of the language model's configuration, by the first key that it has. Otherwise what is missing. */
function numberIn(facts: Facts, ...keys: readonly string[]): number | string {
  const config = textConfig(facts)
  for (const key of keys) {
    const value = config?.[key]
    if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value
  }
  return `${keys[0]} in config.json`
}

/**
 * The rows of query, key and value of grouped attention: heads · size of a head, and twice key/value heads · size of a
 * head. `one`: key/value heads where the configuration has none.
 */
export function attentionRows(facts: Facts): readonly number[] | string {
  const heads = numberIn(facts, 'num_attention_heads', 'n_head', 'n_heads')
  if (typeof heads === 'string') return heads
  const groups = numberIn(facts, 'num_key_value_heads', 'multi_query_group_num', 'num_kv_heads')
  const own = numberIn(facts, 'head_dim', 'kv_channels')
  const hidden = numberIn(facts, 'hidden_size', 'd_model', 'n_embd')
  if (typeof own === 'string' && typeof hidden === 'string') return hidden
  const size = typeof own === 'number' ? own : (hidden as number) / heads
  const pairs = typeof groups === 'number' ? groups : heads
  return [heads * size, pairs * size, pairs * size]
}

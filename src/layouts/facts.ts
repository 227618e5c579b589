/** Numbers of a configuration that layouts depend on. */
import type { Counts, Facts, Settings } from './types.js'

/** The configuration of the language model: its own, or that of the part `text_config`. */
export function settingsOf({ config }: Facts): Settings | undefined {
  return partOf(config, 'text_config') ?? partOf(config, 'llm_config') ?? config
}

/** An object in a configuration. */
export function partOf(config: Settings | undefined, key: string): Settings | undefined {
  const part = config?.[key]
  return typeof part === 'object' && part !== null ? (part as Settings) : undefined
}

/** A positive number of a configuration, by the first key that it has. Otherwise the key that is missing. */
export function numberIn(config: Settings | undefined, ...keys: readonly string[]): number | string {
  for (const key of keys) {
    const value = config?.[key]
    if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value
  }
  return keys[0]!
}

/** The number of attention heads. */
export const headsIn = (facts: Facts): number | string =>
  numberIn(settingsOf(facts), 'num_attention_heads', 'n_head', 'n_heads')

/** The size of the language model's hidden states. */
export const hiddenSize = (facts: Facts): number | string =>
  numberIn(settingsOf(facts), 'hidden_size', 'd_model', 'n_embd', 'n_embed')

/** The rows of one attention head. */
function headSizeIn(facts: Facts): number | string {
  const own = numberIn(settingsOf(facts), 'head_dim', 'kv_channels')
  if (typeof own === 'number') return own
  const hidden = hiddenSize(facts)
  const heads = headsIn(facts)
  if (typeof heads === 'string') return heads
  return typeof hidden === 'string' ? hidden : hidden / heads
}

/** The rows of query, key and value in each of so many groups of heads. `pairs`: the heads of key and value, all in all. */
export function groupedRows(facts: Facts, groups: number, pairs: number): readonly number[] | string {
  const heads = headsIn(facts)
  if (typeof heads === 'string') return heads
  const size = headSizeIn(facts)
  if (typeof size === 'string') return size
  return [heads, pairs, pairs].map((count) => (count / groups) * size)
}

/** The rows of query, key and value of grouped attention, one after another. As many pairs as heads where none are named. */
export function attentionRows(facts: Facts): readonly number[] | string {
  const pairs = numberIn(settingsOf(facts), 'num_key_value_heads', 'num_kv_heads')
  const heads = headsIn(facts)
  if (typeof heads === 'string') return heads
  return groupedRows(facts, 1, typeof pairs === 'number' ? pairs : heads)
}

/** The rows of query, key and value of one head. */
export const headRows: Counts = (facts) => {
  const heads = headsIn(facts)
  return typeof heads === 'string' ? heads : groupedRows(facts, heads, heads)
}

const EXPERT_COUNTS = [
  'num_local_experts',
  'num_experts',
  'n_routed_experts',
  'moe_num_experts',
  'num_routed_experts',
] as const

/**
 * The number of experts in the configuration, for a stack over the capture `expert`; 0 where it does not say it. Where it has
 * several numbers, `found` is right if it is one of them.
 */
export function expertsIn(capture: string, facts: Facts, found: number): number {
  if (capture !== 'expert') return 0
  const counts = EXPERT_COUNTS.flatMap((key) => {
    const count = numberIn(settingsOf(facts), key)
    return typeof count === 'number' ? [count] : []
  })
  return counts.includes(found) ? found : (counts[0] ?? 0)
}

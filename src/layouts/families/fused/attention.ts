import { allOf } from '../../../core/words.js'
import { groupedRows, headRows, headsIn, numberIn, partOf, settingsOf } from '../../facts.js'
import type { Count, Counts, Facts, Family, FamilyForm, NamePattern } from '../../types.js'

/** The query, key and value of a layer in one tensor. */
interface FusedAttention {
  readonly name: string
  readonly title: string
  readonly types: readonly string[]
  /** What comes before the name of each tensor. */
  readonly module: NamePattern
  /** The tensor's name after that. */
  readonly fused: string
  /** The names of query, key and value after that, in the order of the fused tensor. */
  readonly parts: readonly string[]
  /** How many groups of heads there are, with query, key and value one after another in each. */
  readonly groups?: Count
  readonly sizes?: Counts
  readonly configs?: Readonly<Record<'fused' | 'parts', NonNullable<FamilyForm['config']>>>
}

const IN_FULL = ['query', 'key', 'value']
export const PROJECTIONS = ['q_proj', 'k_proj', 'v_proj']

export function fusedAttention(family: FusedAttention): Family {
  const { name, title, types, module, fused, parts, groups, sizes, configs } = family
  const concat = parts.map((part) => `${module}.${part}.{wb}`)
  const is = { concat, axis: 0, ...(groups === undefined ? {} : { groups }), ...(sizes === undefined ? {} : { sizes }) }
  return {
    name,
    title,
    types,
    forms: [
      {
        name: 'fused',
        says: `${fused}: query, key and value in one tensor`,
        rules: [{ tensor: `${module}.${fused}.{wb}`, is }],
        ...(configs ? { config: configs.fused } : {}),
      },
      {
        name: 'parts',
        says: allOf(parts),
        rules: [],
        ...(configs ? { config: configs.parts } : {}),
      },
    ],
  }
}

/** Query, key and value of the first head, then of the second, and so on. */
const perHead = { groups: headsIn, sizes: headRows }

export const gptNeoxQkv = fusedAttention({
  name: 'gpt-neox-qkv',
  title: 'GPT-NeoX, Pythia: attention',
  types: ['gpt_neox', 'gpt_neox_japanese'],
  module: '{prefix}layers.{layer}.attention',
  fused: 'query_key_value',
  parts: IN_FULL,
  ...perHead,
})

export const persimmon = fusedAttention({
  name: 'persimmon',
  title: 'Persimmon, Fuyu',
  types: ['persimmon', 'fuyu'],
  module: '{prefix}layers.{layer}.self_attn',
  fused: 'query_key_value',
  parts: IN_FULL,
  ...perHead,
})

export const bloom = fusedAttention({
  name: 'bloom',
  title: 'BLOOM',
  types: ['bloom'],
  module: '{prefix}h.{layer}.self_attention',
  fused: 'query_key_value',
  parts: IN_FULL,
  ...perHead,
})

export const chatglm1 = fusedAttention({
  name: 'chatglm1',
  title: 'ChatGLM (first generation)',
  types: ['chatglm'],
  // No other prefix: the vision encoder of GLM-4V has these names, too, and other heads.
  module: 'transformer.layers.{layer}.attention',
  fused: 'query_key_value',
  parts: IN_FULL,
  ...perHead,
})

/** The number of groups of heads in Falcon, which has three kinds of attention. */
function falconGroups(facts: Facts): number | string {
  const config = settingsOf(facts)
  if (config === undefined) return 'multi_query'
  // The first release of the 40B model names its kind by its model type.
  if (config.new_decoder_architecture === true || config.model_type === 'RefinedWeb') {
    const pairs = numberIn(config, 'num_kv_heads', 'n_head_kv')
    return typeof pairs === 'number' ? pairs : headsIn(facts)
  }
  return config.multi_query === false ? headsIn(facts) : 1
}

export const falcon = fusedAttention({
  name: 'falcon',
  title: 'Falcon',
  types: ['falcon', 'RefinedWeb', 'RefinedWebModel'],
  module: '{prefix}h.{layer}.self_attention',
  fused: 'query_key_value',
  parts: IN_FULL,
  groups: falconGroups,
  // Each group has one key and one value.
  sizes: (facts) => {
    const groups = falconGroups(facts)
    return typeof groups === 'string' ? groups : groupedRows(facts, groups, groups)
  },
})

/** One group. MPT has as many keys and values as heads, if a part of the configuration does not say otherwise. */
const mptRows: Counts = (facts) => {
  const part = partOf(settingsOf(facts), 'attn_config')
  const pairs = part?.attn_type === 'multiquery_attention' ? 1 : numberIn(part, 'kv_n_heads')
  const heads = headsIn(facts)
  if (typeof heads === 'string') return heads
  return groupedRows(facts, 1, typeof pairs === 'number' ? pairs : heads)
}

export const mpt = fusedAttention({
  name: 'mpt',
  title: 'MPT',
  types: ['mpt'],
  module: '{prefix}blocks.{layer}.attn',
  fused: 'Wqkv',
  parts: ['Wq', 'Wk', 'Wv'],
  sizes: mptRows,
})

export const dbrx = fusedAttention({
  name: 'dbrx',
  title: 'DBRX: attention',
  types: ['dbrx'],
  module: '{prefix}blocks.{layer}.norm_attn_norm.attn',
  fused: 'Wqkv',
  parts: PROJECTIONS,
  sizes: (facts) => {
    const pairs = numberIn(partOf(settingsOf(facts), 'attn_config'), 'kv_n_heads')
    return typeof pairs === 'string' ? `attn_config.${pairs}` : groupedRows(facts, 1, pairs)
  },
})

/** StarCoder: one key and value for all heads, or one for each. */
const bigcodeGroups: Count = (facts) => {
  const config = settingsOf(facts)
  if (config === undefined) return 'multi_query'
  return config.multi_query === false ? headsIn(facts) : 1
}

export const gptBigcode = fusedAttention({
  name: 'gpt-bigcode',
  title: 'GPT-BigCode, StarCoder',
  types: ['gpt_bigcode'],
  module: '{prefix}h.{layer}.attn',
  fused: 'c_attn',
  parts: PROJECTIONS,
  groups: bigcodeGroups,
  sizes: (facts) => {
    const groups = bigcodeGroups(facts)
    return typeof groups === 'string' ? groups : groupedRows(facts, groups, groups)
  },
})

/** GPT-2 and other decoders with their own names. */
import { type Config, type Family, has, norm, QKV, type Row } from './family.js'

const isBigCode = (config: Config): boolean => config?.model_type === 'gpt_bigcode'

export const gpt2: Family = {
  name: 'gpt2',
  sign: /h\.\d+\.attn\.c_attn\.weight$/,
  layer: /h\.\d+/,
  heads: ['n_head', 'num_attention_heads'],
  plain: ['gpt2', 'openai-gpt', 'imagegpt'],
  positions: /(^|\.)wpe\.weight$/,
  query: /attn\.c_attn\.weight$/,
  conv1d: true,
  // StarCoder: one key/value head for all, or all three head by head.
  keyValueHeads: (config) => (isBigCode(config) && config?.multi_query !== false ? 1 : undefined),
  grouped: false,
  interleaved: (config) => isBigCode(config) && config?.multi_query === false,
  choose: (_, config) => (isBigCode(config) && config?.multi_query === false ? headByHead : []),
  rows: [
    [/wte\.weight$/, [null, 'hidden']],
    [/wpe\.weight$/, [null, 'hidden']],
    [/lm_head\.weight$/, [null, 'hidden']],
    [/score\.weight$/, [null, 'hidden']],
    [/ln_(1|2|f)\.(weight|bias)$/, norm],
    [/attn\.c_attn\.weight$/, ['hidden', ...QKV]],
    [/attn\.c_attn\.bias$/, [...QKV]],
    [/attn\.c_proj\.weight$/, ['O', 'hidden']],
    [/(attn|mlp)\.c_proj\.bias$/, norm],
    [/mlp\.c_fc\.weight$/, ['hidden', '*.ffn']],
    [/mlp\.c_fc\.bias$/, ['*.ffn']],
    [/mlp\.c_proj\.weight$/, ['*.ffn', 'hidden']],
    [/attn\.(bias|masked_bias)$/, []],
  ],
}

const headByHead: readonly Row[] = [
  [/attn\.c_attn\.weight$/, ['hidden', 'QKV']],
  [/attn\.c_attn\.bias$/, ['QKV']],
]

export const gptj: Family = {
  name: 'gptj',
  sign: /h\.\d+\.attn\.q_proj\.weight$/,
  layer: /h\.\d+/,
  heads: ['n_head', 'num_attention_heads'],
  query: /attn\.q_proj\.weight$/,
  rows: [
    [/wte\.weight$/, [null, 'hidden']],
    [/lm_head\.weight$/, [null, 'hidden']],
    [/lm_head\.bias$/, [null]],
    [/score\.weight$/, [null, 'hidden']],
    [/qa_outputs\.weight$/, [null, 'hidden']],
    [/qa_outputs\.bias$/, [null]],
    [/ln_(1|f)\.(weight|bias)$/, norm],
    [/attn\.q_proj\.weight$/, ['Q', 'hidden']],
    [/attn\.k_proj\.weight$/, ['K', 'hidden']],
    [/attn\.v_proj\.weight$/, ['V', 'hidden']],
    [/attn\.out_proj\.weight$/, ['hidden', 'O']],
    [/mlp\.fc_in\.weight$/, ['*.ffn', 'hidden']],
    [/mlp\.fc_in\.bias$/, ['*.ffn']],
    [/mlp\.fc_out\.weight$/, ['hidden', '*.ffn']],
    [/mlp\.fc_out\.bias$/, norm],
    [/attn\.(bias|masked_bias|embed_positions)$/, []],
  ],
}

export const gptNeo: Family = {
  name: 'gpt_neo',
  sign: /h\.\d+\.attn\.attention\.q_proj\.weight$/,
  layer: /h\.\d+/,
  heads: ['num_heads', 'num_attention_heads'],
  plain: ['gpt_neo'],
  positions: /(^|\.)wpe\.weight$/,
  query: /attention\.q_proj\.weight$/,
  rows: [
    [/(wte|wpe|lm_head|score|qa_outputs|classifier)\.weight$/, [null, 'hidden']],
    [/(qa_outputs|classifier)\.bias$/, [null]],
    [/ln_(1|2|f)\.(weight|bias)$/, norm],
    [/attn\.attention\.q_proj\.weight$/, ['Q', 'hidden']],
    [/attn\.attention\.k_proj\.weight$/, ['K', 'hidden']],
    [/attn\.attention\.v_proj\.weight$/, ['V', 'hidden']],
    [/attn\.attention\.out_proj\.weight$/, ['hidden', 'O']],
    [/attn\.attention\.out_proj\.bias$/, norm],
    [/mlp\.c_fc\.weight$/, ['*.ffn', 'hidden']],
    [/mlp\.c_fc\.bias$/, ['*.ffn']],
    [/mlp\.c_proj\.weight$/, ['hidden', '*.ffn']],
    [/mlp\.c_proj\.bias$/, norm],
    [/attn\.attention\.(bias|masked_bias)$/, []],
  ],
}

const feedForward: readonly Row[] = [
  [/mlp\.dense_h_to_4h\.weight$/, ['*.ffn', 'hidden']],
  [/mlp\.dense_h_to_4h\.bias$/, ['*.ffn']],
  [/mlp\.dense_4h_to_h\.weight$/, ['hidden', '*.ffn']],
  [/mlp\.dense_4h_to_h\.bias$/, norm],
]

export const gptNeox: Family = {
  name: 'gpt_neox',
  sign: /layers\.\d+\.attention\.query_key_value\.weight$/,
  layer: /layers\.\d+/,
  heads: ['num_attention_heads'],
  query: /attention\.query_key_value\.weight$/,
  interleaved: () => true,
  head: /(^|\.)embed_out\.weight$/,
  rows: [
    [/(embed_in|embed_out|lm_head|score|qa_outputs|classifier)\.weight$/, [null, 'hidden']],
    [/(qa_outputs|classifier)\.bias$/, [null]],
    [/(input_layernorm|post_attention_layernorm|final_layer_norm)\.(weight|bias)$/, norm],
    [/attention\.query_key_value\.weight$/, ['QKV', 'hidden']],
    [/attention\.query_key_value\.bias$/, ['QKV']],
    [/attention\.dense\.weight$/, ['hidden', 'O']],
    [/attention\.dense\.bias$/, norm],
    ...feedForward,
    [/attention\.(bias|masked_bias|rotary_emb\.inv_freq)$/, []],
  ],
}

/** Bloom and Falcon have the same names, and different orders in what they fuse. */
const bloomRows: readonly Row[] = [
  [/(word_embeddings|lm_head|score|qa_outputs|classifier)\.weight$/, [null, 'hidden']],
  [/(qa_outputs|classifier)\.bias$/, [null]],
  [/(word_embeddings_layernorm|input_layernorm|post_attention_layernorm|ln_attn|ln_mlp|ln_f)\.(weight|bias)$/, norm],
  [/self_attention\.query_key_value\.weight$/, ['QKV', 'hidden']],
  [/self_attention\.query_key_value\.bias$/, ['QKV']],
  [/self_attention\.dense\.weight$/, ['hidden', 'O']],
  [/self_attention\.dense\.bias$/, norm],
  ...feedForward,
]

const ALIBI = 'heads keep their order: ALiBi has a slope of its own for each of them'

export const bloom: Family = {
  name: 'bloom',
  sign: /h\.\d+\.self_attention\.query_key_value\.weight$/,
  fits: (shapes) => has(shapes, /word_embeddings_layernorm\.weight$/),
  layer: /h\.\d+/,
  heads: ['n_head', 'num_attention_heads'],
  query: /self_attention\.query_key_value\.weight$/,
  plain: ['bloom'],
  interleaved: () => true,
  fixedHeads: () => ALIBI,
  rows: bloomRows,
}

const isGrouped = (config: Config): boolean => config?.new_decoder_architecture === true
/** The default of transformers is true. */
const isMultiQuery = (config: Config): boolean => config?.multi_query !== false

export const falcon: Family = {
  name: 'falcon',
  sign: /h\.\d+\.self_attention\.query_key_value\.weight$/,
  layer: /h\.\d+/,
  heads: ['num_attention_heads', 'n_head'],
  grouped: true,
  keyValueHeads: (config, heads) => {
    const { num_kv_heads: count, n_head_kv: other } = config ?? {}
    if (isGrouped(config)) return typeof count === 'number' ? count : typeof other === 'number' ? other : heads
    return isMultiQuery(config) ? 1 : heads
  },
  query: /self_attention\.query_key_value\.weight$/,
  interleaved: () => true,
  fixedHeads: (config) => (config?.alibi === true ? ALIBI : undefined),
  rows: bloomRows,
}

export const mpt: Family = {
  name: 'mpt',
  sign: /blocks\.\d+\.attn\.Wqkv\.weight$/,
  layer: /blocks\.\d+/,
  heads: ['n_heads', 'num_attention_heads'],
  query: /attn\.Wqkv\.weight$/,
  fixedHeads: () => ALIBI,
  rows: [
    [/(wte|lm_head|score|qa_outputs|classifier)\.weight$/, [null, 'hidden']],
    [/(qa_outputs|classifier)\.bias$/, [null]],
    [/(norm_1|norm_2|norm_f)\.(weight|bias)$/, norm],
    [/attn\.Wqkv\.weight$/, [...QKV, 'hidden']],
    [/attn\.Wqkv\.bias$/, [...QKV]],
    [/attn\.out_proj\.weight$/, ['hidden', 'O']],
    [/attn\.out_proj\.bias$/, norm],
    [/ffn\.up_proj\.weight$/, ['*.ffn', 'hidden']],
    [/ffn\.up_proj\.bias$/, ['*.ffn']],
    [/ffn\.down_proj\.weight$/, ['hidden', '*.ffn']],
    [/ffn\.down_proj\.bias$/, norm],
  ],
}

/** Feed-forward units pass attention of a single head: a part of them are its values. */
export const hlbGpt: Family = {
  name: 'hlb-gpt',
  sign: /attn_layers\.\d+\.expand$/,
  layer: /attn_layers\.\d+/,
  heads: [],
  query: /expand$/,
  head: /(^|\.)outputs\.weight$/,
  rows: [
    [/(embedding|outputs)\.weight$/, [null, 'hidden']],
    [/norm\.weight$/, norm],
    [/position_bias_mult$/, []],
  ],
  choose: (shapes) => {
    const expand = [...shapes].find(([name]) => /attn_layers\.\d+\.expand$/.test(name))?.[1].shape
    const project = [...shapes].find(([name]) => /attn_layers\.\d+\.project$/.test(name))?.[1].shape
    const [rows, width] = [expand?.[0] ?? 0, expand?.[1] ?? 0]
    const units = project?.[1] ?? 0
    const local = units - width
    const places = (rows - 2 * units) / 2
    if (!(local > 0) || !(places > 0) || !Number.isInteger(places)) return []
    const [key, unit, value] = [`*.qk=${places}`, `*.local=${local}`, `*.value=${width}`]
    return [
      [/attn_layers\.\d+\.expand$/, [[key, key, unit, value, unit, value], 'hidden']],
      [/attn_layers\.\d+\.project$/, ['hidden', [unit, value]]],
    ]
  },
}

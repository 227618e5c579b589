/** Llama and its many relatives. */
import type { Shapes } from '../../spec.js'
import { setting } from '../builder.js'
import { type Config, type Family, has, norm, type Row } from './family.js'

const EXPERTS = String.raw`(?:experts\.\d+|shared_experts?)`
const row = (pattern: string, axes: Row[1]): Row => [new RegExp(pattern), axes]

/** Embeddings, norms and feed-forward layers, experts among them. */
export const llamaRows: readonly Row[] = [
  [/embed_tokens\.weight$/, [null, 'hidden']],
  [/lm_head\.weight$/, [null, 'hidden']],
  [/lm_head\.bias$/, [null]],
  [/score\.weight$/, [null, 'hidden']],
  [/(^|\.)(norm|final_layernorm)\.(weight|bias)$/, norm],
  [/embed_positions\.weight$/, [null, 'hidden']],
  [/(self_attn|final)_layer_norm\.(weight|bias)$/, norm],
  [/(input|post_attention|pre_feedforward|post_feedforward|post_self_attn|post_mlp)_layernorm\.(weight|bias)$/, norm],
  [/mlp\.(gate|up)_proj\.weight$/, ['*.ffn', 'hidden']],
  [/mlp\.(gate|up)_proj\.bias$/, ['*.ffn']],
  [/mlp\.gate_up_proj\.weight$/, [['*.ffn', '*.ffn'], 'hidden']],
  [/(?:mlp\.(?:fc1|c_fc)|layers\.\d+\.fc1)\.weight$/, ['*.ffn', 'hidden']],
  [/(?:mlp\.(?:fc1|c_fc)|layers\.\d+\.fc1)\.bias$/, ['*.ffn']],
  [/(?:mlp\.(?:down_proj|fc2|c_proj)|layers\.\d+\.fc2)\.weight$/, ['hidden', '*.ffn']],
  [/(?:mlp\.(?:down_proj|fc2|c_proj)|layers\.\d+\.fc2)\.bias$/, norm],
  [/(?:block_sparse_moe|mlp)\.gate\.weight$/, [null, 'hidden']],
  [/mlp\.gate\.e_score_correction_bias$/, [null]],
  [/mlp\.shared_expert_gate\.weight$/, [null, 'hidden']],
  row(String.raw`${EXPERTS}\.(w1|w3|gate_proj|up_proj)\.weight$`, ['MODULE.ffn', 'hidden']),
  row(String.raw`${EXPERTS}\.(w2|down_proj)\.weight$`, ['hidden', 'MODULE.ffn']),
  [/rotary_emb\.inv_freq$/, [null]],
]

/**
 * Experts in one tensor per projection: they can change places if the router scores each by itself, and they share the
 * order of their units. Shapes say which axis has the units, and biases that gate and value take turns (gpt-oss).
 */
export function expertRows(shapes: Shapes, config: Config): readonly Row[] {
  const shapeOf = (pattern: RegExp) => [...shapes].find(([name]) => pattern.test(name))?.[1].shape
  const first = shapeOf(/mlp\.experts\.gate_up_proj$/)
  const last = shapeOf(/mlp\.experts\.down_proj$/)
  if (first?.length !== 3 || last?.length !== 3) return []
  const [experts, outputs, inputs] = first as [number, number, number]
  const groups = [setting(config, 'n_group'), setting(config, 'topk_group')]
  const scored =
    config !== undefined && groups.every((n) => (n ?? 1) === 1) && has(shapes, /mlp\.(gate|router)\.weight$/)
  const expert = scored ? '*.experts' : null
  const router: readonly Row[] = [
    [/mlp\.(gate|router)\.weight$/, [expert, 'hidden']],
    [/mlp\.(router\.bias|gate\.e_score_correction_bias)$/, [expert]],
  ]
  if (outputs === 2 * last[2]! && inputs === last[1])
    return [
      ...router,
      [/mlp\.experts\.gate_up_proj$/, [expert, ['*.ffn', '*.ffn'], 'hidden']],
      [/mlp\.experts\.down_proj$/, [expert, 'hidden', '*.ffn']],
    ]
  const turns = has(shapes, /mlp\.experts\.gate_up_proj_bias$/)
  if (!turns || inputs !== 2 * last[1]! || outputs !== last[2] || experts !== last[0]) return []
  return [
    ...router,
    [/mlp\.experts\.gate_up_proj$/, [expert, 'hidden', '*.ffn*2']],
    [/mlp\.experts\.gate_up_proj_bias$/, [expert, '*.ffn*2']],
    [/mlp\.experts\.down_proj$/, [expert, '*.ffn', 'hidden']],
    [/mlp\.experts\.down_proj_bias$/, [expert, 'hidden']],
  ]
}

export const llama: Family = {
  name: 'llama',
  sign: /layers\.\d+\.self_attn\.(q_proj|qkv_proj)\.weight$/,
  layer: /layers\.\d+/,
  heads: ['num_attention_heads'],
  grouped: true,
  query: /self_attn\.q_proj\.weight$/,
  choose: expertRows,
  rows: [
    ...llamaRows,
    [/self_attn\.q_proj\.weight$/, ['Q', 'hidden']],
    [/self_attn\.q_proj\.bias$/, ['Q']],
    [/self_attn\.k_proj\.weight$/, ['K', 'hidden']],
    [/self_attn\.k_proj\.bias$/, ['K']],
    [/self_attn\.v_proj\.weight$/, ['V', 'hidden']],
    [/self_attn\.v_proj\.bias$/, ['V']],
    [/self_attn\.(?:o_proj|out_proj|dense)\.weight$/, ['hidden', 'O']],
    [/self_attn\.(?:o_proj|out_proj|dense)\.bias$/, norm],
    [/self_attn\.qkv_proj\.weight$/, [['Q', 'K', 'V'], 'hidden']],
    [/self_attn\.[qk]_norm\.weight$/, ['QKNORM']],
    [/self_attn\.sinks$/, ['H']],
  ],
}

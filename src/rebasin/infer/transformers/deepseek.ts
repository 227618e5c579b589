/** Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): queries, keys and values are made from short latent vectors. */
import type { Shapes } from '../../spec.js'
import { setting } from '../builder.js'
import { type Config, type Family, norm, type Row } from './family.js'
import { expertRows, llamaRows } from './llama.js'

export const deepseek: Family = {
  name: 'deepseek',
  sign: /layers\.\d+\.self_attn\.kv_a_proj_with_mqa\.weight$/,
  layer: /layers\.\d+/,
  heads: ['num_attention_heads'],
  query: /self_attn\.kv_b_proj\.weight$/,
  rows: [
    ...llamaRows,
    [/self_attn\.q_a_proj\.weight$/, ['*.queries', 'hidden']],
    [/self_attn\.(q_a_proj\.bias|q_a_layernorm\.weight)$/, ['*.queries']],
    [/self_attn\.kv_a_layernorm\.weight$/, ['*.latent']],
    [/self_attn\.o_proj\.bias$/, norm],
    // Multi-token prediction: it reads an embedding and the stream, one after the other.
    [/layers\.\d+\.eh_proj\.weight$/, ['hidden', ['hidden', 'hidden']]],
    [/layers\.\d+\.(enorm|hnorm|shared_head\.norm)\.weight$/, norm],
    [/layers\.\d+\.shared_head\.head\.weight$/, [null, 'hidden']],
  ],
  keeps: (_, config) =>
    setting(config, 'num_attention_heads') === undefined
      ? { kv: 'the number of attention heads is not known without config.json' }
      : {},
  choose: (shapes, config) => [...latentRows(shapes, config), ...expertRows(shapes, config)],
}

function latentRows(shapes: Shapes, config: Config): readonly Row[] {
  const rowsOf = (pattern: RegExp) => [...shapes].find(([name]) => pattern.test(name))?.[1].shape ?? []
  const [joined = 0] = rowsOf(/self_attn\.kv_a_proj_with_mqa\.weight$/)
  const [, latent = 0] = rowsOf(/self_attn\.kv_b_proj\.weight$/)
  const rotary = joined - latent
  const before: Row[] = [
    [/self_attn\.kv_a_proj_with_mqa\.weight$/, [[`*.latent=${latent}`, String(rotary)], 'hidden']],
    [/self_attn\.kv_a_proj_with_mqa\.bias$/, [[`*.latent=${latent}`, String(rotary)]]],
  ]
  const heads = setting(config, 'num_attention_heads')
  const head = `*.kv=${heads ?? 1}`
  const [queries = 0] = rowsOf(/self_attn\.(q_b_proj|q_proj)\.weight$/)
  const [keys = 0] = rowsOf(/self_attn\.kv_b_proj\.weight$/)
  const [, values = 0] = rowsOf(/self_attn\.o_proj\.weight$/)
  const fits = heads !== undefined && [queries, keys, values].every((n) => n > 0 && n % heads === 0)
  const each = (rows: number) => (fits ? `${head}*${rows / heads!}` : null)
  return [
    ...before,
    [/self_attn\.q_b_proj\.weight$/, [each(queries), '*.queries']],
    [/self_attn\.q_proj\.weight$/, [each(queries), 'hidden']],
    [/self_attn\.kv_b_proj\.weight$/, [each(keys), '*.latent']],
    [/self_attn\.o_proj\.weight$/, ['hidden', each(values)]],
  ]
}

/** Encoders with decoders, and CLIP of transformers, whose towers have the layers of BART. */
import type { Shapes } from '../../spec.js'
import { type Family, has, norm, QKV, type Row, type Stack } from './family.js'

export const t5: Family = {
  name: 't5',
  sign: /(encoder|decoder)\.block\.\d+\.layer\.\d\.SelfAttention\.q\.weight$/,
  layer: /(encoder|decoder)\.block\.\d+\.layer\.\d/,
  heads: ['num_heads'],
  plain: ['t5', 'mt5', 'umt5'],
  query: /SelfAttention\.q\.weight$/,
  // Layers of one stack share the order of their heads, by a table of position biases that belongs to one of them.
  attention: (_, layer) => ({
    outer: /^encoder/.test(layer) ? 'encoder.kv' : /layer\.0$/.test(layer) ? 'decoder.kv' : `${layer}.kv`,
    inner: layer,
  }),
  rows: [
    [/(shared|embed_tokens|lm_head)\.weight$/, [null, 'hidden']],
    [/(layer_norm|final_layer_norm)\.weight$/, norm],
    [/(SelfAttention|EncDecAttention)\.(q|k)\.weight$/, ['Q', 'hidden']],
    [/(SelfAttention|EncDecAttention)\.v\.weight$/, ['V', 'hidden']],
    [/(SelfAttention|EncDecAttention)\.o\.weight$/, ['hidden', 'O']],
    [/SelfAttention\.relative_attention_bias\.weight$/, [null, 'G']],
    [/DenseReluDense\.wi(_0|_1)?\.weight$/, ['*.ffn', 'hidden']],
    [/DenseReluDense\.wo\.weight$/, ['hidden', '*.ffn']],
  ],
}

const attentionRows: readonly Row[] = [
  [/self_attn\.[qk]_proj\.weight$/, ['Q', 'hidden']],
  [/encoder_attn\.q_proj\.weight$/, ['Q', 'hidden']],
  [/encoder_attn\.k_proj\.weight$/, ['Q', 'SOURCE']],
  [/_attn\.[qk]_proj\.bias$/, ['Q']],
  [/self_attn\.v_proj\.weight$/, ['V', 'hidden']],
  [/encoder_attn\.v_proj\.weight$/, ['V', 'SOURCE']],
  [/_attn\.v_proj\.bias$/, ['V']],
  [/_attn\.out_proj\.weight$/, ['hidden', 'O']],
  [/_attn\.out_proj\.bias$/, norm],
]

const feedForward: readonly Row[] = [
  [/fc1\.weight$/, ['*.ffn', 'hidden']],
  [/fc1\.bias$/, ['*.ffn']],
  [/fc2\.weight$/, ['hidden', '*.ffn']],
  [/fc2\.bias$/, norm],
]

const bartNorms =
  /(self_attn_layer_norm|encoder_attn_layer_norm|final_layer_norm|layernorm_embedding|layer_norm)\.(weight|bias)$/

const inTwo = (name: string, layer: string) => {
  const inner = /encoder_attn\./.test(name) ? `${layer}.encoder_attn` : layer
  return { outer: `${inner}.kv`, inner }
}

/** Encoder and decoder of BART read the same embedding. */
const bartStack = (name: string): Stack => ({
  stream: 'hidden',
  heads: [/(^|\.)encoder\./.test(name) ? 'encoder_attention_heads' : 'decoder_attention_heads'],
})

const withoutPositions = (shapes: Shapes): string | undefined =>
  ['encoder', 'decoder'].every((part) => has(shapes, new RegExp(`${part}\\.embed_positions\\.weight$`)))
    ? undefined
    : 'the checkpoint has no table of positions: they are computed for units in their order'

export const bart: Family = {
  name: 'bart',
  sign: /decoder\.layers\.\d+\.encoder_attn\.q_proj\.weight$/,
  fits: (shapes) => !has(shapes, /(^|\.)encoder\.conv1\.weight$/),
  layer: /(encoder|decoder)\.layers\.\d+/,
  heads: ['num_attention_heads'],
  plain: ['bart', 'mbart', 'plbart', 'blenderbot', 'blenderbot-small', 'bigbird_pegasus', 'mvp'],
  query: /self_attn\.q_proj\.weight$/,
  head: /(^|\.)(final_logits_bias$|classification_head\.)/,
  stack: bartStack,
  attention: inTwo,
  fixedStream: withoutPositions,
  rows: [
    [/(shared|embed_tokens|embed_positions|lm_head)\.weight$/, [null, 'hidden']],
    [/final_logits_bias$/, []],
    [bartNorms, norm],
    ...attentionRows,
    ...feedForward,
    [/classification_head\.dense\.weight$/, ['classifier', 'hidden']],
    [/classification_head\.dense\.bias$/, ['classifier']],
    [/classification_head\.out_proj\.weight$/, [null, 'classifier']],
    [/classification_head\.out_proj\.bias$/, [null]],
    [/qa_outputs\.weight$/, [null, 'hidden']],
    [/qa_outputs\.bias$/, [null]],
  ],
}

export const whisper: Family = {
  name: 'whisper',
  sign: /decoder\.layers\.\d+\.encoder_attn\.q_proj\.weight$/,
  layer: /(encoder|decoder)\.layers\.\d+/,
  heads: [],
  plain: ['whisper'],
  query: /self_attn\.q_proj\.weight$/,
  head: /(^|\.)proj_out\./,
  fixedStream: withoutPositions,
  stack: (name) => ({
    ...bartStack(name),
    stream: /(^|\.)encoder\./.test(name) ? 'encoder.hidden' : 'decoder.hidden',
    source: 'encoder.hidden',
  }),
  attention: inTwo,
  rows: [
    [/encoder\.conv1\.weight$/, ['encoder.conv1']],
    [/encoder\.conv1\.bias$/, ['encoder.conv1']],
    [/encoder\.conv2\.weight$/, ['hidden', 'encoder.conv1']],
    [/encoder\.conv2\.bias$/, norm],
    [/(embed_tokens|embed_positions|proj_out)\.weight$/, [null, 'hidden']],
    [bartNorms, norm],
    ...attentionRows,
    ...feedForward,
  ],
}

export const clip: Family = {
  name: 'clip',
  encoder: true,
  sign: /encoder\.layers\.\d+\.self_attn\.q_proj\.weight$/,
  // Not a tower of a larger model.
  fits: (shapes) =>
    has(shapes, /encoder\.layers\.\d+\.layer_norm1\.weight$/) &&
    [...shapes.keys()].every((name) => !/layers\.\d+\./.test(name) || clip.layer.test(name)),
  layer: /((text|vision)_model\.)?encoder\.layers\.\d+/,
  heads: ['num_attention_heads'],
  plain: ['clip', 'clip_text_model', 'clip_vision_model', 'siglip', 'siglip_text_model', 'siglip_vision_model'],
  query: /self_attn\.q_proj\.weight$/,
  onlyHead: /(^|\.)(text_projection|visual_projection|text_model\.head|classifier)\./,
  stack: (name) =>
    /(^|\.)(vision_model|visual_projection)\./.test(name)
      ? { stream: 'vision.hidden', part: 'vision_config' }
      : /(^|\.)text_(model|projection)\./.test(name)
        ? { stream: 'text.hidden', part: 'text_config' }
        : { stream: 'hidden' },
  attention: (_, layer) =>
    layer === '' ? { outer: 'pooler.kv', inner: 'pooler' } : { outer: `${layer}.kv`, inner: layer },
  rows: [
    [/embeddings\.(token_embedding|position_embedding)\.weight$/, [null, 'hidden']],
    [/embeddings\.class_embedding$/, norm],
    [/embeddings\.patch_embedding\.weight$/, ['hidden']],
    [/embeddings\.patch_embedding\.bias$/, norm],
    [/(pre_layrnorm|post_layernorm|final_layer_norm|layer_norm[12])\.(weight|bias)$/, norm],
    [/(text_projection|visual_projection|text_model\.head)\.weight$/, [null, 'hidden']],
    [/text_model\.head\.bias$/, [null]],
    // SigLIP's pooler attends to the pictures' places. What it gives is the embedding.
    [/(^|\.)head\.probe$/, ['LAST']],
    [/(^|\.)head\.attention\.in_proj_weight$/, [...QKV, 'hidden']],
    [/(^|\.)head\.attention\.in_proj_bias$/, [...QKV]],
    [/(^|\.)head\.attention\.out_proj\.weight$/, [null, 'O']],
    [/(^|\.)head\.(attention\.out_proj\.bias|layernorm\.(weight|bias)|mlp\.fc2\.bias)$/, []],
    [/(^|\.)head\.mlp\.fc1\.weight$/, ['pooler.ffn']],
    [/(^|\.)head\.mlp\.fc1\.bias$/, ['pooler.ffn']],
    [/(^|\.)head\.mlp\.fc2\.weight$/, [null, 'pooler.ffn']],
    ...attentionRows,
    ...feedForward,
    [/embeddings\.position_ids$/, []],
    [/(^|\.)(logit_scale|logit_bias)$/, []],
  ],
}

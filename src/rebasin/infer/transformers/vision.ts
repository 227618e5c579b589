/** Vision transformers. */
import { setting } from '../builder.js'
import { type Family, has, norm, QKV } from './family.js'

export const vit: Family = {
  name: 'vit',
  encoder: true,
  sign: /(encoder\.layer|layers)\.\d+\.attention\.(attention\.query|q_proj)\.weight$/,
  layer: /(encoder\.layer|layers)\.\d+/,
  heads: ['num_attention_heads'],
  plain: ['vit', 'deit', 'vit_mae', 'vit_msn', 'dinov2', 'audio-spectrogram-transformer'],
  query: /attention\.(attention\.query|q_proj)\.weight$/,
  // DINOv2 classifies by the first place and the mean of the others.
  choose: (shapes) => {
    const of = (pattern: RegExp) => [...shapes].find(([name]) => pattern.test(name))?.[1].shape
    const [width, read] = [of(/(^|\.)layernorm\.weight$/)?.[0], of(/(^|\.)classifier\.weight$/)?.[1]]
    const isTwice = width !== undefined && read === 2 * width && has(shapes, /layer_scale1\.lambda1$/)
    return isTwice ? [[/(^|\.)classifier\.weight$/, [null, ['hidden', 'hidden']]]] : []
  },
  rows: [
    [/embeddings\.mask_token$/, ['LAST']],
    [/embeddings\.(cls_token|distillation_token|position_embeddings)$/, [null, null, 'hidden']],
    [/patch_embeddings\.projection\.weight$/, ['hidden']],
    [/patch_embeddings\.projection\.bias$/, norm],
    [/(layernorm(_before|_after)?|norm[12])\.(weight|bias)$/, norm],
    [/attention\.(output\.dense|o_proj)\.bias$/, norm],
    [/attention\.(attention\.(query|key)|[qk]_proj)\.weight$/, ['Q', 'hidden']],
    [/attention\.(attention\.(query|key)|[qk]_proj)\.bias$/, ['Q']],
    [/attention\.(attention\.value|v_proj)\.weight$/, ['V', 'hidden']],
    [/attention\.(attention\.value|v_proj)\.bias$/, ['V']],
    [/attention\.(output\.dense|o_proj)\.weight$/, ['hidden', 'O']],
    [/(intermediate\.dense|mlp\.fc1)\.weight$/, ['*.ffn', 'hidden']],
    [/(intermediate\.dense|mlp\.fc1)\.bias$/, ['*.ffn']],
    [/mlp\.(gate|up)_proj\.weight$/, ['*.ffn', 'hidden']],
    [/mlp\.(gate|up)_proj\.bias$/, ['*.ffn']],
    [/mlp\.weights_in\.weight$/, [['*.ffn', '*.ffn'], 'hidden']],
    [/mlp\.weights_in\.bias$/, [['*.ffn', '*.ffn']]],
    [/(output\.dense|mlp\.fc2|mlp\.weights_out|mlp\.down_proj)\.weight$/, ['hidden', '*.ffn']],
    [/(output\.dense|mlp\.fc2|mlp\.weights_out|mlp\.down_proj)\.bias$/, norm],
    [/layer_scale[12]\.lambda1$/, norm],
    [/pooler\.dense\.weight$/, [null, 'hidden']],
    [/pooler\.dense\.bias$/, [null]],
    [/(cls_|distillation_)?classifier\.weight$/, [null, 'hidden']],
    [/(cls_|distillation_)?classifier\.bias$/, [null]],
  ],
}

export const timm: Family = {
  name: 'timm-vit',
  encoder: true,
  sign: /blocks\.\d+\.attn\.qkv\.weight$/,
  layer: /blocks\.\d+/,
  heads: ['num_heads', 'num_attention_heads'],
  plain: ['vit', 'deit'],
  query: /attn\.qkv\.weight$/,
  rows: [
    [/(cls_token|pos_embed|dist_token|reg_token)$/, [null, null, 'hidden']],
    [/patch_embed\.proj\.weight$/, ['hidden']],
    [/patch_embed\.proj\.bias$/, norm],
    [/(norm|norm1|norm2|norm_pre|fc_norm)\.(weight|bias)$/, norm],
    [/attn\.qkv\.weight$/, [...QKV, 'hidden']],
    [/attn\.qkv\.bias$/, [...QKV]],
    [/attn\.proj\.weight$/, ['hidden', 'O']],
    [/attn\.proj\.bias$/, norm],
    [/mlp\.fc1\.weight$/, ['*.ffn', 'hidden']],
    [/mlp\.fc1\.bias$/, ['*.ffn']],
    [/mlp\.fc2\.weight$/, ['hidden', '*.ffn']],
    [/mlp\.fc2\.bias$/, norm],
    [/ls[12]\.gamma$/, norm],
    [/(head|head_dist)\.weight$/, [null, 'hidden']],
    [/(head|head_dist)\.bias$/, [null]],
  ],
}

/** OpenAI's CLIP and OpenCLIP: two towers of `nn.MultiheadAttention`. */
export const openClip: Family = {
  name: 'open-clip',
  sign: /(^|\.)transformer\.resblocks\.\d+\.attn\.in_proj_weight$/,
  layer: /(visual\.)?transformer\.resblocks\.\d+/,
  heads: ['heads'],
  // OpenCLIP has the width of a head instead of their number for pictures: 64 by default.
  headCount: (config) => {
    const width = setting(config, 'width')
    const heads = width === undefined ? 0 : width / (setting(config, 'head_width') ?? 64)
    return Number.isInteger(heads) && heads > 0 && config?.patch_size !== undefined ? heads : undefined
  },
  plain: ['clip', 'open_clip'],
  query: /attn\.in_proj_weight$/,
  head: /(^|\.)(text_projection|visual\.proj)$/,
  stack: (name) =>
    /(^|\.)visual\./.test(name)
      ? { stream: 'visual.hidden', part: 'vision_cfg' }
      : { stream: 'hidden', part: 'text_cfg' },
  rows: [
    [/(^|\.)token_embedding\.weight$/, [null, 'hidden']],
    [/(^|\.)(positional_embedding)$/, [null, 'hidden']],
    [/visual\.class_embedding$/, norm],
    [/visual\.conv1\.weight$/, ['hidden']],
    [/(ln_1|ln_2|ln_pre|ln_post|ln_final)\.(weight|bias)$/, norm],
    [/attn\.in_proj_weight$/, [...QKV, 'hidden']],
    [/attn\.in_proj_bias$/, [...QKV]],
    [/attn\.out_proj\.weight$/, ['hidden', 'O']],
    [/attn\.out_proj\.bias$/, norm],
    [/mlp\.c_fc\.weight$/, ['*.ffn', 'hidden']],
    [/mlp\.c_fc\.bias$/, ['*.ffn']],
    [/mlp\.c_proj\.weight$/, ['hidden', '*.ffn']],
    [/mlp\.c_proj\.bias$/, norm],
    [/ls_[12]\.gamma$/, norm],
    [/(^|\.)(text_projection|visual\.proj)$/, ['hidden']],
    [/(^|\.)(logit_scale|logit_bias|attn_mask|input_resolution|context_length|vocab_size)$/, []],
  ],
}

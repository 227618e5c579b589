/** Settings of configurations that describe single layers, by key. */

/** Rules that are one number: whether a layer is of the special kind. */
export type Predicate = (layer: number, value: number) => boolean

/** Layers below this number, or from it on, are of another kind. */
export const THRESHOLDS: Readonly<Record<string, 'below' | 'through'>> = {
  first_k_dense_replace: 'below',
  num_dense_layers: 'below',
  n_dense_layers: 'below',
  num_hash_layers: 'below',
  max_window_layers: 'below',
  moe_layer_start_index: 'below',
  moe_layer_end_index: 'through',
}

/** One layer in so many is of another kind. The value is the offset that is added to the layer's number. */
export const FREQUENCIES: Readonly<Record<string, number>> = {
  decoder_sparse_step: 1,
  full_attention_interval: 1,
  sliding_window_pattern: 1,
  _sliding_window_pattern: 1,
  no_rope_layer_interval: 1,
  interleave_moe_layer_step: 1,
  moe_layer_interval: 1,
  moe_layer_freq: 0,
}

/** Two numbers that form one rule together. */
export const PERIODS: readonly (readonly [period: string, offset: string])[] = [
  ['attn_layer_period', 'attn_layer_offset'],
  ['expert_layer_period', 'expert_layer_offset'],
]

/** Rules that libraries read only if the list is absent. */
export const SUPERSEDED: Readonly<Record<string, readonly string[]>> = {
  full_attention_interval: ['layer_types'],
  sliding_window_pattern: ['layer_types'],
  _sliding_window_pattern: ['layer_types'],
  prefix_dense_sliding_window_pattern: ['layer_types'],
  global_attn_every_n_layers: ['layer_types'],
  max_window_layers: ['layer_types'],
  no_rope_layer_interval: ['no_rope_layers'],
  interleave_moe_layer_step: ['moe_layers'],
  attn_layer_period: ['layers_block_type', 'layer_types'],
  attn_layer_offset: ['layers_block_type', 'layer_types'],
}

/** Rules that another setting turns off. */
export const SWITCHES: Readonly<Record<string, string>> = { max_window_layers: 'use_sliding_window' }

/** Lists of layer numbers. */
export const INDEXES =
  /^(mlp_only_layers|moe_layers|moe_layers_enum|cross_attention_layers|hybrid_layer_ids|full_attn_idxs|attn_layers|\w*(layer|block|attn|attention|mlp|moe|expert|ssm|mamba|global)\w*_(ids|idx|idxs|indices|indexes))$/

/** Lists of layers that another part of the model reads from, with one entry per layer of that part. */
export const TAPS =
  /deepstack|^extract_layers$|intermediate_layers_ind|out_indices|out_features|feature_layer|select_layer|stage_names/

/** Lists and strings that have the same length as the stack by chance, and do not describe layers. */
export const NOT_LAYERED =
  /(^|_)(tokens?|token_ids?|mean|std|version|pinpoints|labels?|languages?|beta|betas|dtype|name|path|act|activation)$|^(architectures|auto_map|model_type|image_size|patch_size|crop_size|grid_size|input_size|tubelet_size|spatial_shapes|keys_to_ignore_at_inference|pruned_heads|id2label|label2id|mrope_section|time_step_limit|ssm_multipliers|mlp_multipliers|(conv|tdnn|upsample)_(dim|kernel|stride|dilation|rates|kernel_sizes)|strides|delay_pattern|token_ids)$|^rope_(?!theta|base|layers?)|^mtp_|^out_(indices|features)$|^stage_names$/

/** Numbers that count something else, despite their names. */
export const OTHER_COUNTS =
  /nextn|mtp|(^|_)(encoder|decoder|vision|visual|audio|image|text)_|layer_?norm|layer_?drop|prenet|postnet|block_size|block_multiple|chunk|layer_scale|_per_(layer|block|group)|feat_extract|(adapter|residual|lstm|random|mem|projector|projection|qformer|connector|resampler|draft|embedding|pool)\w*_(layers?|blocks?)|^inner_|hidden_groups|logits?_|rescale_every|num_(layers|blocks)_per|_layer_index$|multiplier|_dim(_|$)/

/** Settings that may describe single layers. Unknown ones are not ignored. */
export const SUSPECT =
  /(^|_)(layers?|blocks?)(_|$)|every_n|(^|_)(interval|freq|frequency|period|pattern)(_|$)|^layer_?types?$|shared_kv|kv_shared/

/** Patterns as one list or string, repeated up to the last layer. */
export const REPEATED = new Set(['block_types'])

/** Lists and strings that give the number of layers if no number does. */
export const COUNTING_LISTS = ['layers_block_type', 'layer_types', 'hybrid_override_pattern']

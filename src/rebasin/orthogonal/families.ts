/** What the tensors of transformers are in terms of the residual stream, by name. A tensor without a row makes orthogonal maps impossible. */
/** Queries, keys and values can be parts of one tensor (`qkv`). */
export type TensorRole =
  | 'q'
  | 'k'
  | 'v'
  | 'o'
  | 'qkv'
  | 'gate'
  | 'up'
  | 'down'
  /** The norms before the two sublayers, and the one before the heads. */
  | 'norm1'
  | 'norm2'
  | 'final'
  /** A norm whose output is the residual stream. */
  | 'inner'
  /** Factors of what the two sublayers add. */
  | 'scale1'
  | 'scale2'
  /** Vectors that are added to the stream: the last axis. */
  | 'rows'
  /** The same by a convolution: the first axis. */
  | 'patch'
  /** Reads the stream behind the last norm; its outputs keep their order. */
  | 'head'
  /** The same; behind a pooler it reads what the pooler gives. */
  | 'classifier'
  /** Places of the stream on both axes (the language head of BERT). */
  | 'square'
  /** Does not touch the stream. */
  | 'none'

export type Row = readonly [pattern: RegExp, role: TensorRole]

export interface OrthogonalFamily {
  readonly name: string
  /** Names of the number of heads in configurations. */
  readonly heads: readonly string[]
  /** Several query heads may share a key/value head. */
  readonly grouped?: boolean
  /** Model types without rotary positions; a tensor of positions proves the same. */
  readonly plain: readonly string[]
  /** A tensor of a layer; its first group is the prefix of the model, its second one the start of a layer's name. */
  readonly sign: RegExp
  /** Of a layer, after `layers.3.`. */
  readonly inside: readonly Row[]
  /** Outside of layers, after the prefix. */
  readonly outside: readonly Row[]
  /** Norms stand behind the sublayers, in the stream. */
  readonly post?: boolean
  /** Without a head, the embedding is the head. */
  readonly language?: boolean
  /** With a head too, unless the configuration says otherwise. */
  readonly tied?: boolean
  /** Further tensors that are a head. */
  readonly head?: RegExp
}

export const ORTHOGONAL: readonly OrthogonalFamily[] = [
  {
    name: 'llama',
    heads: ['num_attention_heads'],
    grouped: true,
    plain: ['opt'],
    sign: /^(.*?)(layers\.)\d+\.self_attn\.q_proj\.weight$/,
    language: true,
    inside: [
      [/^self_attn\.q_proj\.(weight|bias)$/, 'q'],
      [/^self_attn\.k_proj\.(weight|bias)$/, 'k'],
      [/^self_attn\.v_proj\.(weight|bias)$/, 'v'],
      [/^self_attn\.(o_proj|out_proj|dense)\.(weight|bias)$/, 'o'],
      [/^self_attn\.rotary_emb\.inv_freq$/, 'none'],
      [/^mlp\.gate_proj\.(weight|bias)$/, 'gate'],
      [/^(mlp\.(up_proj|fc1|c_fc)|fc1)\.(weight|bias)$/, 'up'],
      [/^(mlp\.(down_proj|fc2|c_proj)|fc2)\.(weight|bias)$/, 'down'],
      [/^(input_layernorm|self_attn_layer_norm)\.(weight|bias)$/, 'norm1'],
      [/^(post_attention_layernorm|final_layer_norm)\.(weight|bias)$/, 'norm2'],
    ],
    outside: [
      [/^embed_tokens\.weight$/, 'rows'],
      [/^embed_positions\.weight$/, 'rows'],
      [/^(norm|final_layernorm|final_layer_norm)\.(weight|bias)$/, 'final'],
      [/^(lm_head\.(weight|bias)|score\.weight)$/, 'head'],
    ],
  },
  {
    name: 'gpt2',
    heads: ['n_head', 'num_attention_heads'],
    plain: ['gpt2', 'openai-gpt', 'imagegpt'],
    sign: /^(.*?)(h\.)\d+\.attn\.c_attn\.weight$/,
    language: true,
    tied: true,
    inside: [
      [/^attn\.c_attn\.(weight|bias)$/, 'qkv'],
      [/^attn\.c_proj\.(weight|bias)$/, 'o'],
      [/^mlp\.c_fc\.(weight|bias)$/, 'up'],
      [/^mlp\.c_proj\.(weight|bias)$/, 'down'],
      [/^ln_1\.(weight|bias)$/, 'norm1'],
      [/^ln_2\.(weight|bias)$/, 'norm2'],
      [/^attn\.(bias|masked_bias)$/, 'none'],
    ],
    outside: [
      [/^(wte|wpe)\.weight$/, 'rows'],
      [/^ln_f\.(weight|bias)$/, 'final'],
      [/^(lm_head|score)\.weight$/, 'head'],
    ],
  },
  {
    name: 'gpt_neo',
    heads: ['num_heads'],
    plain: ['gpt_neo'],
    sign: /^(.*?)(h\.)\d+\.attn\.attention\.q_proj\.weight$/,
    language: true,
    tied: true,
    inside: [
      [/^attn\.attention\.q_proj\.(weight|bias)$/, 'q'],
      [/^attn\.attention\.k_proj\.(weight|bias)$/, 'k'],
      [/^attn\.attention\.v_proj\.(weight|bias)$/, 'v'],
      [/^attn\.attention\.out_proj\.(weight|bias)$/, 'o'],
      [/^mlp\.c_fc\.(weight|bias)$/, 'up'],
      [/^mlp\.c_proj\.(weight|bias)$/, 'down'],
      [/^ln_1\.(weight|bias)$/, 'norm1'],
      [/^ln_2\.(weight|bias)$/, 'norm2'],
      [/^attn\.attention\.(bias|masked_bias)$/, 'none'],
    ],
    outside: [
      [/^(wte|wpe)\.weight$/, 'rows'],
      [/^ln_f\.(weight|bias)$/, 'final'],
      [/^(lm_head|score)\.weight$/, 'head'],
    ],
  },
  {
    name: 'gptj',
    heads: ['n_head', 'num_attention_heads'],
    plain: [],
    sign: /^(.*?)(h\.)\d+\.attn\.q_proj\.weight$/,
    language: true,
    inside: [
      [/^attn\.q_proj\.weight$/, 'q'],
      [/^attn\.k_proj\.weight$/, 'k'],
      [/^attn\.v_proj\.weight$/, 'v'],
      [/^attn\.out_proj\.weight$/, 'o'],
      [/^mlp\.fc_in\.(weight|bias)$/, 'up'],
      [/^mlp\.fc_out\.(weight|bias)$/, 'down'],
      [/^ln_1\.(weight|bias)$/, 'norm1'],
      [/^attn\.(bias|masked_bias|embed_positions)$/, 'none'],
    ],
    outside: [
      [/^wte\.weight$/, 'rows'],
      [/^ln_f\.(weight|bias)$/, 'final'],
      [/^(lm_head\.(weight|bias)|score\.weight)$/, 'head'],
    ],
  },
  {
    name: 'bert',
    heads: ['num_attention_heads'],
    plain: ['bert', 'roberta', 'xlm-roberta', 'camembert', 'electra', 'bert-generation'],
    sign: /^(.*?)(encoder\.layer\.)\d+\.attention\.self\.query\.weight$/,
    post: true,
    inside: [
      [/^attention\.self\.query\.(weight|bias)$/, 'q'],
      [/^attention\.self\.key\.(weight|bias)$/, 'k'],
      [/^attention\.self\.value\.(weight|bias)$/, 'v'],
      [/^attention\.output\.dense\.(weight|bias)$/, 'o'],
      [/^intermediate\.dense\.(weight|bias)$/, 'up'],
      [/^output\.dense\.(weight|bias)$/, 'down'],
      [/^(attention\.output|output)\.LayerNorm\.(weight|bias|gamma|beta)$/, 'inner'],
    ],
    outside: [
      [/^embeddings\.(word|position|token_type)_embeddings\.weight$/, 'rows'],
      [/^embeddings\.LayerNorm\.(weight|bias|gamma|beta)$/, 'inner'],
      [/^embeddings\.(position_ids|token_type_ids)$/, 'none'],
      [/^(pooler\.dense|qa_outputs)\.(weight|bias)$/, 'head'],
      [/^(cls\.predictions\.transform\.dense|lm_head\.dense)\.(weight|bias)$/, 'square'],
      [/^(cls\.predictions\.transform\.LayerNorm|lm_head\.layer_norm)\.(weight|bias)$/, 'inner'],
      [/^(cls\.predictions|lm_head)\.decoder\.weight$/, 'head'],
      [/^((cls\.predictions|lm_head)\.(decoder\.)?bias|cls\.seq_relationship\.(weight|bias))$/, 'none'],
      [/^classifier\.dense\.(weight|bias)$/, 'head'],
      [/^classifier\.out_proj\.(weight|bias)$/, 'none'],
      [/^classifier\.(weight|bias)$/, 'classifier'],
    ],
  },
  {
    name: 'distilbert',
    heads: ['n_heads', 'num_attention_heads'],
    plain: ['distilbert'],
    sign: /^(.*?)(transformer\.layer\.)\d+\.attention\.q_lin\.weight$/,
    post: true,
    head: /^(vocab_projector|vocab_transform|pre_classifier)\./,
    inside: [
      [/^attention\.q_lin\.(weight|bias)$/, 'q'],
      [/^attention\.k_lin\.(weight|bias)$/, 'k'],
      [/^attention\.v_lin\.(weight|bias)$/, 'v'],
      [/^attention\.out_lin\.(weight|bias)$/, 'o'],
      [/^ffn\.lin1\.(weight|bias)$/, 'up'],
      [/^ffn\.lin2\.(weight|bias)$/, 'down'],
      [/^(sa_layer_norm|output_layer_norm)\.(weight|bias)$/, 'inner'],
    ],
    outside: [
      [/^embeddings\.(word|position)_embeddings\.weight$/, 'rows'],
      [/^embeddings\.LayerNorm\.(weight|bias)$/, 'inner'],
      [/^embeddings\.position_ids$/, 'none'],
      [/^vocab_transform\.(weight|bias)$/, 'square'],
      [/^vocab_layer_norm\.(weight|bias)$/, 'inner'],
      [/^vocab_projector\.weight$/, 'head'],
      [/^(pre_classifier|qa_outputs)\.(weight|bias)$/, 'head'],
      [/^vocab_projector\.bias$/, 'none'],
      [/^classifier\.(weight|bias)$/, 'classifier'],
    ],
  },
  {
    name: 'vit',
    heads: ['num_attention_heads'],
    plain: ['vit', 'deit', 'vit_mae', 'vit_msn', 'dinov2'],
    sign: /^(.*?)(encoder\.layer\.|layers\.)\d+\.attention\.(attention\.query|q_proj)\.weight$/,
    inside: [
      [/^attention\.(attention\.query|q_proj)\.(weight|bias)$/, 'q'],
      [/^attention\.(attention\.key|k_proj)\.(weight|bias)$/, 'k'],
      [/^attention\.(attention\.value|v_proj)\.(weight|bias)$/, 'v'],
      [/^attention\.(output\.dense|o_proj)\.(weight|bias)$/, 'o'],
      [/^intermediate\.dense\.(weight|bias)$/, 'up'],
      [/^output\.dense\.(weight|bias)$/, 'down'],
      [/^(layernorm_before|norm1)\.(weight|bias)$/, 'norm1'],
      [/^(layernorm_after|norm2)\.(weight|bias)$/, 'norm2'],
      [/^mlp\.fc1\.(weight|bias)$/, 'up'],
      [/^mlp\.fc2\.(weight|bias)$/, 'down'],
      [/^layer_scale1\.lambda1$/, 'scale1'],
      [/^layer_scale2\.lambda1$/, 'scale2'],
    ],
    outside: [
      [/^embeddings\.(cls_token|mask_token|distillation_token|position_embeddings|register_tokens)$/, 'rows'],
      [/^embeddings\.patch_embeddings\.projection\.(weight|bias)$/, 'patch'],
      [/^layernorm\.(weight|bias)$/, 'final'],
      [/^(pooler\.dense|(cls_|distillation_)?classifier)\.(weight|bias)$/, 'head'],
    ],
  },
  {
    name: 'timm-vit',
    heads: ['num_heads', 'num_attention_heads'],
    plain: ['vit', 'deit'],
    sign: /^(.*?)(blocks\.)\d+\.attn\.qkv\.weight$/,
    inside: [
      [/^attn\.qkv\.(weight|bias)$/, 'qkv'],
      [/^attn\.proj\.(weight|bias)$/, 'o'],
      [/^mlp\.fc1\.(weight|bias)$/, 'up'],
      [/^mlp\.fc2\.(weight|bias)$/, 'down'],
      [/^norm1\.(weight|bias)$/, 'norm1'],
      [/^norm2\.(weight|bias)$/, 'norm2'],
      [/^ls1\.gamma$/, 'scale1'],
      [/^ls2\.gamma$/, 'scale2'],
    ],
    outside: [
      [/^(cls_token|pos_embed|dist_token|reg_token)$/, 'rows'],
      [/^patch_embed\.proj\.(weight|bias)$/, 'patch'],
      [/^(norm|fc_norm)\.(weight|bias)$/, 'final'],
      [/^norm_pre\.(weight|bias)$/, 'inner'],
      [/^(head|head_dist)\.(weight|bias)$/, 'head'],
    ],
  },
  {
    name: 'torchvision-vit',
    heads: ['num_heads', 'num_attention_heads'],
    plain: ['vit'],
    sign: /^(.*?)(encoder\.layers\.encoder_layer_)\d+\.self_attention\.in_proj_weight$/,
    inside: [
      [/^self_attention\.in_proj_(weight|bias)$/, 'qkv'],
      [/^self_attention\.out_proj\.(weight|bias)$/, 'o'],
      [/^mlp\.(0|linear_1)\.(weight|bias)$/, 'up'],
      [/^mlp\.(3|linear_2)\.(weight|bias)$/, 'down'],
      [/^ln_1\.(weight|bias)$/, 'norm1'],
      [/^ln_2\.(weight|bias)$/, 'norm2'],
    ],
    outside: [
      [/^(class_token|encoder\.pos_embedding)$/, 'rows'],
      [/^conv_proj\.(weight|bias)$/, 'patch'],
      [/^encoder\.ln\.(weight|bias)$/, 'final'],
      [/^heads\.head\.(weight|bias)$/, 'head'],
    ],
  },
]

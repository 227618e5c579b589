/** The kinds of mixtures: names of tensors, and what their configurations say beside that of a dense model. */
import type { ArchitectureName, Naming } from './types.js'

type Config = Readonly<Record<string, unknown>>

export const PARTS = ['gate_proj', 'up_proj', 'down_proj'] as const
export type Part = (typeof PARTS)[number]

/** Changes of a configuration: `undefined` removes a key. */
export type ConfigChange = Readonly<Record<string, unknown>>

/** What a mixture's configuration depends on. */
export interface MixtureFacts {
  readonly experts: number
  readonly perToken: number
  /** Inner width of an expert. */
  readonly width: number
  /** Inner width of the shared expert. */
  readonly shared?: number
}

export interface Architecture {
  /** Also its `model_type`. */
  readonly name: ArchitectureName
  /** As mergekit writes it. */
  readonly title: string
  /** `model_type`s of dense models that it can be made from. */
  readonly from: readonly string[]
  readonly class: string
  /** The key of its configuration that counts experts. */
  readonly count: 'num_local_experts' | 'num_experts' | 'n_routed_experts'
  readonly shared: 'none' | 'gated' | 'plain'
  /** Biases of attention that its network has; others can't be kept. */
  readonly biases: RegExp | undefined
  /** Whether heads can have another width than their share of the network's. */
  readonly headWidths: boolean
  /** The windows that it can have in its layers. */
  readonly windows: 'none' | 'all'
  /** Whether experts can be stored in one tensor. */
  readonly fused: boolean
  /** Below a layer's prefix, such as `model.layers.0`. */
  readonly block: (naming: Naming) => string
  /** Names of an expert's matrices below the block. */
  readonly parts: Readonly<Record<Part, string>>
  /** Names of the shared expert below the block. */
  readonly sharedName?: string
  /** Besides its class and `model_type`. */
  readonly config: (facts: MixtureFacts) => ConfigChange
  /** The dense model that its attention belongs to. */
  readonly dense: {
    readonly modelType: string
    readonly class: string
    /** Besides its class and `model_type`. */
    readonly change: (config: Config) => ConfigChange
  }
}

const PLAIN_PARTS: Architecture['parts'] = { gate_proj: 'gate_proj', up_proj: 'up_proj', down_proj: 'down_proj' }
const mlp = () => 'mlp'
const DEEPSEEK = 'deepseek-ai/deepseek-moe-16b-base--'

const without = (...keys: readonly string[]): ConfigChange => Object.fromEntries(keys.map((key) => [key, undefined]))
const ROUTING = ['num_experts_per_tok', 'norm_topk_prob', 'router_aux_loss_coef', 'output_router_logits'] as const
/** What both mixtures of Qwen have. */
const QWEN = [
  ...['num_experts', 'num_local_experts', 'moe_intermediate_size', 'decoder_sparse_step', 'mlp_only_layers'],
  ...ROUTING,
]

/** In the order in which they are tried. */
export const ALL: Readonly<Record<ArchitectureName, Architecture>> = {
  mixtral: {
    name: 'mixtral',
    title: 'Mixtral',
    from: ['llama', 'mistral'],
    class: 'MixtralForCausalLM',
    count: 'num_local_experts',
    shared: 'none',
    biases: undefined,
    headWidths: true,
    windows: 'none',
    fused: true,
    block: (naming) => (naming === 'fused' ? 'mlp' : 'block_sparse_moe'),
    parts: { gate_proj: 'w1', up_proj: 'w3', down_proj: 'w2' },
    config: ({ experts, perToken, width }) => ({
      ...{ intermediate_size: width, num_local_experts: experts, num_experts_per_tok: perToken, sliding_window: null },
    }),
    dense: {
      modelType: 'mistral',
      class: 'MistralForCausalLM',
      change: ({ sliding_window: window = null }) => ({
        ...without('num_local_experts', 'router_jitter_noise', ...ROUTING),
        sliding_window: window,
      }),
    },
  },
  deepseek: {
    name: 'deepseek',
    title: 'DeepSeek MoE',
    from: ['llama', 'mistral'],
    class: 'DeepseekForCausalLM',
    count: 'n_routed_experts',
    shared: 'plain',
    biases: /\.(q|k|v|o)_proj\.bias$/,
    headWidths: false,
    windows: 'none',
    fused: false,
    block: mlp,
    parts: PLAIN_PARTS,
    sharedName: 'shared_experts',
    config: ({ experts, perToken, width, shared }) => ({
      n_routed_experts: experts,
      ...{ n_shared_experts: shared === undefined ? null : 1, num_experts_per_tok: perToken, first_k_dense_replace: 0 },
      ...{ moe_layer_freq: 1, scoring_func: 'softmax', norm_topk_prob: true, moe_intermediate_size: width },
      auto_map: {
        AutoConfig: `${DEEPSEEK}configuration_deepseek.DeepseekConfig`,
        AutoModel: `${DEEPSEEK}modeling_deepseek.DeepseekModel`,
        AutoModelForCausalLM: `${DEEPSEEK}modeling_deepseek.DeepseekForCausalLM`,
      },
    }),
    dense: {
      modelType: 'llama',
      class: 'LlamaForCausalLM',
      change: ({ moe_intermediate_size: width }) => ({
        ...without(
          'n_routed_experts',
          'n_shared_experts',
          'first_k_dense_replace',
          'moe_layer_freq',
          'scoring_func',
          'auto_map',
        ),
        ...without('moe_intermediate_size', 'aux_loss_alpha', 'seq_aux', ...ROUTING),
        intermediate_size: width,
      }),
    },
  },
  qwen2_moe: {
    name: 'qwen2_moe',
    title: 'Qwen MoE',
    from: ['qwen2', 'llama', 'mistral'],
    class: 'Qwen2MoeForCausalLM',
    count: 'num_experts',
    shared: 'gated',
    biases: /\.(q|k|v)_proj\.bias$/,
    headWidths: true,
    windows: 'none',
    fused: true,
    block: mlp,
    parts: PLAIN_PARTS,
    sharedName: 'shared_expert',
    config: ({ experts, perToken, width, shared }) => ({
      num_experts: experts,
      ...{ num_experts_per_tok: perToken, moe_intermediate_size: width, shared_expert_intermediate_size: shared },
      ...{
        decoder_sparse_step: 1,
        mlp_only_layers: [],
        norm_topk_prob: true,
        use_sliding_window: false,
        qkv_bias: true,
      },
    }),
    dense: {
      modelType: 'qwen2',
      class: 'Qwen2ForCausalLM',
      change: ({ moe_intermediate_size: width }) => ({
        ...without(...QWEN, 'shared_expert_intermediate_size', 'qkv_bias'),
        intermediate_size: width,
      }),
    },
  },
  qwen3_moe: {
    name: 'qwen3_moe',
    title: 'Qwen3 MoE',
    from: ['qwen3'],
    class: 'Qwen3MoeForCausalLM',
    count: 'num_experts',
    shared: 'none',
    biases: /\.(q|k|v|o)_proj\.bias$/,
    headWidths: true,
    windows: 'all',
    fused: true,
    block: mlp,
    parts: PLAIN_PARTS,
    config: ({ experts, perToken, width }) => ({
      num_experts: experts,
      ...{ num_experts_per_tok: perToken, moe_intermediate_size: width, decoder_sparse_step: 1, mlp_only_layers: [] },
      norm_topk_prob: true,
    }),
    dense: {
      modelType: 'qwen3',
      class: 'Qwen3ForCausalLM',
      change: ({ moe_intermediate_size: width, head_dim: dim, hidden_size: hidden, num_attention_heads: heads }) => ({
        ...without(...QWEN),
        intermediate_size: width,
        // Its default is 128.
        head_dim: dim ?? Number(hidden) / Number(heads),
      }),
    },
  },
}

/** What is known of a mixture whose experts are only put together with others. */
export type PooledKind = Pick<Architecture, 'title' | 'count' | 'fused' | 'block' | 'parts'>

const single = (title: string, like: Architecture, count: Architecture['count']): PooledKind => ({
  ...{ title, count, fused: false, parts: like.parts },
  block: () => like.block('parts'),
})
const OTHERS: Readonly<Record<string, PooledKind>> = {
  olmoe: single('OLMoE', ALL.qwen3_moe, 'num_experts'),
  phimoe: single('PhiMoE', ALL.mixtral, 'num_local_experts'),
  deepseek_v2: single('DeepSeek V2', ALL.deepseek, 'n_routed_experts'),
  deepseek_v3: single('DeepSeek V3', ALL.deepseek, 'n_routed_experts'),
}

/** Mixtures that can be pooled, by `model_type`. */
export const pooledKindOf = (modelType: string): PooledKind | undefined =>
  architectureOf(modelType) ?? (Object.hasOwn(OTHERS, modelType) ? OTHERS[modelType] : undefined)

export const architectureOf = (modelType: unknown): Architecture | undefined =>
  Object.values(ALL).find((one) => one.name === modelType)

/** The mixture of a dense model whose recipe names none: the first that has such a shared expert, or the first at all. */
export function defaultFor(modelType: string, shared: readonly Architecture['shared'][]): Architecture | undefined {
  const all = Object.values(ALL).filter(({ from }) => from.includes(modelType))
  return all.find((one) => shared.includes(one.shared)) ?? all[0]
}

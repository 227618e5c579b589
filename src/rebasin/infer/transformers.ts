/**
 * Transformers by the names of their tensors. A row of a family's table says for a name what each axis is: `hidden` is the
 * residual stream; `*` at the start of a group's name stands for the layer (`*.ffn` becomes `layers.3.ffn`). Attention is
 * `kv` (key/value heads), `q` (query heads of one), `qk` and `v` (places inside a head; `qk` only without rotary positions).
 * A tensor that no row knows freezes the residual stream and its own module's groups.
 */
import type { AxisText } from '../spec.js'
import { type Builder, setting } from './builder.js'

type Config = Readonly<Record<string, unknown>> | undefined
type Row = readonly [pattern: RegExp, axes: readonly AxisText[]]

export interface Family {
  readonly name: string
  /** A tensor that only this family has; what stands before the match is the prefix of the model. */
  readonly sign: RegExp
  readonly rows: readonly Row[]
  /** Name of a layer: what `*` stands for. */
  readonly layer: RegExp
  readonly heads: readonly string[]
  /** Several query heads may share a key/value head. */
  readonly grouped?: boolean
  /** Model types, as configs have them, that are known to give positions otherwise than by rotating queries and keys. */
  readonly plain?: readonly string[]
  /** A tensor with one head projection of queries, and one of keys: of weights, outputs on axis 0 unless `conv1d`. */
  readonly query: RegExp
  readonly conv1d?: boolean
  /** A table of positions. Without a model type, places in heads are free only if there is one. */
  readonly positions?: RegExp
  /** Without a head of its own the model has none: no embedding serves as one. */
  readonly encoder?: boolean
  /** Layers of one stack share the order of their heads, by a table of position biases that belongs to one of them. */
  readonly sharedHeads?: (layer: string) => string
}

const norm = ['hidden'] as const
const QKV = [['*.kv*D', '*.kv*D', '*.kv*v']] as const

const llama: Family = {
  name: 'llama',
  sign: /layers\.\d+\.self_attn\.(q_proj|qkv_proj)\.weight$/,
  layer: /layers\.\d+/,
  heads: ['num_attention_heads'],
  grouped: true,
  query: /self_attn\.q_proj\.weight$/,
  rows: [
    [/embed_tokens\.weight$/, [null, 'hidden']],
    [/lm_head\.weight$/, [null, 'hidden']],
    [/lm_head\.bias$/, [null]],
    [/score\.weight$/, [null, 'hidden']],
    [/(^|\.)(norm|final_layernorm)\.(weight|bias)$/, norm],
    [/embed_positions\.weight$/, [null, 'hidden']],
    [/(self_attn|final)_layer_norm\.(weight|bias)$/, norm],
    [/(input|post_attention|pre_feedforward|post_feedforward)_layernorm\.(weight|bias)$/, norm],
    [/self_attn\.q_proj\.weight$/, ['*.kv*q*D', 'hidden']],
    [/self_attn\.q_proj\.bias$/, ['*.kv*q*D']],
    [/self_attn\.k_proj\.weight$/, ['*.kv*D', 'hidden']],
    [/self_attn\.k_proj\.bias$/, ['*.kv*D']],
    [/self_attn\.v_proj\.weight$/, ['*.kv*v', 'hidden']],
    [/self_attn\.v_proj\.bias$/, ['*.kv*v']],
    [/self_attn\.(?:o_proj|out_proj|dense)\.weight$/, ['hidden', '*.kv*q*v']],
    [/self_attn\.(?:o_proj|out_proj|dense)\.bias$/, norm],
    [/self_attn\.qkv_proj\.weight$/, [['*.kv*q*D', '*.kv*D', '*.kv*v'], 'hidden']],
    [/self_attn\.[qk]_norm\.weight$/, ['QKNORM']],
    [/mlp\.(gate|up)_proj\.weight$/, ['*.ffn', 'hidden']],
    [/mlp\.(gate|up)_proj\.bias$/, ['*.ffn']],
    [/mlp\.gate_up_proj\.weight$/, [['*.ffn', '*.ffn'], 'hidden']],
    [/(?:mlp\.(?:fc1|c_fc)|layers\.\d+\.fc1)\.weight$/, ['*.ffn', 'hidden']],
    [/(?:mlp\.(?:fc1|c_fc)|layers\.\d+\.fc1)\.bias$/, ['*.ffn']],
    [/(?:mlp\.(?:down_proj|fc2|c_proj)|layers\.\d+\.fc2)\.weight$/, ['hidden', '*.ffn']],
    [/(?:mlp\.(?:down_proj|fc2|c_proj)|layers\.\d+\.fc2)\.bias$/, norm],
    [/(?:block_sparse_moe|mlp)\.gate\.weight$/, [null, 'hidden']],
    [/mlp\.shared_expert_gate\.weight$/, [null, 'hidden']],
    [/(?:experts\.\d+|shared_experts?)\.(w1|w3|gate_proj|up_proj)\.weight$/, ['MODULE.ffn', 'hidden']],
    [/(?:experts\.\d+|shared_experts?)\.(w2|down_proj)\.weight$/, ['hidden', 'MODULE.ffn']],
    [/rotary_emb\.inv_freq$/, [null]],
  ],
}

const gpt2: Family = {
  name: 'gpt2',
  sign: /h\.\d+\.attn\.c_attn\.weight$/,
  layer: /h\.\d+/,
  heads: ['n_head', 'num_attention_heads'],
  plain: ['gpt2', 'openai-gpt', 'imagegpt'],
  positions: /(^|\.)wpe\.weight$/,
  query: /attn\.c_attn\.weight$/,
  conv1d: true,
  rows: [
    [/wte\.weight$/, [null, 'hidden']],
    [/wpe\.weight$/, [null, 'hidden']],
    [/lm_head\.weight$/, [null, 'hidden']],
    [/score\.weight$/, [null, 'hidden']],
    [/ln_(1|2|f)\.(weight|bias)$/, norm],
    [/attn\.c_attn\.weight$/, ['hidden', ...QKV]],
    [/attn\.c_attn\.bias$/, [...QKV]],
    [/attn\.c_proj\.weight$/, ['*.kv*v', 'hidden']],
    [/(attn|mlp)\.c_proj\.bias$/, norm],
    [/mlp\.c_fc\.weight$/, ['hidden', '*.ffn']],
    [/mlp\.c_fc\.bias$/, ['*.ffn']],
    [/mlp\.c_proj\.weight$/, ['*.ffn', 'hidden']],
    [/attn\.(bias|masked_bias)$/, []],
  ],
}

const bert: Family = {
  name: 'bert',
  encoder: true,
  sign: /encoder\.layer\.\d+\.attention\.self\.query\.weight$/,
  layer: /encoder\.layer\.\d+/,
  heads: ['num_attention_heads'],
  plain: ['bert', 'roberta', 'xlm-roberta', 'camembert', 'electra', 'bert-generation', 'layoutlm', 'data2vec-text'],
  query: /attention\.self\.query\.weight$/,
  rows: [
    [/embeddings\.(word|position|token_type)_embeddings\.weight$/, [null, 'hidden']],
    [/(embeddings|attention\.output|layer\.\d+\.output)\.LayerNorm\.(weight|bias|gamma|beta)$/, norm],
    [/attention\.self\.(query|key)\.weight$/, ['*.kv*D', 'hidden']],
    [/attention\.self\.(query|key)\.bias$/, ['*.kv*D']],
    [/attention\.self\.value\.weight$/, ['*.kv*v', 'hidden']],
    [/attention\.self\.value\.bias$/, ['*.kv*v']],
    [/attention\.output\.dense\.weight$/, ['hidden', '*.kv*v']],
    [/intermediate\.dense\.weight$/, ['*.ffn', 'hidden']],
    [/intermediate\.dense\.bias$/, ['*.ffn']],
    [/output\.dense\.weight$/, ['hidden', '*.ffn']],
    [/output\.dense\.bias$/, norm],
    [/pooler\.dense\.weight$/, [null, 'hidden']],
    [/pooler\.dense\.bias$/, [null]],
    // The language head multiplies by the word embeddings, most often one tensor with them: its inside goes by the stream.
    [/cls\.predictions\.transform\.dense\.weight$|lm_head\.dense\.weight$/, ['hidden', 'hidden']],
    [/cls\.predictions\.transform\.dense\.bias$|lm_head\.dense\.bias$/, norm],
    [/cls\.predictions\.transform\.LayerNorm\.(weight|bias)$|lm_head\.layer_norm\.(weight|bias)$/, norm],
    [/(cls\.predictions|lm_head)\.decoder\.weight$/, [null, 'hidden']],
    [/(cls\.predictions|lm_head)\.(decoder\.)?bias$/, [null]],
    [/cls\.seq_relationship\.(weight|bias)$/, []],
    [/classifier\.dense\.weight$/, ['classifier', 'hidden']],
    [/classifier\.dense\.bias$/, ['classifier']],
    [/classifier\.out_proj\.weight$/, [null, 'classifier']],
    [/classifier\.out_proj\.bias$/, [null]],
    [/qa_outputs\.weight$/, [null, 'hidden']],
    [/(qa_outputs|classifier)\.bias$/, [null]],
    [/classifier\.weight$/, ['CLASSIFIER']],
    [/embeddings\.(position_ids|token_type_ids)$/, []],
  ],
}

const vit: Family = {
  name: 'vit',
  encoder: true,
  sign: /encoder\.layer\.\d+\.attention\.attention\.query\.weight$/,
  layer: /encoder\.layer\.\d+/,
  heads: ['num_attention_heads'],
  plain: ['vit', 'deit', 'vit_mae', 'vit_msn', 'dinov2', 'audio-spectrogram-transformer'],
  query: /attention\.attention\.query\.weight$/,
  rows: [
    [/embeddings\.(cls_token|mask_token|distillation_token|position_embeddings)$/, [null, null, 'hidden']],
    [/patch_embeddings\.projection\.weight$/, ['hidden']],
    [/patch_embeddings\.projection\.bias$/, norm],
    [/layernorm(_before|_after)?\.(weight|bias)$/, norm],
    [/attention\.attention\.(query|key)\.weight$/, ['*.kv*D', 'hidden']],
    [/attention\.attention\.(query|key)\.bias$/, ['*.kv*D']],
    [/attention\.attention\.value\.weight$/, ['*.kv*v', 'hidden']],
    [/attention\.attention\.value\.bias$/, ['*.kv*v']],
    [/attention\.output\.dense\.weight$/, ['hidden', '*.kv*v']],
    [/intermediate\.dense\.weight$/, ['*.ffn', 'hidden']],
    [/intermediate\.dense\.bias$/, ['*.ffn']],
    [/output\.dense\.weight$/, ['hidden', '*.ffn']],
    [/output\.dense\.bias$/, norm],
    [/layer_scale[12]\.lambda1$/, norm],
    [/pooler\.dense\.weight$/, [null, 'hidden']],
    [/pooler\.dense\.bias$/, [null]],
    [/(cls_|distillation_)?classifier\.weight$/, [null, 'hidden']],
    [/(cls_|distillation_)?classifier\.bias$/, [null]],
  ],
}

const timm: Family = {
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
    [/attn\.proj\.weight$/, ['hidden', '*.kv*v']],
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

const t5: Family = {
  name: 't5',
  sign: /(encoder|decoder)\.block\.\d+\.layer\.\d\.SelfAttention\.q\.weight$/,
  layer: /(encoder|decoder)\.block\.\d+\.layer\.\d/,
  heads: ['num_heads'],
  plain: ['t5', 'mt5', 'umt5'],
  query: /SelfAttention\.q\.weight$/,
  sharedHeads: (layer) =>
    /^encoder/.test(layer) ? 'encoder.kv' : /layer\.0$/.test(layer) ? 'decoder.kv' : `${layer}.kv`,
  rows: [
    [/(shared|embed_tokens|lm_head)\.weight$/, [null, 'hidden']],
    [/(layer_norm|final_layer_norm)\.weight$/, norm],
    [/(SelfAttention|EncDecAttention)\.(q|k)\.weight$/, ['*.kv*D', 'hidden']],
    [/(SelfAttention|EncDecAttention)\.v\.weight$/, ['*.kv*v', 'hidden']],
    [/(SelfAttention|EncDecAttention)\.o\.weight$/, ['hidden', '*.kv*v']],
    [/SelfAttention\.relative_attention_bias\.weight$/, [null, '*.kv']],
    [/DenseReluDense\.wi(_0|_1)?\.weight$/, ['*.ffn', 'hidden']],
    [/DenseReluDense\.wo\.weight$/, ['hidden', '*.ffn']],
  ],
}

export const FAMILIES: readonly Family[] = [llama, gpt2, bert, vit, timm, t5]

/** Head counts and widths of a model, or why they are not known. */
export interface Heads {
  readonly kv: number
  /** Query heads of each key/value head. */
  readonly q: number
  readonly width: number
}

export function headsOf(
  family: Family,
  shapes: Builder['shapes'],
  config: Config,
  turned = family.conv1d === true,
): Heads | string {
  const names = [...shapes.keys()]
  const name = names.find((tensor) => family.query.test(tensor)) ?? names.find((tensor) => family.sign.test(tensor))!
  const shape = shapes.get(name)!.shape
  const rows = shape[turned ? 1 : 0] ?? 0
  const heads = setting(config, ...family.heads)
  if (heads === undefined) return 'the number of attention heads is not known without config.json'
  const kv = family.grouped ? (setting(config, 'num_key_value_heads') ?? heads) : heads
  const fused = /qkv|c_attn|qkv_proj/.test(name)
  const total = fused ? (rows * heads) / (heads + 2 * kv) : rows
  const width = setting(config, 'head_dim', 'd_kv') ?? total / heads
  if (!Number.isInteger(width) || width * heads !== total || heads % kv !== 0)
    return `${heads} heads of ${width} places do not fit ${name} of shape [${shape.join(', ')}]`
  return { kv, q: heads / kv, width }
}

const HEADS: ReadonlySet<string> = new Set(['q', 'v', 'D'])

/** Whether places inside of query and key heads have no order: of models that are known to have no rotary positions. */
function placesFree({ plain, positions }: Family, shapes: Builder['shapes'], config: Config): boolean {
  const { model_type: type, position_embedding_type: kind } = config ?? {}
  const told = type !== undefined || positions === undefined || [...shapes.keys()].some((name) => positions.test(name))
  const known = plain !== undefined && told && (type === undefined || plain.includes(String(type)))
  return known && (kind === undefined || kind === 'absolute')
}

const CONV1D = /(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight$/
const UNTOLD = 'whether its layers are stored as [in, out] or as [out, in] is not clear'
const HEADLESS = 'the model has no head: the units of its residual stream are its outputs'

/** Whether layers are stored as [in, out], like Conv1D of GPT-2, and not as nn.Linear is. Undefined if that is not clear. */
function orientationOf(shapes: Builder['shapes'], config: Config): boolean | undefined {
  const width = [...shapes].find(([name]) => /(^|\.)(wte|lm_head)\.weight$/.test(name))?.[1].shape[1]
  const found = new Set<boolean>()
  for (const [name, { shape }] of shapes)
    if (/(attn\.c_attn|mlp\.c_fc)\.weight$/.test(name) && shape.length === 2 && shape[0] !== shape[1])
      for (const [axis, size] of shape.entries()) if (size === width) found.add(axis === 0)
  const [first, second] = found
  if (second !== undefined) return undefined
  return first ?? (config?.model_type === 'gpt2' ? true : undefined)
}

const HEAD = /^(?:.*\.)?(lm_head|score|cls|classifier|cls_classifier|qa_outputs|head)\./

/** Whether what the model gives is its residual stream, as an encoder without a head does. */
function isHeadless({ encoder, layer }: Family, prefix: string, shapes: Builder['shapes'], config: Config): boolean {
  if ([...shapes.keys()].some((tensor) => !layer.test(tensor) && HEAD.test(tensor))) return false
  const { architectures } = config ?? {}
  const [first] = Array.isArray(architectures) ? architectures : []
  if (typeof first === 'string') return /Model$/.test(first) && !/Head/.test(first)
  // The parts of a model with a tied head have a prefix.
  return encoder === true || prefix === ''
}

/** Fills the builder with a family's groups. */
export function describe(family: Family, builder: Builder, config: Config): void {
  const turned = family.conv1d ? orientationOf(builder.shapes, config) : false
  const heads = headsOf(family, builder.shapes, config, turned === true)
  const free = placesFree(family, builder.shapes, config)
  const outers = new Set<string>()
  let unknown: string | undefined
  const sign = [...builder.shapes.keys()].find((name) => family.sign.test(name))!
  const prefix = sign.slice(0, sign.search(family.layer))
  const size = (name: string, axis: number) => builder.shapes.get(name)!.shape[axis]!
  for (const [name, { shape }] of builder.shapes) {
    const row = family.rows.find(([pattern]) => pattern.test(name))
    const at = name.search(family.layer)
    const own = (at < 0 || at === prefix.length) && (at < 0 || name.startsWith(prefix))
    const layer = at < 0 ? '' : family.layer.exec(name)![0]
    if (!row || !own) {
      const reason = `the ${family.name} family has no tensor ${name}`
      builder.keep('hidden', reason)
      // Outside of layers it may tie the heads of all: a table of position biases does.
      if (layer === '') unknown ??= reason
      else for (const group of ['kv', 'ffn']) builder.keep(`${layer}.${group}`, reason)
      continue
    }
    const outer = family.sharedHeads?.(layer) ?? `${layer}.kv`
    const inner = (unit: string) => `${layer}.${unit}`
    const place = (run: string, axis: number, parts: number): string =>
      run
        .split('*')
        .flatMap((unit, index, units) => {
          if (unit === '' && units[index + 1]?.startsWith('.')) return []
          if (unit === '.kv') {
            if (typeof heads !== 'string') builder.group(outer, heads.kv)
            return [outer]
          }
          if (typeof heads === 'string' && HEADS.has(unit)) return []
          if (unit === 'q' && typeof heads !== 'string') {
            builder.group(inner('q'), heads.q, outer)
            return [inner('q')]
          }
          if (typeof heads !== 'string' && (unit === 'v' || (unit === 'D' && free))) {
            builder.group(inner(unit === 'v' ? 'v' : 'qk'), heads.width, outer)
            return [inner(unit === 'v' ? 'v' : 'qk')]
          }
          if (unit === 'D' && typeof heads !== 'string') return [String(heads.width)]
          const group = unit.startsWith('.')
            ? layer + unit
            : unit.startsWith('MODULE')
              ? name.replace(/\.\w+\.weight$/, '') + unit.slice(6)
              : unit
          builder.group(group, size(name, axis) / parts)
          return [group]
        })
        .join('*')
    let axes = row[1]
    // The same layers as nn.Linear.
    if (turned === false && family.conv1d && CONV1D.test(name)) axes = [axes[1]!, axes[0]!]
    // One weight a place of a head, of all heads' places, or of each head's (cohere).
    if (axes[0] === 'QKNORM') {
      const each = /q_norm/.test(name) ? '*.kv*q' : '*.kv'
      const shared = typeof heads !== 'string' && shape.length === 1 && shape[0] === heads.width
      axes = shared ? [null] : shape.length === 2 ? [each] : [`${each}*D`]
    }
    // A classifier reads the stream itself (roberta: a layer of its own), or the pooler's output, which stays.
    if (axes[0] === 'CLASSIFIER')
      axes = [...builder.shapes.keys()].some((tensor) => /pooler\.dense\.weight$/.test(tensor)) ? [] : [null, 'hidden']
    const attention = (axis: AxisText) => JSON.stringify(axis).includes('.kv')
    builder.tensor(
      name,
      axes.map((axis, index) => {
        if (axis === null || (typeof heads === 'string' && attention(axis))) return null
        return typeof axis === 'string' ? place(axis, index, 1) : axis.map((run) => place(run, index, axis.length))
      }),
    )
    if (axes.some(attention)) outers.add(outer)
    if (typeof heads === 'string' && axes.some(attention)) builder.keep(outer, heads)
  }
  if (turned === undefined) for (const group of builder.groups()) builder.keep(group, UNTOLD)
  if (isHeadless(family, prefix, builder.shapes, config)) builder.keep('hidden', HEADLESS)
  if (unknown !== undefined) for (const outer of outers) builder.keep(outer, unknown)
}

/** Which networks allow orthogonal maps, and what names and shapes say of these: matrices by layer, heads, sizes. */
import { type Heads, headsOf, llama } from '../infer/transformers/index.js'
import type { TensorSource } from '../weights.js'
import type { Norms } from './folded.js'
import type { HeadMap } from './heads.js'
import type { RoleForm } from './roles.js'

export interface LayerMaps {
  /** Unit i of the feed-forward takes the model's unit feedForward[i]. */
  readonly feedForward: Int32Array
  /** 1 or -1 for units whose up and down weights change sign. Only with activations. */
  readonly signs?: Int32Array
  /** By key/value head of the aligned model. */
  readonly heads: readonly HeadMap[]
}

export interface OrthogonalMaps {
  readonly hidden: number
  /** hidden × hidden, row-major: a stream vector x of the model is x · rotation in the aligned one. */
  readonly rotation: Float64Array
  /** The same transposed. */
  readonly turned: Float64Array
  readonly layers: readonly LayerMaps[]
  /** Norm weights of both models by tensor: the aligned model's are `onto`'s. */
  readonly norms: Norms
  readonly shape: Heads
  readonly prefix: string
}

/** Why a network does not allow orthogonal maps; undefined where it does. */
export function orthogonalObstacle({ tensors, config }: Pick<TensorSource, 'tensors' | 'config'>): string | undefined {
  const names = [...tensors.keys()]
  const sign = names.find((name) => /layers\.\d+\.self_attn\.q_proj\.weight$/.test(name))
  if (!sign) return 'only transformers of the llama layout, with RMS norms before each sublayer, allow orthogonal maps'
  if (/gemma/.test(String(config?.model_type ?? ''))) return 'gemma scales its embeddings and norms in its own way'
  if (!names.includes('lm_head.weight'))
    return 'tied embeddings read and write one tensor: the final norm cannot be folded into it'
  const heads = headsOf(llama, tensors, config)
  if (typeof heads === 'string') return heads
  const prefix = sign.slice(0, sign.search(/layers\.\d+/))
  const known =
    /^(self_attn\.([qkv]_proj\.(weight|bias)|o_proj\.(weight|bias)|rotary_emb\.inv_freq)|mlp\.((gate|up)_proj\.(weight|bias)|down_proj\.(weight|bias))|(input|post_attention)_layernorm\.weight)$/
  for (const name of names) {
    const inside = name.startsWith(`${prefix}layers.`)
      ? name.slice(prefix.length).replace(/^layers\.\d+\./, '')
      : undefined
    if (
      inside !== undefined
        ? known.test(inside)
        : [`${prefix}embed_tokens.weight`, `${prefix}norm.weight`, 'lm_head.weight', 'lm_head.bias'].includes(name)
    )
      continue
    return `tensor ${name} is not one whose basis can be changed`
  }
  return undefined
}

/** A layer's matrices, whether they write to the stream, and the norm that stands before those that read it. */
export const MATRICES = {
  q: { name: 'self_attn.q_proj', norm: 'input_layernorm.weight' },
  k: { name: 'self_attn.k_proj', norm: 'input_layernorm.weight' },
  v: { name: 'self_attn.v_proj', norm: 'input_layernorm.weight' },
  o: { name: 'self_attn.o_proj', norm: undefined },
  gate: { name: 'mlp.gate_proj', norm: 'post_attention_layernorm.weight' },
  up: { name: 'mlp.up_proj', norm: 'post_attention_layernorm.weight' },
  down: { name: 'mlp.down_proj', norm: undefined },
} as const

export type Key = keyof typeof MATRICES

export const KEYS = Object.keys(MATRICES) as Key[]

export const writes = (key: Key): boolean => MATRICES[key].norm === undefined

/** What names and shapes of a network without an obstacle say of its maps. */
export function orthogonalForm({
  tensors,
  config,
}: Pick<TensorSource, 'tensors' | 'config'>): Pick<OrthogonalMaps, 'shape' | 'prefix' | 'hidden'> {
  const prefix = [...tensors.keys()]
    .find((name) => name.endsWith('embed_tokens.weight'))!
    .slice(0, -'embed_tokens.weight'.length)
  return {
    shape: headsOf(llama, tensors, config) as Heads,
    prefix,
    hidden: tensors.get(`${prefix}embed_tokens.weight`)!.shape[1]!,
  }
}

/** Sizes that decide what a matching takes; of matrices by layer the side that is not the stream's. */
export function orthogonalSizes({ tensors, config }: Pick<TensorSource, 'tensors' | 'config'>): {
  readonly hidden: number
  readonly units: number
  readonly matrices: readonly { readonly side: number }[]
  /** Sides of the similarities of heads, of one layer. */
  readonly squares: readonly number[]
} {
  const { kv, q, width } = headsOf(llama, tensors, config) as Heads
  const of = (end: string) =>
    [...tensors].filter(([name]) => name.endsWith(`${end}.weight`)).map(([, { shape }]) => shape)
  const hidden = of('embed_tokens')[0]![1]!
  const matrices = KEYS.flatMap((key) =>
    of(MATRICES[key].name).map(([rows, columns]) => ({ side: writes(key) ? columns! : rows! })),
  )
  const heads = [kv * q * width, kv * width]
  return { hidden, units: of('mlp.gate_proj')[0]![0]!, matrices, squares: [...heads, ...heads] }
}

/** The same with what activations need to know. */
export function roleForm(model: Pick<TensorSource, 'tensors' | 'config'>): RoleForm {
  const form = orthogonalForm(model)
  return { ...form, units: orthogonalSizes(model).units, depth: depthOf(model, form.prefix) }
}

/** Layers of a network. */
export function depthOf({ tensors }: Pick<TensorSource, 'tensors'>, prefix: string): number {
  let depth = 0
  while (tensors.has(`${prefix}layers.${depth}.input_layernorm.weight`)) depth++
  return depth
}

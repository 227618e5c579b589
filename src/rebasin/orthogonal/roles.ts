/**
 * Which activations orthogonal matching uses. Labels after `@` say where a tensor was measured: the name of the module, with
 * `.in` for what goes into it. `hidden@model.layers.0.input_layernorm.in` is the residual stream before layer 0.
 */
import type { Heads } from '../infer/transformers/index.js'

export type Role =
  /** The residual stream. */
  | { readonly kind: 'stream' }
  /** Units of a feed-forward. `signed`: a unit's sign can change together with that of its other weights. */
  | { readonly kind: 'units'; readonly layer: number; readonly signed: boolean }
  | { readonly kind: 'q' | 'k' | 'v' | 'o'; readonly layer: number }

export interface RoleForm {
  readonly shape: Heads
  readonly prefix: string
  readonly hidden: number
  /** Units of a feed-forward. */
  readonly units: number
  readonly depth: number
}

/** Undefined for measurements that are of no use here, such as those after a norm's weights. */
export function roleOf(name: string, prefix: string): Role | undefined {
  const label = name.slice(name.lastIndexOf('@') + 1)
  if (!name.includes('@') || !label.startsWith(prefix)) return undefined
  const own = label.slice(prefix.length)
  if (/^(norm|layers\.\d+\.(input|post_attention)_layernorm)\.in$/.test(own)) return { kind: 'stream' }
  const found =
    /^layers\.(\d+)\.(?:self_attn\.(?:([qkv])_proj|(o)_proj\.in)|mlp\.(?:(gate)_proj|up_proj|down_proj\.in))$/.exec(own)
  if (!found) return undefined
  const [, layer, head, out, gate] = found
  const kind = (head ?? out) as 'q' | 'k' | 'v' | 'o' | undefined
  // gate · up is odd in up, so that both up and down can change sign.
  return kind ? { kind, layer: Number(layer) } : { kind: 'units', layer: Number(layer), signed: gate === undefined }
}

const placesOfRole = ({ shape: { kv, q, width }, hidden, units }: RoleForm, { kind }: Role): number =>
  kind === 'stream' ? hidden : kind === 'units' ? units : kind === 'q' || kind === 'o' ? kv * q * width : kv * width

export interface Roles {
  readonly roles: ReadonlyMap<string, Role>
  readonly wrong: readonly { readonly name: string; readonly message: string }[]
  /** Labels of measurements without which activations alone do not determine the alignment. */
  readonly missing: readonly string[]
}

export function rolesOf(form: RoleForm, tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>): Roles {
  const roles = new Map<string, Role>()
  const wrong: { name: string; message: string }[] = []
  const has = new Set<string>()
  for (const [name, { shape }] of tensors) {
    const role = roleOf(name, form.prefix)
    if (!role || ('layer' in role && role.layer >= form.depth)) continue
    const places = placesOfRole(form, role)
    if (shape.length !== 2 || shape[1] !== places)
      wrong.push({ name, message: `is [${shape.join(', ')}] but must be [samples, ${places}]` })
    roles.set(name, role)
    // What a head's values are shows in both.
    const kind = role.kind === 'o' ? 'v' : role.kind
    has.add(role.kind === 'stream' ? 'stream' : `${kind} ${role.layer}`)
  }
  const missing = has.has('stream') ? [] : [`${form.prefix}norm.in`]
  for (let layer = 0; layer < form.depth; layer++)
    for (const [kind, label] of [
      ['q', 'self_attn.q_proj'],
      ['k', 'self_attn.k_proj'],
      ['v', 'self_attn.v_proj'],
      ['units', 'mlp.down_proj.in'],
    ])
      if (!has.has(`${kind} ${layer}`)) missing.push(`${form.prefix}layers.${layer}.${label}`)
  return { roles, wrong, missing }
}

/**
 * Which activations orthogonal matching uses. Labels after `@` say where a tensor was measured: the name of the module, with
 * `.in` for what goes into it. `hidden@model.layers.0.input_layernorm.in` is the residual stream before layer 0.
 */
import type { Layout } from './layout.js'

export type Role =
  /** The residual stream. */
  | { readonly kind: 'stream' }
  /** Units of a feed-forward. `signed`: a unit's sign can change together with that of its other weights. */
  | { readonly kind: 'units'; readonly layer: number; readonly signed: boolean }
  /** `qkv`: queries, keys and values one after another. */
  | { readonly kind: 'q' | 'k' | 'v' | 'o' | 'qkv'; readonly layer: number }

const moduleOf = (tensor: string): string => tensor.replace(/[._]weight$/, '')

/** What is measured at each label that is of use; not, for instance, what comes after a norm's weights. */
export function labelsOf({ layers, norms }: Layout): ReadonlyMap<string, Role> {
  const labels = new Map<string, Role>()
  for (const module of norms.keys()) labels.set(`${module}.in`, { kind: 'stream' })
  for (const [layer, { q, k, v, o, gate, up, down }] of layers.entries()) {
    if (q!.tensor === k!.tensor) labels.set(moduleOf(q!.tensor), { kind: 'qkv', layer })
    else
      for (const [kind, own] of Object.entries({ q, k, v }) as ['q' | 'k' | 'v', typeof q][])
        labels.set(moduleOf(own!.tensor), { kind, layer })
    labels.set(`${moduleOf(o!.tensor)}.in`, { kind: 'o', layer })
    if (gate) labels.set(moduleOf(gate.tensor), { kind: 'units', layer, signed: false })
    // gate · up is odd in up, so that both up and down can change sign.
    for (const label of [moduleOf(up!.tensor), `${moduleOf(down!.tensor)}.in`])
      labels.set(label, { kind: 'units', layer, signed: gate !== undefined })
  }
  return labels
}

/** Undefined for measurements that are of no use here. */
export const roleOf = (name: string, labels: ReadonlyMap<string, Role>): Role | undefined =>
  name.includes('@') ? labels.get(name.slice(name.lastIndexOf('@') + 1)) : undefined

function placesOfRole({ shape, hidden, units, layers }: Layout, role: Role): number {
  if (role.kind === 'stream') return hidden
  if (role.kind === 'units') return units
  const { q, k } = layers[role.layer]!
  if (role.kind === 'qkv') return 3 * q!.units
  return role.kind === 'q' || role.kind === 'o' ? (shape ? q!.units : layers[role.layer]!.o!.units) : k!.units
}

export interface Roles {
  readonly roles: ReadonlyMap<string, Role>
  readonly wrong: readonly { readonly name: string; readonly message: string }[]
  /** Labels of measurements without which activations alone do not determine the alignment. */
  readonly missing: readonly string[]
}

export function rolesOf(layout: Layout, tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>): Roles {
  const labels = labelsOf(layout)
  const roles = new Map<string, Role>()
  const wrong: { name: string; message: string }[] = []
  const has = new Set<string>()
  for (const [name, { shape }] of tensors) {
    const role = roleOf(name, labels)
    if (!role || (!layout.shape && role.kind !== 'stream' && role.kind !== 'units')) continue
    const places = placesOfRole(layout, role)
    if (shape.length !== 2 || shape[1] !== places)
      wrong.push({ name, message: `is [${shape.join(', ')}] but must be [samples, ${places}]` })
    roles.set(name, role)
    for (const kind of shownBy(role)) has.add(role.kind === 'stream' ? kind : `${kind} ${role.layer}`)
  }
  // A stream that keeps its order needs no activations.
  const last = [...labels].filter(([, { kind }]) => kind === 'stream').at(-1)
  const missing = has.has('stream') || layout.basis === 'kept' || !last ? [] : [last[0]]
  for (const [layer, { q, k, v, down }] of layout.layers.entries()) {
    const wanted = {
      ...(layout.shape ? { q: moduleOf(q!.tensor), k: moduleOf(k!.tensor), v: moduleOf(v!.tensor) } : {}),
      units: `${moduleOf(down!.tensor)}.in`,
    }
    for (const [kind, label] of Object.entries(wanted)) if (!has.has(`${kind} ${layer}`)) missing.push(label)
  }
  return { roles, wrong, missing: [...new Set(missing)] }
}

/** What a head's values are shows in its output too. */
const shownBy = ({ kind }: Role): readonly string[] => (kind === 'qkv' ? ['q', 'k', 'v'] : [kind === 'o' ? 'v' : kind])

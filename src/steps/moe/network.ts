/** The MLPs of a dense model, and the experts of a mixture, as their names show them. */
import type { Value, ValueTensor } from '../../expr/values.js'
import { type Architecture, PARTS, type Part } from './architectures.js'

/** A dense model's layers and MLPs. */
export interface Dense {
  /** `model.layers` */
  readonly prefix: string
  readonly layers: number
  readonly hidden: number
  readonly width: number
  readonly of: (layer: number, part: Part) => ValueTensor
}

const MLP = /^(.*\blayers)\.(\d+)\.mlp\.(gate_proj|up_proj|down_proj)\.weight$/

/** A string: why it is not a dense model with gated MLPs. */
export function denseOf(value: Value): Dense | string {
  const found = new Map<string, ValueTensor>()
  let prefix: string | undefined
  let layers = 0
  for (const [name, tensor] of value.tensors) {
    if (!name.includes('.mlp.') && !name.includes('.block_sparse_moe.')) continue
    const [, own, layer, part] = MLP.exec(name) ?? []
    if (own === undefined) return `${name} is not part of an MLP of gate_proj, up_proj and down_proj without biases`
    if (prefix !== undefined && own !== prefix) return `it has MLPs under ${prefix} and under ${own}`
    prefix = own
    layers = Math.max(layers, Number(layer) + 1)
    found.set(`${Number(layer)}.${part}`, tensor)
  }
  if (prefix === undefined) return 'it has no MLPs, such as model.layers.0.mlp.gate_proj.weight'
  const [width = 0, hidden = 0] = found.get('0.gate_proj')?.shape ?? []
  for (let layer = 0; layer < layers; layer++)
    for (const part of PARTS) {
      const tensor = found.get(`${layer}.${part}`)
      if (!tensor) return `it lacks ${prefix}.${layer}.mlp.${part}.weight`
      const shape = part === 'down_proj' ? [hidden, width] : [width, hidden]
      if (tensor.shape.join() !== shape.join())
        return `${prefix}.${layer}.mlp.${part}.weight has the shape [${tensor.shape.join(', ')}], not [${shape.join(', ')}]`
    }
  return { prefix, layers, hidden, width, of: (layer, part) => found.get(`${layer}.${part}`)! }
}

/** A layer of a mixture. */
export interface MixtureLayer {
  readonly layer: number
  /** By expert. Absent where they are in one tensor. */
  readonly experts?: readonly Readonly<Record<Part, ValueTensor>>[]
  readonly fused?: { readonly gateUp: ValueTensor; readonly down: ValueTensor }
  /** Tensors with a place for each expert along the first axis, by their names below the block: `gate.weight`. */
  readonly routers: ReadonlyMap<string, ValueTensor>
  /** By its names below the block. */
  readonly shared: ReadonlyMap<string, ValueTensor>
}

export interface Mixture {
  readonly prefix: string
  readonly count: number
  readonly hidden: number
  readonly width: number
  readonly layers: readonly MixtureLayer[]
  /** Names of all tensors of experts and routers. */
  readonly names: ReadonlySet<string>
}

const BLOCK = /^(.*\blayers)\.(\d+)\.(?:mlp|block_sparse_moe)\.(.+)$/
const EXPERT = /^experts\.(\d+)\.(\w+)\.weight$/
const SHARED = /^shared_expert(s|_gate)?\./

/** A string: why its experts can't be told. */
export function mixtureOf(value: Value, { parts }: Pick<Architecture, 'parts'>): Mixture | string {
  const partOf = new Map(Object.entries(parts).map(([part, name]) => [name, part as Part]))
  const byLayer = new Map<number, Map<string, ValueTensor>>()
  const names = new Set<string>()
  let prefix = ''
  for (const [name, tensor] of value.tensors) {
    const [, own, layer, rest] = BLOCK.exec(name) ?? []
    if (own === undefined || /^(gate_proj|up_proj|down_proj)\./.test(rest!)) continue
    if (prefix !== '' && own !== prefix) return `it has layers under ${prefix} and under ${own}`
    prefix = own
    names.add(name)
    const entries = byLayer.get(Number(layer)) ?? new Map<string, ValueTensor>()
    byLayer.set(Number(layer), entries.set(rest!, tensor))
  }
  const layers: MixtureLayer[] = []
  for (const [layer, entries] of [...byLayer].sort(([a], [b]) => a - b)) {
    const found = layerOf(layer, entries, partOf)
    if (typeof found === 'string') return `${prefix}.${layer}: ${found}`
    layers.push(found)
  }
  const [first] = layers
  if (!first) return 'it has no experts'
  const [count, width, hidden] = sizesOf(first)
  const other = layers.find((one) => sizesOf(one).join() !== [count, width, hidden].join())
  if (other) return `its layers ${first.layer} and ${other.layer} have other numbers or sizes of experts`
  return { prefix, count, width, hidden, layers, names }
}

const sizesOf = ({ experts, fused }: MixtureLayer): [count: number, width: number, hidden: number] => {
  if (fused) {
    const [count = 0, hidden = 0, width = 0] = fused.down.shape
    return [count, width, hidden]
  }
  const [hidden = 0, width = 0] = experts![0]!.down_proj.shape
  return [experts!.length, width, hidden]
}

function layerOf(
  layer: number,
  entries: ReadonlyMap<string, ValueTensor>,
  partOf: ReadonlyMap<string, Part>,
): MixtureLayer | string {
  const experts: Partial<Record<Part, ValueTensor>>[] = []
  const routers = new Map<string, ValueTensor>()
  const shared = new Map<string, ValueTensor>()
  const fused = { gateUp: entries.get('experts.gate_up_proj'), down: entries.get('experts.down_proj') }
  for (const [rest, tensor] of entries) {
    const [, index, name] = EXPERT.exec(rest) ?? []
    const part = name === undefined ? undefined : partOf.get(name)
    // Numbers come from names: more than there are tensors would be gaps.
    if (part && Number(index) >= entries.size) return `${rest} has a number beyond its experts`
    if (part) experts[Number(index)] = { ...experts[Number(index)], [part]: tensor }
    else if (SHARED.test(rest)) shared.set(rest, tensor)
    else if (!rest.startsWith('experts.')) routers.set(rest, tensor)
    else if (tensor !== fused.gateUp && tensor !== fused.down) return `${rest} is not known`
  }
  const both = fused.gateUp && fused.down ? { gateUp: fused.gateUp, down: fused.down } : undefined
  if (both ? experts.length > 0 : experts.length === 0) return 'it has no experts, or two forms of them'
  if (both && both.gateUp.shape[1] !== 2 * (both.down.shape[2] ?? 0))
    return 'gate_up_proj does not have the rows of gate and up'
  for (let index = 0; index < experts.length; index++)
    for (const part of PARTS) if (!experts[index]?.[part]) return `expert ${index} has no ${part}`
  const count = both ? both.down.shape[0] : experts.length
  for (const [name, { shape }] of routers)
    if (shape[0] !== count) return `${name} has ${shape[0]} rows for ${count} experts`
  if (!routers.has('gate.weight')) return 'it has no gate.weight'
  return { layer, routers, shared, ...(both ? { fused: both } : { experts: experts as Record<Part, ValueTensor>[] }) }
}

import type { Shapes } from '../spec.js'
import { isNumber, natural } from './builder.js'

/** A module of a network, as far as its tensors tell. */
export interface Module {
  /** Name of its tensors without the last part. */
  readonly name: string
  /** `layer`: a weight of two or more axes. `norm`: a weight of one axis. */
  readonly kind: 'layer' | 'norm'
  readonly shape: readonly number[]
  /** BatchNorm's, which tell it from norms that look at several channels at once. */
  readonly statistics: boolean
  readonly tensors: readonly string[]
}

const PARTS = ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']

/** Modules in the natural order of their names, and tensors that belong to none. */
export function modulesOf(shapes: Shapes): { modules: Module[]; rest: string[] } {
  const rest: string[] = []
  const found = new Map<string, string[]>()
  for (const name of [...shapes.keys()].sort(natural)) {
    const dot = name.lastIndexOf('.')
    const part = name.slice(dot + 1)
    const parent = name.slice(0, Math.max(dot, 0))
    if (dot < 0 || !PARTS.includes(part) || !(shapes.has(`${parent}.weight`) || shapes.has(`${parent}.running_mean`)))
      rest.push(name)
    else found.set(parent, [...(found.get(parent) ?? []), name])
  }
  const modules: Module[] = []
  for (const [name, tensors] of found) {
    const shape = (shapes.get(`${name}.weight`) ?? shapes.get(`${name}.running_mean`))!.shape
    const bias = shapes.get(`${name}.bias`)?.shape
    if (shape.length === 0 || (bias && bias.length !== 1)) rest.push(...tensors)
    else {
      const statistics = shapes.has(`${name}.running_mean`)
      modules.push({ name, kind: shape.length > 1 ? 'layer' : 'norm', shape, statistics, tensors })
    }
  }
  return { modules, rest }
}

/** Last part of a module's name. */
export const leaf = (name: string): string => name.slice(name.lastIndexOf('.') + 1)
export const parentOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('.')))

/** A norm over channels of a convolution that has no running statistics may be a GroupNorm, of unknown groups. */
export const NORM_REASON =
  'a norm without running statistics after a convolution may be a GroupNorm, and a checkpoint does not tell its groups'

const NORM_WORDS = /(batch|layer|group|instance|rms)_?norm([123]d)?|norm|bn|ln|gn|^n(?=_?\d|$)|prelu|act/g
const LAYER_WORDS = /conv([123]d)?|fc|linear|lin|dense|layer|^[cl](?=_?\d|$)/g
const bare = (name: string, words?: RegExp): string =>
  (words ? leaf(name).toLowerCase().replace(words, '') : leaf(name).toLowerCase()).replace(/[_-]/g, '')

/** What the names say of the layers that a norm may go with: `bn1` with `conv1`, `hidden_norm` with `hidden`, a container's only layer. */
export interface Beside {
  /** Of these one: several where the names leave it open. */
  readonly layers: readonly Module[]
  /** In a numbered sequence the norm follows its layer; without one it stands before all of them. */
  readonly by: 'sequence' | 'name' | 'container'
}

export function beside(norm: Module, modules: readonly Module[]): Beside | undefined {
  const siblings = containersOf(modules).get(parentOf(norm.name)) ?? []
  if (isNumber(leaf(norm.name)) && siblings.length === 0) return parallel(norm, modules)
  if (isNumber(leaf(norm.name))) {
    const at = Number(leaf(norm.name))
    const before = siblings.filter(({ name }) => isNumber(leaf(name)) && Number(leaf(name)) < at).at(-1)
    return { layers: before ? [before] : [], by: 'sequence' }
  }
  const key = bare(norm.name, NORM_WORDS)
  const same = siblings.filter(({ name }) => key !== '' && (key === bare(name) || key === bare(name, LAYER_WORDS)))
  if (same.length > 0) return { layers: same, by: 'name' }
  return siblings.length === 1 && key === '' ? { layers: siblings, by: 'container' } : undefined
}

const containers = new WeakMap<readonly Module[], Map<string, Module[]>>()

/** Layers by the container they stand in. */
function containersOf(modules: readonly Module[]): Map<string, Module[]> {
  const known = containers.get(modules)
  if (known) return known
  const found = new Map<string, Module[]>()
  for (const layer of modules) {
    if (layer.kind !== 'layer') continue
    const own = found.get(parentOf(layer.name))
    if (own) own.push(layer)
    else found.set(parentOf(layer.name), [layer])
  }
  containers.set(modules, found)
  return found
}

/** `norms.2` of `convs.2`: lists of norms and of layers that stand beside each other, one norm a layer, or none for the last. */
function parallel(norm: Module, modules: readonly Module[]): Beside | undefined {
  const list = parentOf(norm.name)
  const lists = new Map<string, Module[]>()
  for (const layer of modules) {
    const own = parentOf(layer.name)
    if (layer.kind === 'layer' && isNumber(leaf(layer.name)) && parentOf(own) === parentOf(list))
      lists.set(own, [...(lists.get(own) ?? []), layer])
  }
  const norms = modules.filter(({ kind, name }) => kind === 'norm' && parentOf(name) === list).length
  const [only, ...more] = lists.values()
  if (list === '' || !only || more.length > 0 || (norms !== only.length && norms !== only.length - 1)) return undefined
  return { layers: only.filter(({ name }) => leaf(name) === leaf(norm.name)), by: 'name' }
}

/** What widths that change tell of norms that are named for layers: how many can only stand before theirs, and how many only after. */
export function sidesOf(norms: readonly Module[], layers: readonly Module[]): { first: number; after: number } {
  const sides = { first: 0, after: 0 }
  for (const norm of norms) {
    const told = beside(norm, layers)
    if (told?.by !== 'name') continue
    for (const { shape } of told.layers) {
      if (shape[0] === shape[1]) continue
      if (norm.shape[0] === shape[0]) sides.after++
      else if (norm.shape[0] === shape[1]) sides.first++
    }
  }
  return sides
}

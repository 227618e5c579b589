import type { Shapes } from '../spec.js'
import { natural } from './builder.js'

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

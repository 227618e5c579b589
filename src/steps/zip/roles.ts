/** Which axis of a tensor has the outputs of its layer. The names, biases and architecture tell it. */
import { moduleOf } from '../../networks/modules.js'
import { isConv1dName, orientations } from '../../networks/orientation.js'
import { isTransposed } from '../../rebasin/infer/chain.js'
import { modulesOf } from '../../rebasin/infer/modules.js'
import { rootOf, type Shapes, type Spec } from '../../rebasin/spec.js'

const EMBEDS = /(^|[._])(\w*embed\w*|wte|wpe|shared|tokens?|positions?)$/i

/** By tensor: the axis of its outputs, where it is not the first. */
export function outAxes(
  spec: Spec,
  shapes: Shapes,
  config: Readonly<Record<string, unknown>> | undefined,
): Record<string, number> {
  const oriented = orientations(shapes, config)
  const layers = new Map(modulesOf(shapes).modules.map((module) => [module.name, module]))
  const groupsAt = (tensor: string, axis: number): string[] =>
    spec.parts.filter((part) => part.tensor === tensor && part.axis === axis).map(rootOf)
  const axes: Record<string, number> = {}
  const open: string[] = []
  for (const tensor of new Set(spec.parts.map((part) => part.tensor))) {
    const { shape } = shapes.get(tensor)!
    const { module, part } = moduleOf(tensor)
    const own = layers.get(module)
    const [first, second] = [groupsAt(tensor, 0), groupsAt(tensor, 1)]
    const bias = groupsAt(`${module}.bias`, 0)
    const set = (turned: boolean) => {
      if (turned) axes[tensor] = 1
    }
    if (shape.length < 2) continue
    if (part !== 'weight') {
      // A parameter beside layers is a value of its units.
      const last = shape.findLastIndex((_, axis) => groupsAt(tensor, axis).length > 0)
      if (last > 0) axes[tensor] = last
    } else if (bias.length > 0 && bias.join() !== first.join() && bias.join() === second.join()) set(true)
    else if (bias.length > 0 && bias.join() !== second.join()) set(false)
    else if (shape.length > 2) {
      if (own && isTransposed(own)) set(true)
      else if (bias.length === 0 && second.length > 0) open.push(tensor)
    } else {
      const told = oriented.of(module)
      if (told === 'turned') set(true)
      else if (told === 'straight') set(false)
      else if (isConv1dName(module))
        set(/c_proj$/.test(module) ? first.length > 0 && second.length === 0 : first.length === 0)
      else set(first.length === 0 && EMBEDS.test(module))
    }
  }
  turnOpen(spec, axes, open, groupsAt)
  return axes
}

/** A convolution without a bias is a transposed one if no other layer could write what is on its second axis. */
function turnOpen(
  spec: Spec,
  axes: Record<string, number>,
  open: readonly string[],
  groupsAt: (tensor: string, axis: number) => string[],
): void {
  const tensors = [...new Set(spec.parts.map(({ tensor }) => tensor))].filter(
    (tensor) => moduleOf(tensor).part === 'weight',
  )
  const writers = (group: string): string[] =>
    tensors.filter((tensor) => groupsAt(tensor, axes[tensor] ?? 0).includes(group) && !isNorm(spec, tensor))
  for (const tensor of open) {
    const [group] = groupsAt(tensor, 1)
    const [other] = groupsAt(tensor, 0)
    const wanted = group !== undefined && writers(group).length === 0
    if (wanted && (other === undefined || writers(other).some((writer) => writer !== tensor))) axes[tensor] = 1
  }
}

const isNorm = (spec: Spec, tensor: string): boolean =>
  !spec.parts.some((part) => part.tensor === tensor && part.axis > 0) &&
  spec.parts.some((part) => part.tensor === `${moduleOf(tensor).module}.running_mean`)

const ELEMENTWISE = /(prelu|act\d*)$/i

/** Groups that a norm without running statistics looks at as a whole, with the name of the norm. */
export function normedGroups(spec: Spec, shapes: Shapes): Map<string, string> {
  const norms = modulesOf(shapes).modules.filter(
    ({ kind, statistics, name }) => kind === 'norm' && !statistics && !ELEMENTWISE.test(name),
  )
  const found = new Map<string, string>()
  for (const { name, tensors } of norms)
    for (const part of spec.parts)
      if (tensors.includes(part.tensor) && !found.has(rootOf(part))) found.set(rootOf(part), name)
  return found
}

/**
 * Residual convolutional networks: blocks with `conv1 … convN`, their norms, and a projection on the shortcut where the sizes
 * change (He et al., arXiv 1512.03385; with norms first, arXiv 1603.05027). Names as in torchvision and its relatives. A block
 * without a projection keeps its output in its input's group, which is right whether or not it has a shortcut at all.
 */
import type { Shapes } from '../spec.js'
import type { Builder } from './builder.js'
import { leaf, type Module, modulesOf, NORM_REASON, parentOf } from './modules.js'

const CONV = /^(?:conv|layer|c)_?(\d+)$/
const NORM = /^(?:bn|norm|n|gn)_?(\d+)$/
const SHORTCUT = /^(downsample|shortcut|skip|proj|projection|skip_connection|residual)$/

const blockOf = (name: string): string | undefined => {
  const parent = parentOf(name)
  if (CONV.test(leaf(name)) || NORM.test(leaf(name))) return parent === '' ? undefined : parent
  if (SHORTCUT.test(leaf(name))) return parent
  if (SHORTCUT.test(leaf(parent))) return parentOf(parent)
  return undefined
}

export function isResidual(shapes: Shapes): boolean {
  const { modules } = modulesOf(shapes)
  const blocks = new Map<string, number>()
  for (const { name, kind, shape } of modules) {
    const block = blockOf(name)
    if (block !== undefined && kind === 'layer' && shape.length > 2) blocks.set(block, (blocks.get(block) ?? 0) + 1)
  }
  return [...blocks.values()].some((count) => count >= 2)
}

export function describeResidual(builder: Builder): void {
  const { modules, rest } = modulesOf(builder.shapes)
  const blocks = new Map<string, Module[]>()
  const outside: Module[] = []
  for (const module of modules) {
    const block = blockOf(module.name)
    if (block === undefined) outside.push(module)
    else blocks.set(block, [...(blocks.get(block) ?? []), module])
  }
  const layers = outside.filter(({ kind }) => kind === 'layer')
  const stem = layers.filter(({ shape }) => shape.length > 2)
  const heads = layers.filter(({ shape }) => shape.length === 2)
  const preActivation = [...blocks.values()].some((parts) => {
    const [conv, norm] = [numbered(parts, CONV, 'layer')[0], numbered(parts, NORM, 'norm')[0]]
    return conv && norm && norm.shape[0] !== conv.shape[0] && norm.shape[0] === conv.shape[1]
  })
  const frozen = (group: string, reason: string) => builder.keep(group, reason)
  const mark = (module: Module | undefined, group: string) => {
    if (!module) return
    for (const name of module.tensors) if (builder.shapes.get(name)!.shape.length === 1) builder.tensor(name, [group])
    if (module.kind === 'norm' && !module.statistics) frozen(group, NORM_REASON)
  }
  const layer = (module: Module, out: string, into: string | undefined) => {
    builder.group(out, module.shape[0]!)
    builder.tensor(`${module.name}.weight`, [out, into ?? null])
    builder.tensor(`${module.name}.bias`, [out])
  }

  let stream: { group: string; size: number } | undefined
  for (const module of stem) {
    if (stream && module.shape[1] !== stream.size) {
      frozen(stream.group, `${module.name} does not take ${stream.size} channels`)
      continue
    }
    layer(module, module.name, stream?.group)
    stream = { group: module.name, size: module.shape[0]! }
    const number = /\d+$/.exec(module.name)?.[0] ?? ''
    const norms = outside.filter(
      ({ kind, name, shape }) =>
        kind === 'norm' && shape[0] === stream!.size && (!preActivation || parentOf(name) !== ''),
    )
    mark(
      norms.find(
        ({ name }) => parentOf(name) === parentOf(module.name) && (/\d+$/.exec(leaf(name))?.[0] ?? '') === number,
      ) ?? norms[0],
      module.name,
    )
  }
  if (!stream) {
    for (const name of builder.shapes.keys()) builder.keep(name, 'a residual network without a first convolution')
    return
  }
  for (const [name, parts] of blocks) {
    const convs = numbered(parts, CONV, 'layer')
    const norms = numbered(parts, NORM, 'norm')
    const shortcut = parts.filter((part) => SHORTCUT.test(leaf(part.name)) || SHORTCUT.test(leaf(parentOf(part.name))))
    const projection = shortcut.find(({ kind }) => kind === 'layer')
    const grouped = convs.find((conv, k) => conv.shape[1] !== (k === 0 ? stream!.size : convs[k - 1]!.shape[0]))
    const size = convs.at(-1)!.shape[0]!
    const input: { group: string; size: number } = stream
    const out: string = projection ? `${name}.out` : size === input.size ? input.group : `${name}.out`
    builder.group(out, size)
    const groups = convs.map((_, k) => (k === convs.length - 1 ? out : `${name}.${leaf(convs[k]!.name)}`))
    convs.forEach((conv, k) => {
      layer(conv, groups[k]!, k === 0 ? input.group : groups[k - 1]!)
      if (conv === grouped) builder.tensor(`${conv.name}.weight`, [groups[k]!])
      mark(norms[k], preActivation ? (k === 0 ? input.group : groups[k - 1]!) : groups[k]!)
    })
    if (projection) {
      layer(projection, out, input.group)
      for (const part of shortcut)
        if (part.kind === 'norm') mark(part, preActivation && part.shape[0] !== size ? input.group : out)
    } else if (size !== input.size) {
      const reason = `block ${name} goes from ${input.size} to ${size} channels without a projection: its shortcut ties places`
      for (const group of [input.group, out]) frozen(group, reason)
    }
    if (grouped) for (const group of [input.group, ...groups]) frozen(group, `${grouped.name} is a grouped convolution`)
    stream = { group: out, size }
  }
  const groupsBefore = stream
  const final = outside.filter(
    ({ kind, name, shape }) => kind === 'norm' && shape[0] === groupsBefore.size && !builder.known(`${name}.weight`),
  )
  for (const norm of final) mark(norm, stream.group)
  heads.forEach((head, k) => {
    const into = stream!
    const times = head.shape[1]! / into.size
    if (!Number.isInteger(times)) frozen(into.group, `${head.name} does not take ${into.size} channels`)
    else {
      const last = k === heads.length - 1
      if (!last) builder.group(head.name, head.shape[0]!)
      builder.tensor(`${head.name}.weight`, [
        last ? null : head.name,
        times === 1 ? into.group : `${into.group}*${times}`,
      ])
      builder.tensor(`${head.name}.bias`, [last ? null : head.name])
      stream = { group: head.name, size: head.shape[0]! }
    }
  })
  // What no rule explained may sit anywhere: all groups of its block, and of the stream, stay.
  const unknown = [
    ...rest,
    ...modules.filter(({ name }) => !builder.known(`${name}.weight`)).flatMap(({ tensors }) => tensors),
  ]
  for (const name of unknown) {
    if (/num_batches_tracked$/.test(name)) continue
    const reason = `tensor ${name} has no place in a residual network that is known`
    for (const module of modules) for (const suffix of ['', '.out']) frozen(module.name + suffix, reason)
    for (const block of blocks.keys()) frozen(`${block}.out`, reason)
  }
}

function numbered(parts: readonly Module[], pattern: RegExp, kind: Module['kind']): Module[] {
  return parts
    .filter((part) => part.kind === kind && pattern.test(leaf(part.name)) && !SHORTCUT.test(leaf(parentOf(part.name))))
    .sort((a, b) => Number(pattern.exec(leaf(a.name))![1]) - Number(pattern.exec(leaf(b.name))![1]))
}

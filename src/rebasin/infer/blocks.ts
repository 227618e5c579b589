/**
 * What belongs together in a network of convolutions and linear layers: single layers in sequences, and blocks of several,
 * which may have a shortcut around them (He et al., arXiv 1512.03385). A container of layers is a sequence where its name says
 * so (`features`, `classifier`) or where it holds blocks itself (`layer1` of `layer1.0.conv1`); any other is a block, for a
 * checkpoint does not tell whether its input is added to its output. So is a container of one layer that keeps the number of
 * channels, as in EfficientNetV2.
 */

import { isNumber } from './builder.js'
import { type Item, orderOf } from './chain.js'
import { leaf, type Module } from './modules.js'

const SEQUENCE =
  /^(features?|\w*extractor|classifier|net(work)?|model|module|main|(en|de)coder|backbone|seq(uential)?|layers?|trunk|body|heads?|mlp|fcs?|convs?|cnn|linears?|hidden|stack|stem|blocks|stages|units|\w+_(layers?|stack|net|blocks|seq)|actor|critic|policy|q_net)$/i
const SHORTCUT =
  /^(down_?sample|short_?cut|skip(_?con\w*)?|proj(ection)?|residual|identity\w*|id_conv|conv_?(skip|short_?cut|res|proj)|res_?conv|match\w*|adjust\w*|conv1x1)$/i
const GATE = /^(se|se_?(module|layer|block)|squeeze_?(and_?)?exci\w*|attn|attention|ca|sa|cbam|eca|gate)$/i

export interface Part extends Item {
  /** The path of layers from input to output, in order. Of a block whose order is not clear: as named. */
  readonly path: readonly Module[]
  readonly block?: Block
}

export interface Block {
  /** Name of the container. */
  readonly name: string
  readonly shortcut?: Module
  /** Pairs of layers that scale channels (squeeze and excitation, arXiv 1709.01507). */
  readonly gates: readonly (readonly [Module, Module])[]
  /** Why nothing inside can be told. */
  readonly problem?: string
}

/** Items in the order of names, the container of each norm within a block, and norms outside of all. */
export interface Partition {
  readonly items: readonly Part[]
  readonly blockOf: (module: Module) => string | undefined
}

export function partition(modules: readonly Module[]): Partition {
  const layers = modules.filter(({ kind }) => kind === 'layer')
  const items: Part[] = []
  const names = new Set<string>()
  const single = (layer: Module, prefix: string) =>
    items.push({
      name: layer.name.slice(prefix.length),
      path: [layer],
      first: layer,
      last: layer,
      size: layer.shape[0]!,
    })
  /** Goes through what stands in the container `prefix`. */
  const visit = (members: readonly Module[], prefix: string, top: string, numbered: boolean) => {
    const children = new Map<string, Module[]>()
    for (const layer of members) {
      const child = layer.name.slice(prefix.length).split('.')[0]!
      children.set(child, [...(children.get(child) ?? []), layer])
    }
    // What holds all layers is the network itself.
    const whole = members.length === layers.length && children.size === 1 && layers.length > 1
    for (const [child, own] of children) {
      const path = `${prefix}${child}`
      const inside = own.every(({ name }) => name !== path)
      if (own.length === 1 && (inside ? !keepsSize(own[0]!) : true)) single(own[0]!, top)
      else if (!inside) for (const layer of own) single(layer, top)
      else if (whole) visit(own, `${path}.`, `${path}.`, false)
      else if (isSequence(own, path, child, numbered || isNumber(child)))
        visit(own, `${path}.`, top, numbered || /\d/.test(child))
      else {
        names.add(path)
        items.push(blockPart(own, path, top))
      }
    }
  }
  visit(layers, '', '', false)
  const blockOf = ({ name }: Module) => {
    for (let end = name.indexOf('.'); end >= 0; end = name.indexOf('.', end + 1))
      if (names.has(name.slice(0, end))) return name.slice(0, end)
    return undefined
  }
  return { items, blockOf }
}

/** Whether a layer gives as many channels as it takes, so that its input can be added to its output. */
const keepsSize = ({ shape: [rows, columns] }: Module): boolean => rows === columns || columns === 1

/** Whether a container of several layers puts them one after another, with nothing around them. */
function isSequence(members: readonly Module[], path: string, child: string, numbered: boolean): boolean {
  const parts = new Map<string, Module[]>()
  for (const layer of members) {
    const part = layer.name.slice(path.length + 1).split('.')[0]!
    parts.set(part, [...(parts.get(part) ?? []), layer])
  }
  const named = SEQUENCE.test(child) && !numbered
  // A part of one layer that keeps the number of channels may have a shortcut, or all parts together: no group tells them apart.
  const list = isNumber(child) || SEQUENCE.test(child.replace(/\d+$/, 's'))
  const holdsBlocks = [...parts].every(([part, [one, ...more]]) =>
    more.length > 0 ? true : list && one!.name !== `${path}.${part}` && one!.shape[0] === one!.shape[1],
  )
  if ([...parts.keys()].every(isNumber)) return named || holdsBlocks
  return named
}

function blockPart(members: readonly Module[], name: string, top: string): Part {
  const inside = (module: Module) => module.name.slice(name.length + 1).split('.')
  const gated = members.filter((layer) => inside(layer).some((part) => GATE.test(part)))
  const around = members.filter((layer) => !gated.includes(layer) && inside(layer).some((part) => SHORTCUT.test(part)))
  // `residual` names either side: the path is the one with several layers.
  const shortcut = around.length === 1 ? around[0] : undefined
  let main = members.filter((layer) => !gated.includes(layer) && layer !== shortcut)
  let problem = around.length > 1 && around.length < main.length ? 'it has several layers on its shortcut' : undefined
  const branches = new Map<string, Module[]>()
  const depth = commonDepth(main.map(inside))
  for (const layer of main)
    if (inside(layer).length > depth + 1) {
      const branch = inside(layer)
        .slice(0, depth + 1)
        .join('.')
      branches.set(branch, [...(branches.get(branch) ?? []), layer])
    }
  const gates: [Module, Module][] = []
  const pair = (layers: readonly Module[]) => {
    const [squeeze, excite] = layers
    const fits = layers.length === 2 && squeeze!.shape[0] === excite!.shape[1] && squeeze!.shape[1] === excite!.shape[0]
    if (fits) gates.push([squeeze!, excite!])
    return fits
  }
  for (const layers of branches.values()) {
    if (layers.length < 2) continue
    if (pair(layers)) main = main.filter((layer) => !layers.includes(layer))
    else problem ??= 'it has branches'
  }
  if (gated.length > 0 && !pair(gated)) problem ??= `the role of ${gated[0]!.name} is unknown`
  const found = orderOf(
    main.map((layer) => ({
      name: layer.name.slice(name.length + 1),
      first: layer,
      last: layer,
      size: layer.shape[0]!,
      layer,
    })),
  )
  if ('problem' in found) problem ??= found.problem
  if (main.length === 0) problem ??= 'it has branches'
  const path = 'order' in found ? found.order.map(({ layer }) => layer) : main
  if (
    shortcut &&
    /proj/i.test(leaf(shortcut.name)) &&
    shortcut.shape.length > 1 &&
    shortcut.shape[0] === shortcut.shape[1]
  )
    problem ??= `it is unclear whether ${shortcut.name} is inside the block or around it`
  const [first, last] = [path[0] ?? members[0]!, path.at(-1) ?? members.at(-1)!]
  const block: Block = { name, gates, ...(shortcut ? { shortcut } : {}), ...(problem ? { problem } : {}) }
  return { name: name.slice(top.length), path, first, last, size: last.shape[0]!, block }
}

/** Parts that all paths have in common, the last one of each apart. */
function commonDepth(paths: readonly (readonly string[])[]): number {
  let depth = 0
  while (paths.every((path) => path.length > depth + 1 && path[depth] === paths[0]![depth])) depth++
  return paths.length === 0 ? 0 : depth
}

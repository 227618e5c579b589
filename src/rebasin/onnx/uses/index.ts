/**
 * Which tensor of the checkpoint each use of an initializer reads. Exports rename some weights (`onnx::Conv_123`), store
 * linear weights transposed, keep one copy of equal tensors, and fold BatchNorms into convolutions. So names are looked up
 * first, then the module that a node belongs to, then shapes that only one tensor has.
 */
import { addTo } from '../../../core/collections/lists.js'
import { fault } from '../../../core/diagnostics.js'
import type { Shapes } from '../../spec.js'
import type { OnnxGraph, OnnxNode, OnnxTensor } from '../graph/model.js'
import { foldedTensors } from './folded.js'
import { nameEnds, renaming, tensorAt } from './names.js'
import { type RecurrentNames, recurrentTensors, tensorsRead } from './recurrentNames.js'
import { rolesOf, type Use } from './roles.js'

export interface Uses {
  /** By initializer of `graph`. */
  readonly tensors: ReadonlyMap<string, Use>
  readonly folded: ReadonlyMap<OnnxNode, readonly string[]>
  /** Initializers that only hold what is folded. */
  readonly foldedBiases: ReadonlySet<string>
  readonly recurrent: ReadonlyMap<OnnxNode, readonly RecurrentNames[]>
  /** Initializers that are not certainly a tensor, with the reason. */
  readonly lost: ReadonlyMap<string, string>
  /** The graph, with an initializer of its own for every use. */
  readonly graph: OnnxGraph
}

/** One use of a floating-point initializer. */
export interface Reading {
  /** The name of this use. */
  readonly key: string
  readonly initializer: OnnxTensor
  readonly node: OnnxNode
  readonly index: number
  /** Whether the initializer is used more than once: then it may stand for several equal tensors. */
  readonly shared: boolean
}

/** Error: `spec-misfit` if a tensor has another shape than in the export. */
export function usesOf(original: OnnxGraph, shapes: Shapes): Uses {
  const { graph, readings } = separated(original)
  const rename = renaming(original.initializers.filter(isWeight), shapes)
  const ends = nameEnds([...shapes.keys()])
  const tensors = new Map<string, Use>()
  const lost = new Map<string, string>()
  const recurrent = recurrentTensors(graph.nodes, shapes, ends)
  const left: Reading[] = []
  const squares: [Reading, string][] = []
  let isTransposed = false
  for (const reading of readings) {
    if (recurrent.has(reading.node)) continue
    const scoped = scopedTensor(reading, shapes, ends, rename)
    const named = rename(reading.initializer.name)
    if (named === undefined || (reading.shared && scoped)) {
      if (scoped) tensors.set(reading.key, scoped)
      else left.push(reading)
      continue
    }
    const how = orderOf(reading.initializer.dims, shapes.get(named)!.shape)
    if (how === undefined) throw misfit(named, shapes.get(named)!.shape, reading.initializer.dims)
    if (how === 'square') squares.push([reading, named])
    else tensors.set(reading.key, { tensor: named, reversed: how === 'reversed' })
    isTransposed ||= how === 'reversed'
  }
  takeSquares(squares, isTransposed, tensors, lost)
  const alone = withoutTied(belowScope(left, shapes, tensors), readings, tensors, shapes)
  byShape(alone, shapes, { tensors, recurrent }, lost)
  const folded = foldedTensors(graph, tensors, shapes, recurrent)
  return { tensors, recurrent, lost, folded, foldedBiases: foldedBiases(graph, { folded, tensors, lost }), graph }
}

export const isWeight = ({ float, dims }: OnnxTensor): boolean => float && dims.some((n) => n > 1)

/** Gives every use of an initializer its own name. An Identity of an initializer is a use under the name of its output. */
function separated(graph: OnnxGraph): { graph: OnnxGraph; readings: Reading[] } {
  const known = new Map(graph.initializers.filter(isWeight).map((tensor) => [tensor.name, tensor]))
  const aliases = new Map<string, OnnxTensor>()
  const nodes = graph.nodes.filter(({ op, inputs, outputs }) => {
    const [from, to] = [inputs[0], outputs[0]]
    const source = from === undefined ? undefined : (known.get(from) ?? aliases.get(from))
    if (op !== 'Identity' || !source || to === undefined) return true
    aliases.set(to, { ...source, name: to })
    return false
  })
  const count = new Map<string, number>()
  const find = (input: string) => aliases.get(input) ?? known.get(input)
  for (const { inputs } of nodes)
    for (const input of inputs) if (find(input)) count.set(input, (count.get(input) ?? 0) + 1)
  const readings: Reading[] = []
  const made: OnnxTensor[] = []
  const renamed = nodes.map((node): OnnxNode => {
    if (!node.inputs.some(find)) return node
    const own: { -readonly [K in keyof OnnxNode]: OnnxNode[K] } = { ...node }
    own.inputs = node.inputs.map((input, index) => {
      const initializer = find(input)
      if (!initializer) return input
      const key = `${input}\n${readings.length}`
      made.push({ ...initializer, name: key })
      readings.push({ key, initializer, node: own, index, shared: (count.get(input) ?? 0) > 1 })
      return key
    })
    return own
  })
  const others = graph.initializers.filter((tensor) => !isWeight(tensor))
  // An output can be an initializer.
  const ends = graph.outputs.filter(({ name }) => find(name)).map(({ name }) => ({ ...find(name)!, name }))
  return { graph: { ...graph, nodes: renamed, initializers: [...others, ...made, ...ends] }, readings }
}

/** How an initializer has the axes of a tensor. Axes of one place do not count. */
function orderOf(dims: readonly number[], shape: readonly number[]): 'same' | 'reversed' | 'square' | undefined {
  const [x, y] = [dims, shape].map((all) => all.filter((n) => n !== 1))
  if (x!.length !== y!.length) return undefined
  const same = x!.every((n, i) => n === y![i])
  const reversed = x!.length === 2 && x![0] === y![1] && x![1] === y![0]
  if (same && reversed && dims.length === 2) return 'square'
  return same ? 'same' : reversed ? 'reversed' : undefined
}

/** The tensor of the node's module for this input, if it fits. */
function scopedTensor(
  { node, index, initializer }: Reading,
  shapes: Shapes,
  ends: ReadonlyMap<string, readonly string[]>,
  rename: (name: string) => string | undefined,
): Use | undefined {
  const { scope } = node
  if (scope === undefined) return undefined
  const found = rolesOf(node, index).flatMap(({ part, reversed }): Use[] => {
    const name = scope === '' ? part : `${scope}.${part}`
    const tensor = tensorAt(name, shapes, ends) ?? rename(name)
    if (tensor === undefined) return []
    const how = orderOf(initializer.dims, shapes.get(tensor)!.shape)
    if (how === undefined) return []
    return how === 'square' || how === (reversed ? 'reversed' : 'same') ? [{ tensor, reversed }] : []
  })
  return found.length === 1 ? found[0] : undefined
}

/**
 * One matrix in two modules is tied: the checkpoint has it under the name of one of them. Takes the other use from `left`.
 * Equal vectors can be different tensors that have the same initial values.
 */
function withoutTied(
  left: readonly Reading[],
  readings: readonly Reading[],
  tensors: Map<string, Use>,
  shapes: Shapes,
): Reading[] {
  return left.filter(({ key, initializer, node }) => {
    const { name, dims } = initializer
    const others = readings.filter((other) => other.initializer.name === name && other.key !== key)
    const found = new Set(others.flatMap((other) => tensors.get(other.key)?.tensor ?? []))
    // Under a name that the checkpoint does not have: only one tensor has its shape, and it is read elsewhere.
    const read = new Set([...tensors.values()].map((use) => use.tensor))
    const order = node.op === 'MatMul' ? 'reversed' : node.op === 'Gather' ? 'same' : undefined
    if (found.size === 0 && order !== undefined && node.scope !== undefined)
      for (const [own, { shape }] of shapes) if (orderOf(dims, shape) === order) found.add(own)
    const [tensor] = found
    if (dims.length !== 2 || tensor === undefined || found.size > 1 || !read.has(tensor)) return true
    const how = orderOf(dims, shapes.get(tensor)!.shape)
    if (how !== 'same' && how !== 'reversed') return true
    tensors.set(key, { tensor, reversed: how === 'reversed' })
    return false
  })
}

/** A square weight does not say whether the export transposed it. It is uncertain if other named weights are transposed. */
function takeSquares(
  squares: readonly [Reading, string][],
  isTransposed: boolean,
  tensors: Map<string, Use>,
  lost: Map<string, string>,
): void {
  for (const [{ key, node, index, initializer }, tensor] of squares) {
    const [role] = rolesOf(node, index)
    if (isTransposed && role?.reversed !== false)
      lost.set(initializer.name, `${initializer.name} is square: it is not clear whether the export transposed it`)
    else tensors.set(key, { tensor, reversed: false })
  }
}

/**
 * A module may use the weights of its children itself, such as the projections of an attention. Finds those of a shape
 * that only one unread tensor and one use in the module have. Returns the other uses.
 */
function belowScope(left: readonly Reading[], shapes: Shapes, tensors: Map<string, Use>): Reading[] {
  const taken = new Set([...tensors.values()].map(({ tensor }) => tensor))
  const free = [...shapes].filter(([name]) => !taken.has(name))
  const found = left.map((reading): Use | undefined => {
    const { node, index, initializer } = reading
    const [role] = rolesOf(node, index)
    const { scope } = node
    if (!role || scope === undefined || scope === '' || initializer.dims.length < 2) return undefined
    const fitting = free.filter(([name, { shape }]) => {
      const how = orderOf(initializer.dims, shape)
      return name.startsWith(`${scope}.`) && (how === 'square' || how === (role.reversed ? 'reversed' : 'same'))
    })
    return fitting.length === 1 ? { tensor: fitting[0]![0], reversed: role.reversed } : undefined
  })
  const count = new Map<string, number>()
  for (const use of found) if (use) count.set(use.tensor, (count.get(use.tensor) ?? 0) + 1)
  return left.filter((reading, i) => {
    const use = found[i]
    if (!use || count.get(use.tensor) !== 1) return true
    tensors.set(reading.key, use)
    return false
  })
}

/** By a shape that only one tensor and one use have. */
function byShape(
  left: readonly Reading[],
  shapes: Shapes,
  { tensors, recurrent }: { readonly tensors: Map<string, Use>; readonly recurrent: Uses['recurrent'] },
  lost: Map<string, string>,
): void {
  const taken = tensorsRead(tensors, recurrent)
  const free = new Map<string, string[]>()
  for (const [name, { shape }] of shapes) if (!taken.has(name)) addTo(free, shape.join(), name)
  const isProduct = ({ node, index }: Reading) => node.op === 'MatMul' && index === 1
  const keyOf = (reading: Reading) => {
    const { dims } = reading.initializer
    return (isProduct(reading) ? [...dims].reverse() : dims).join()
  }
  const claims = new Map<string, number>()
  for (const reading of left) claims.set(keyOf(reading), (claims.get(keyOf(reading)) ?? 0) + 1)
  for (const reading of left) {
    const found = free.get(keyOf(reading)) ?? []
    const { name, dims } = reading.initializer
    if (found.length === 1 && claims.get(keyOf(reading)) === 1)
      tensors.set(reading.key, { tensor: found[0]!, reversed: isProduct(reading) })
    else
      lost.set(
        name,
        `initializer ${name} of shape [${dims.join(', ')}] is ${found.length === 0 ? 'no tensor' : 'not clearly one tensor'} of the checkpoint`,
      )
  }
}

interface Found {
  readonly folded: Uses['folded']
  readonly tensors: ReadonlyMap<string, Use>
  readonly lost: Map<string, string>
}

/** Biases that hold a folded norm are no constants: the norm's tensors stand for them. They are not lost either. */
function foldedBiases({ nodes, initializers }: OnnxGraph, { folded, tensors, lost }: Found): Set<string> {
  const sources = new Map(initializers.map(({ name }) => [name, name.replace(/\n\d+$/, '')]))
  const found = new Set<string>()
  for (const node of nodes) {
    const bias = node.inputs[2]
    const source = bias === undefined || tensors.has(bias) ? undefined : sources.get(bias)
    if (source === undefined || !folded.get(node)?.length) continue
    found.add(bias!)
    lost.delete(source)
  }
  return found
}

const misfit = (name: string, shape: readonly number[], dims: readonly number[]) => {
  const [here, there] = [shape, dims].map((all) => `[${all.join(', ')}]`)
  const axis = Math.max(
    0,
    shape.findIndex((n, i) => n !== dims[i]),
  )
  return fault(
    'spec-misfit',
    `tensor ${name} is ${here}, but ${there} in the ONNX export: axis ${axis} differs`,
    'the export must be of the same architecture',
  )
}

/**
 * Permutation specs from ONNX exports: the graph says how tensors connect, the checkpoint which they are. Exports keep most
 * names; those that they lose (`onnx::MatMul_123`, a weight transposed for the graph) are found by the node that reads them,
 * which is named for its module, or by a shape that only one tensor has.
 */
import { fault } from '../../core/diagnostics.js'
import { type AxisText, groupName, readSpec, type Shapes, type Spec } from '../spec.js'
import type { Axis } from './axes.js'
import type { OnnxGraph, OnnxTensor } from './model.js'
import { walkGraph } from './walk.js'

export { type OnnxGraph, readOnnx } from './model.js'
export type { Bytes } from './wire.js'

interface Match {
  readonly name: string
  /** The checkpoint has the axes in the other order: a linear layer's weight. */
  readonly reversed: boolean
}

const equal = (x: readonly number[], y: readonly number[]) => x.length === y.length && x.every((n, i) => n === y[i])
const flipped = (x: readonly number[], y: readonly number[]) => x.length === 2 && equal([...x].reverse(), y)

/**
 * The spec of a checkpoint of these shapes, from the graph of an export of its model. What is not permuted stands in `kept`.
 * Faults: `bad-onnx` for a graph out of order, `spec-misfit` where a tensor has another shape than in the export.
 */
export function onnxSpec(graph: OnnxGraph, shapes: Shapes): Spec {
  const { axes, tensors } = walkGraph(graph)
  const floats = graph.initializers.filter(({ float, dims }) => float && dims.some((n) => n > 1))
  const { matches, lost } = matchNames(graph, floats, shapes)
  const kept = new Map<string, string>()
  for (const [name, reason] of lost)
    for (const { node } of tensors.get(name)!) if (node !== undefined) axes.freeze(node, reason)
  freezeUnread(shapes, matches, floats, tensors, axes)

  const groups = new Map<number, string>()
  const sizes: Record<string, number> = Object.create(null)
  const rows: Record<string, AxisText[]> = Object.create(null)
  for (const { name } of floats) {
    const match = matches.get(name)
    const own = tensors.get(name)!
    // Kernels' places and rows of tables never move in any network: only what could is told.
    const reason = own
      .slice(0, 2)
      .map(({ node }) => (node === undefined ? undefined : axes.frozen(node)))
      .find((text) => text !== undefined)
    if (!match) {
      kept.set(name, lost.get(name) ?? 'the checkpoint has no such tensor')
      continue
    }
    const texts = own.map(({ node }): AxisText => {
      const units = node === undefined ? undefined : axes.units(node)
      if (!units || axes.frozen(units.root) !== undefined) return null
      if (!groups.has(units.root)) {
        const plain = groupName(match.name.replace(/\.(weight|bias)$/, ''))
        let group = plain
        for (let k = 2; Object.hasOwn(sizes, group); k++) group = `${plain}#${k}`
        groups.set(units.root, group)
        sizes[group] = axes.size(units.root)!
      }
      const group = groups.get(units.root)!
      return units.times === 1 ? group : `${group}*${units.times}`
    })
    if (texts.some((text) => text !== null)) rows[match.name] = match.reversed ? texts.reverse() : texts
    else if (reason !== undefined) kept.set(match.name, reason)
  }
  return readSpec({ groups: sizes, tensors: rows, kept: Object.fromEntries(kept) }, shapes)
}

/**
 * A tensor of the checkpoint that no initializer is, and that some place of the graph may have been folded into or may be a
 * copy of, could go by any group that fits one of its axes: these stay.
 */
function freezeUnread(
  shapes: Shapes,
  matches: ReadonlyMap<string, Match>,
  floats: readonly OnnxTensor[],
  tensors: ReadonlyMap<string, readonly Axis[]>,
  axes: ReturnType<typeof walkGraph>['axes'],
): void {
  const read = new Set([...matches.values()].map(({ name }) => name))
  const lengths = new Map<number, string>()
  // Integers count and name things: they do not go by units.
  const counts = (tensor: { readonly shape: readonly number[]; readonly dtype?: string }) =>
    /^(I|U|BOOL)/.test(tensor.dtype ?? '')
  for (const [name, tensor] of shapes)
    if (!read.has(name) && !counts(tensor))
      for (const length of tensor.shape) if (length > 1 && !lengths.has(length)) lengths.set(length, name)
  if (lengths.size === 0) return
  for (const { name } of floats)
    for (const { node } of tensors.get(name)!) {
      const size = node === undefined ? undefined : axes.size(axes.units(node)?.root ?? node)
      if (size === undefined) continue
      const found = [...lengths].find(([length]) => length % size === 0)
      if (found) axes.freeze(node!, `the graph does not read tensor ${found[1]}, which may go by the same units`)
    }
}

function matchNames(
  graph: OnnxGraph,
  floats: readonly OnnxTensor[],
  shapes: Shapes,
): { matches: Map<string, Match>; lost: Map<string, string> } {
  const matches = new Map<string, Match>()
  const lost = new Map<string, string>()
  const taken = new Set<string>()
  const take = (tensor: OnnxTensor, name: string, reversed: boolean) => {
    matches.set(tensor.name, { name, reversed })
    taken.add(name)
  }
  const rename = renaming(floats, shapes)
  const squares: [OnnxTensor, string][] = []
  let reversals = false
  for (const tensor of floats) {
    const name = rename(tensor.name)
    const shape = name === undefined ? undefined : shapes.get(name)!.shape
    if (name === undefined || shape === undefined) continue
    if (equal(tensor.dims, shape) && !flipped(tensor.dims, shape)) take(tensor, name, false)
    else if (equal(tensor.dims, shape)) squares.push([tensor, name])
    else if (flipped(tensor.dims, shape)) {
      reversals = true
      take(tensor, name, true)
    } else {
      const [here, there] = [shape, tensor.dims].map((dims) => `[${dims.join(', ')}]`)
      throw fault(
        'spec-misfit',
        `tensor ${name} is ${here}, but ${there} in the ONNX export: axis ${Math.max(
          0,
          shape.findIndex((n, i) => n !== tensor.dims[i]),
        )} differs`,
        'the export must be of the same architecture',
      )
    }
  }
  // A square weight does not tell whether the export transposed it: others of the same names do.
  for (const [tensor, name] of squares)
    if (reversals) lost.set(tensor.name, `${tensor.name} is square: whether the export transposed it is not clear`)
    else take(tensor, name, false)
  const unnamed = floats.filter(({ name }) => !matches.has(name) && !lost.has(name))
  const free = () => [...shapes].filter(([name]) => !taken.has(name))
  const readers = new Map<string, { op: string; name: string; index: number }[]>()
  const wanted = new Set(unnamed.map(({ name }) => name))
  for (const { op, name, inputs } of graph.nodes)
    inputs.forEach((input, index) => {
      if (wanted.has(input)) list(readers, input).push({ op, name, index })
    })
  // An export writes a linear layer's weight transposed for MatMul; other operators take it as it is.
  const fits = (tensor: OnnxTensor, shape: readonly number[]) =>
    isProduct(readers.get(tensor.name)) ? flipped(tensor.dims, shape) : equal(tensor.dims, shape)
  const ends = new Map<string, string[]>()
  for (const [name] of free()) {
    const parts = name.split('.')
    for (let k = Math.max(0, parts.length - 12); k < parts.length; k++) {
      const end = parts.slice(k).join('.')
      list(ends, end).push(name)
    }
  }
  for (const tensor of unnamed) {
    const [reader, ...more] = readers.get(tensor.name) ?? []
    if (!reader || more.length > 0 || reader.index < 1 || reader.index > 2) continue
    const module = reader.name
      .split('/')
      .filter((part) => part !== '')
      .slice(0, -1)
      .join('.')
    if (module === '') continue
    const part = isProduct([reader]) || reader.index === 1 ? 'weight' : 'bias'
    const found = ends.get(`${module}.${part}`)?.filter((name) => !taken.has(name)) ?? []
    if (found.length === 1 && fits(tensor, shapes.get(found[0]!)!.shape)) take(tensor, found[0]!, isProduct([reader]))
  }
  const key = (dims: readonly number[]) => dims.join(',')
  const byShape = new Map<string, string[]>()
  for (const [name, { shape }] of free()) list(byShape, key(shape)).push(name)
  const left = unnamed.filter(({ name }) => !matches.has(name))
  const places = left.map((tensor) =>
    key(isProduct(readers.get(tensor.name)) ? [...tensor.dims].reverse() : tensor.dims),
  )
  const claims = new Map<string, number>()
  for (const place of places) claims.set(place, (claims.get(place) ?? 0) + 1)
  left.forEach((tensor, i) => {
    const found = byShape.get(places[i]!) ?? []
    if (found.length === 1 && claims.get(places[i]!) === 1) take(tensor, found[0]!, isProduct(readers.get(tensor.name)))
    else
      lost.set(
        tensor.name,
        `initializer ${tensor.name} of shape [${tensor.dims.join(', ')}] is ${found.length === 0 ? 'no tensor' : 'not clearly one tensor'} of the checkpoint`,
      )
  })
  return { matches, lost }
}

function list<T>(lists: Map<string, T[]>, key: string): T[] {
  const found = lists.get(key) ?? []
  lists.set(key, found)
  return found
}

const isProduct = (readers: readonly { op: string; index: number }[] | undefined): boolean =>
  readers !== undefined && readers.length > 0 && readers.every(({ op, index }) => op === 'MatMul' && index === 1)

/** Initializers' names as the checkpoint has them: the same, or with one prefix more or less throughout. */
function renaming(floats: readonly OnnxTensor[], shapes: Shapes): (name: string) => string | undefined {
  const exact = (name: string) => (shapes.has(name) ? name : undefined)
  const names = floats.map(({ name }) => name).filter((name) => !name.startsWith('onnx::'))
  const count = (rename: (name: string) => string | undefined) =>
    names.filter((name) => rename(name) !== undefined).length
  const candidates: ((name: string) => string | undefined)[] = [exact]
  // Some tensor's place under another name gives the prefix: `module.` of the export, `model.` of the checkpoint.
  const inner = names[0]
  if (inner !== undefined && count(exact) < names.length) {
    const parts = inner.split('.')
    for (let k = 1; k < Math.min(parts.length, 5); k++) {
      const prefix = `${parts.slice(0, k).join('.')}.`
      candidates.push((name) => (name.startsWith(prefix) ? exact(name.slice(prefix.length)) : undefined))
    }
    const holder = [...shapes.keys()].find((name) => name.endsWith(`.${inner}`))
    if (holder !== undefined) candidates.push((name) => exact(holder.slice(0, -inner.length) + name))
  }
  const rename = candidates.reduce((best, other) => (count(other) > count(best) ? other : best))
  return rename
}

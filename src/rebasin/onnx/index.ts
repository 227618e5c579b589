/**
 * Permutation specs from ONNX exports: the graph says how tensors connect, the checkpoint which they are. Exports keep most
 * names; those that they lose (`onnx::MatMul_123`, a weight transposed for the graph) are found by the node that reads them,
 * which is named for its module, or by a shape that only one tensor has.
 */
import { type AxisText, groupName, readSpec, type Shapes, type Spec } from '../spec.js'
import type { Axis } from './axes.js'
import { type Match, matchNames } from './matchNames.js'
import type { OnnxGraph, OnnxTensor } from './model.js'
import { walkGraph } from './walk.js'

export { type OnnxGraph, readOnnx } from './model.js'
export type { Bytes } from './wire.js'

/**
 * The spec of a checkpoint of these shapes, from the graph of an export of its model. What is not permuted stands in `kept`.
 * Errors: `bad-onnx` for a graph out of order, `spec-misfit` where a tensor has another shape than in the export.
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

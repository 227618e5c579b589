/** Permutation specs from ONNX exports: the graph says how tensors connect, and the checkpoint which tensors there are. */

import { specOfWalk } from '../axes/specText.js'
import type { Shapes, Spec } from '../spec.js'
import type { OnnxGraph } from './graph/model.js'
import { isWeight, type Uses, usesOf } from './uses/index.js'
import { walkGraph } from './walk.js'

export { type OnnxGraph, readOnnx } from './graph/model.js'
export type { Bytes } from './graph/wire.js'

/**
 * The spec of a checkpoint with these shapes, from the graph of an export of its model. `kept` has what is not permuted.
 * Errors: `bad-onnx` for a graph that is not valid, `spec-misfit` if a tensor has another shape than in the export.
 */
export function onnxSpec(original: OnnxGraph, shapes: Shapes): Spec {
  const uses = usesOf(original, shapes)
  const walked = walkGraph(uses.graph, uses, shapes)
  const kept = keptOf(original, uses, shapes)
  return specOfWalk(walked, shapes, { unread: unreadLengths(shapes, walked.tensors), kept })
}

/** Initializers that are no tensor of the checkpoint, with the reason. */
function keptOf({ initializers }: OnnxGraph, uses: Uses, shapes: Shapes): [string, string][] {
  return initializers
    .filter((tensor) => isWeight(tensor) && uses.lost.has(tensor.name) && !shapes.has(tensor.name))
    .map(({ name }) => [name, uses.lost.get(name)!])
}

/**
 * Lengths of axes of tensors that the graph does not read, with a tensor each. Such a tensor may have been folded into
 * another or may be a copy, and could follow the units of any group whose size divides the length.
 */
function unreadLengths(shapes: Shapes, read: ReadonlyMap<string, unknown>): ReadonlyMap<number, string> {
  const lengths = new Map<number, string>()
  for (const [name, { shape, dtype }] of shapes as ReadonlyMap<string, { shape: readonly number[]; dtype?: string }>) {
    // Integers count and name things. They do not follow units.
    if (read.has(name) || /^(I|U|BOOL)/.test(dtype ?? '')) continue
    for (const length of shape) if (length > 1 && !lengths.has(length)) lengths.set(length, name)
  }
  return lengths
}

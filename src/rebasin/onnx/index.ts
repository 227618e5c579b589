/** Permutation specs from ONNX exports: the graph says how tensors connect, and the checkpoint which tensors there are. */

import { groupsOf } from '../axes/groups.js'
import { type AxisText, groupName, readSpec, type Shapes, type Spec } from '../spec.js'
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
  const { groups, rows, reasons } = groupsOf(walked, unreadLengths(shapes, walked.tensors))
  const named = groups.map((size, k) => ({ size, name: '', k }))
  const taken = new Set<string>()
  for (const [tensor, axes] of rows)
    for (const axis of axes)
      for (const { group } of axis ?? []) {
        const own = group === undefined ? undefined : named[group]!
        if (own?.name !== '') continue
        const plain = groupName(tensor.replace(/\.(weight|bias)$/, ''))
        let name = plain
        for (let n = 2; taken.has(name); n++) name = `${plain}#${n}`
        taken.add(name)
        own.name = name
      }
  const nameOf = (group: number) => named[group]!.name
  const tensors: Record<string, AxisText[]> = Object.create(null)
  for (const [tensor, axes] of rows) tensors[tensor] = axes.map((axis) => textOf(axis, nameOf))
  return readSpec(
    {
      groups: Object.fromEntries(named.map(({ name, size }) => [name, size])),
      tensors,
      kept: Object.fromEntries([...keptOf(original, uses, shapes), ...reasons]),
    },
    shapes,
  )
}

interface Part {
  readonly group?: number
  readonly places: number
  readonly times: number
}

/** An axis as specs write it. */
function textOf(axis: readonly Part[] | undefined, nameOf: (group: number) => string): AxisText {
  if (!axis?.some(({ group }) => group !== undefined)) return null
  const texts: string[] = []
  for (const { group, places, times } of axis) {
    const text = group === undefined ? String(places) : nameOf(group)
    texts.push(times === 1 || group === undefined ? text : `${text}*${times}`)
  }
  const [first] = texts
  if (texts.length === 1) return first!
  return texts.every((text) => text === first) && axis[0]!.group !== undefined ? `${texts.length}*${first}` : texts
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

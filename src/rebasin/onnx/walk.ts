/**
 * The walk over an ONNX graph. Every value has axes. Operators tie the axes that must move together, so that the network
 * computes the same. If an operator is not known, its inputs keep their order. Graph inputs and outputs keep theirs too.
 */

import type { Axis } from '../axes/axis.js'
import { constantAxes, ofIds, plain } from '../axes/axis.js'
import { createTies, type Walked } from '../axes/ties.js'
import type { Shapes } from '../spec.js'
import type { OnnxGraph, OnnxNode } from './graph/model.js'
import { broken } from './graph/wire.js'
import { OPERATORS } from './operators/index.js'
import type { Uses } from './uses/index.js'
import { label, type Recurrent, type Size, stay, unknown, type Value, type Walk } from './value.js'

/** Limit for the axes of a value: a hostile graph could double them with each node. */
const MOST_AXES = 64

export function walkGraph(graph: OnnxGraph, uses: Uses, shapes: Shapes): Walked {
  const ties = createTies()
  const values = new Map<string, Value>()
  const sizes = new Map<string, readonly Size[]>()
  const tensors = new Map<string, (Int32Array | undefined)[]>()
  const told = new Map(graph.values.map(({ name, dims }) => [name, dims]))
  const axesOf = (tensor: string): readonly Axis[] => {
    const { shape } = shapes.get(tensor)!
    const known = tensors.get(tensor) ?? shape.map((length) => (length > 1 ? ties.newIds(length) : undefined))
    tensors.set(tensor, known)
    return known.map((ids, i) => (ids ? ofIds(ids) : plain(shape[i])))
  }
  const walk: Walk = {
    ties,
    value: (name) => {
      if (name === undefined || name === '') return []
      if (!values.has(name)) throw broken(`value ${name} is used before it is computed`)
      return values.get(name)
    },
    sizes: (name) => (name === undefined ? undefined : sizes.get(name)),
    numbers: (name) => {
      const found = name === undefined ? undefined : sizes.get(name)
      return found?.every((size) => typeof size === 'number') ? (found as number[]) : undefined
    },
    give: (name, value, own) => {
      if (name === undefined || name === '') return
      if (values.has(name)) throw broken(`value ${name} is computed twice`)
      if (value && value.length > MOST_AXES) throw broken(`value ${name} has more than ${MOST_AXES} axes`)
      values.set(name, value)
      if (own) sizes.set(name, own)
    },
    folded: (node) => (uses.folded.get(node) ?? []).map((tensor) => axesOf(tensor)[0]!),
    recurrent: (node) => uses.recurrent.get(node)?.map((direction) => recurrentAxes(direction, axesOf)),
    told: (name) => told.get(name)?.map((length) => plain(length)),
  }
  for (const tensor of graph.initializers) {
    const { name, dims, integers } = tensor
    const use = uses.tensors.get(name)
    const own = use ? placed(axesOf(use.tensor), dims, use.reversed) : constantAxes(tensor)
    // What is folded has axes of its own: `walk.folded`.
    walk.give(name, uses.foldedBiases.has(name) ? [] : own, integers)
  }
  for (const { name, dims } of graph.inputs) {
    // Older files list initializers among the inputs.
    if (!values.has(name))
      walk.give(
        name,
        dims?.map((length) => plain(length)),
      )
  }
  for (const node of graph.nodes) visit(walk, node)
  // Graphs inside nodes read any value by its name.
  const nested = graph.nodes.find((node) => node.nested)
  if (nested) for (const own of values.values()) stay(walk, own, `${label(nested)} has a graph of its own`)
  for (const { name } of graph.outputs) stay(walk, walk.value(name), `${name} is an output of the graph`)
  return { units: ties.units(), tensors }
}

/** The axes of a tensor at the axes of an initializer, which may have more axes of one place. */
function placed(axes: readonly Axis[], dims: readonly number[], reversed: boolean): Axis[] {
  const long = axes.filter(({ length }) => length !== 1)
  if (reversed) long.reverse()
  let next = 0
  return dims.map((length) => (length === 1 ? plain(1) : long[next++]!))
}

function visit(walk: Walk, node: OnnxNode): void {
  const operate = node.nested ? undefined : OPERATORS.get(node.op)
  if (operate) operate(walk, node)
  else unknown(walk, node)
}

function recurrentAxes(
  { input, hidden, biases }: { readonly input: string; readonly hidden: string; readonly biases: readonly string[] },
  axesOf: (tensor: string) => readonly Axis[],
): Recurrent {
  return { input: axesOf(input), hidden: axesOf(hidden), biases: biases.map((name) => axesOf(name)[0]!) }
}

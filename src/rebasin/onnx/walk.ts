/**
 * The walk over an ONNX graph. Every value has axes, every axis that may be permuted a node of the union-find; operators tie
 * the axes that must go by one permutation to compute the same. What an operator does to an axis that is not known freezes
 * the axis: it keeps its order, and so do all that are tied to it. Graph inputs and outputs are frozen.
 */
import { ownValue } from '../../core/collections/ownValue.js'
import { type Axes, type Axis, createAxes } from './axes.js'
import type { OnnxGraph } from './model.js'
import { OPERATORS } from './operators.js'
import { label, type Size, unknown, type Value, type Walk } from './value.js'
import { broken } from './wire.js'

/** Axes of a value: a hostile graph could double them with each node. */
const MOST_AXES = 64

export interface Walked {
  readonly axes: Axes
  /** For each initializer its axes. */
  readonly tensors: ReadonlyMap<string, readonly Axis[]>
}

export function walkGraph(graph: OnnxGraph): Walked {
  const axes = createAxes()
  const values = new Map<string, Value>()
  const shapes = new Map<string, readonly Size[]>()
  const tensors = new Map<string, readonly Axis[]>()
  const told = new Map(graph.values.map(({ name, dims }) => [name, dims]))
  const stay = (value: Value, reason: string) => {
    for (const { node } of value ?? []) if (node !== undefined) axes.freeze(node, reason)
  }
  const walk: Walk = {
    ...axes,
    value: (name) => {
      if (name === undefined || name === '') return []
      if (!values.has(name)) throw broken(`value ${name} is used before it is computed`)
      return values.get(name)
    },
    sizes: (name) => (name === undefined ? undefined : shapes.get(name)),
    numbers: (name) => {
      const found = name === undefined ? undefined : shapes.get(name)
      return found?.every((size) => typeof size === 'number') ? (found as number[]) : undefined
    },
    give: (name, value, sizes) => {
      if (name === undefined || name === '') return
      if (values.has(name)) throw broken(`value ${name} is computed twice`)
      if (value && value.length > MOST_AXES) throw broken(`value ${name} has more than ${MOST_AXES} axes`)
      values.set(name, value)
      if (sizes) shapes.set(name, sizes)
    },
    join: (x, y, where) => {
      if (x.node !== undefined && y.node !== undefined) axes.tie(x.node, y.node, where)
      else {
        const node = x.node ?? y.node
        if (node !== undefined) axes.freeze(node, `${where}: the other side keeps its order`)
      }
      return x.length !== undefined ? x : y
    },
    told: (name) => told.get(name)?.map((length) => (length === undefined ? {} : { length })),
    stay,
  }
  for (const { name, dims, integers } of graph.initializers) {
    const own = dims.map((length) => (length === 1 ? { length } : { length, node: axes.node(length) }))
    tensors.set(name, own)
    walk.give(name, own, integers)
  }
  for (const { name, dims } of graph.inputs) {
    // Older files list initializers among the inputs.
    if (tensors.has(name)) continue
    walk.give(
      name,
      dims?.map((length) => (length === undefined ? {} : { length })),
    )
  }
  for (const node of graph.nodes) {
    const operate = node.nested ? undefined : ownValue(OPERATORS, node.op)
    if (operate) operate(walk, node)
    else unknown(walk, node)
  }
  // Graphs inside of nodes read any value by its name.
  const nested = graph.nodes.find((node) => node.nested)
  if (nested) for (const own of values.values()) stay(own, `${label(nested)} has a graph of its own`)
  for (const { name } of graph.outputs) stay(walk.value(name), `${name} is an output of the graph`)
  return { axes, tensors }
}

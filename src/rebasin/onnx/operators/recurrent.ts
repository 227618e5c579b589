/** LSTM, GRU and RNN layers: all gates of a layer share its units. */
import { type Axis, idsInOrder, type Outer, plain, sliceAxis } from '../../axes/axis.js'
import { tieGates } from '../../axes/blocks.js'
import { contract, join } from '../../axes/join.js'
import type { OnnxNode } from '../graph/model.js'
import { label, type Operator, type Recurrent, stay, unknown, type Walk } from '../value.js'

const GATES: Readonly<Record<string, number>> = { LSTM: 4, GRU: 3, RNN: 1 }

const recurrent: Operator = (walk, node) => {
  const x = walk.value(node.inputs[0])
  const directions = walk.recurrent(node) ?? valuesOf(walk, node)
  const units = directions?.map((direction) => unitsOf(walk, node, direction))
  if (x?.length !== 3 || !directions || !units || units.some((each) => !each) || node.integers.get('layout')?.[0])
    return unknown(walk, node, 'has an unsupported form')
  for (const { input } of directions) contract(walk, x[2]!, input[1]!, label(node))
  for (const name of [node.inputs[5], node.inputs[6]]) {
    const state = name ? walk.value(name)?.at(-1) : undefined
    if (state) for (const own of units) join(walk, own!, state, label(node))
  }
  const [time, batch] = [x[0]!, x[1]!]
  const [direction, hidden] = outputOf(units as readonly Axis[])
  if (!hidden) {
    stay(walk, units as readonly Axis[], `${label(node)} has an unsupported form`)
    for (const name of node.outputs) walk.give(name, walk.told(name))
    return
  }
  walk.give(node.outputs[0], [time, direction, batch, hidden])
  for (const name of node.outputs.slice(1)) walk.give(name, [direction, batch, hidden])
}

/** Ties all places of a unit, and returns the axis of the units. */
function unitsOf(walk: Walk, node: OnnxNode, { input, hidden, biases }: Recurrent): Axis | undefined {
  const units = hidden[1]!
  const rows = [input[0]!, hidden[0]!, ...biases]
  const gates = Object.hasOwn(GATES, node.op) ? GATES[node.op]! : 0
  if (units.length === undefined || rows.some(({ length }) => length !== gates * units.length!)) return undefined
  for (const axis of rows) tieGates(walk, axis, units, gates, label(node))
  return units
}

/** The axes of directions and units in the output. */
function outputOf(units: readonly Axis[]): [Axis, Axis?] {
  if (units.length === 1) return [plain(1), units[0]!]
  const blocks = units.map((each) => idsInOrder(each))
  if (blocks.some((block) => !block)) return [plain(units.length)]
  const outer: Outer = { mark: () => undefined }
  const inner = { dims: [units.length], outers: [outer], blocks: blocks as Int32Array[], each: 1 }
  return [
    { length: units.length, outer },
    { length: units[0]!.length!, inner },
  ]
}

/** From values of the graph, if there is one direction. */
function valuesOf(walk: Walk, node: OnnxNode): readonly Recurrent[] | undefined {
  const [w, r, b] = [1, 2, 3].map((i) => (node.inputs[i] ? walk.value(node.inputs[i]) : undefined))
  if (w?.length !== 3 || r?.length !== 3 || w[0]!.length !== 1 || r[0]!.length !== 1) return undefined
  if (node.inputs[3] && b?.length !== 2) return undefined
  const rows = w[1]!.length ?? 0
  const bias = b?.[1]
  if (bias && bias.length !== 2 * rows) return undefined
  return [
    {
      input: w.slice(1),
      hidden: r.slice(1),
      biases: bias ? [sliceAxis(bias, 0, rows), sliceAxis(bias, rows, rows)] : [],
    },
  ]
}

export const RECURRENT: readonly [string, Operator][] = Object.keys(GATES).map((op) => [op, recurrent])

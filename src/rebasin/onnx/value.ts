/** What operators work with. */

import type { Axis, Value } from '../axes/axis.js'
import { stay, type Tied } from '../axes/ties.js'
import type { OnnxNode } from './graph/model.js'

/** A place of a shape that the graph computes: a number, or the axis that has this length. */
export type Size = number | Axis | undefined

/** The axes of one direction's tensors. Rows are gates times units. */
export interface Recurrent {
  /** [gates × units, inputs] */
  readonly input: readonly Axis[]
  /** [gates × units, units] */
  readonly hidden: readonly Axis[]
  /** [gates × units] each. */
  readonly biases: readonly Axis[]
}

export interface Walk extends Tied {
  readonly value: (name: string | undefined) => Value
  /** The numbers of a small integer value, as far as they are known. */
  readonly sizes: (name: string | undefined) => readonly Size[] | undefined
  /** The same, if all of them are numbers. */
  readonly numbers: (name: string | undefined) => readonly number[] | undefined
  readonly give: (name: string | undefined, value: Value, sizes?: readonly Size[]) => void
  /** The axes of tensors that an export folded into the output channels of a node, such as those of a BatchNorm. */
  readonly folded: (node: OnnxNode) => readonly Axis[]
  /** The tensors of a recurrent layer by direction, if an export has them in another form. */
  readonly recurrent: (node: OnnxNode) => readonly Recurrent[] | undefined
  /** A value of which only the file tells the axes. All of them keep their order. */
  readonly told: (name: string) => Value
}

export type { Value }
export { stay }
export type Operator = (walk: Walk, node: OnnxNode) => void

/** An operator that is not known: its inputs keep their order, and so do its outputs. */
export function unknown(walk: Walk, node: OnnxNode, why = 'is not supported'): void {
  for (const name of node.inputs) stay(walk, walk.value(name), `${label(node)} ${why}`)
  for (const name of node.outputs) walk.give(name, walk.told(name))
}

export const label = ({ name, op }: OnnxNode): string => (name === '' ? op : `${op} (${name})`)

/** An attribute of one integer. */
export const integer = (node: OnnxNode, name: string, otherwise: number): number =>
  node.integers.get(name)?.[0] ?? otherwise

/** An axis as counted from the front. */
export const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

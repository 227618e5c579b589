/** What operators are told by, and what they act on. */
import type { Axes, Axis } from './axes.js'
import type { OnnxNode } from './model.js'

/** A value: its axes, or nothing where even their number is unknown (all of them keep their order then). */
export type Value = readonly Axis[] | undefined
/** A place of a shape that the graph computes: a number, or the axis whose length it is. */
export type Size = number | Axis | undefined

export interface Walk extends Axes {
  readonly value: (name: string | undefined) => Value
  readonly sizes: (name: string | undefined) => readonly Size[] | undefined
  readonly numbers: (name: string | undefined) => readonly number[] | undefined
  readonly give: (name: string | undefined, value: Value, sizes?: readonly Size[]) => void
  /** Ties two axes; an axis without node freezes the other. Gives the axis of both. */
  readonly join: (x: Axis, y: Axis, where: string) => Axis
  /** A value of which only the file tells the axes, all of them in their order. */
  readonly told: (name: string) => Value
  readonly stay: (value: Value, reason: string) => void
}

export type Operator = (walk: Walk, node: OnnxNode) => void

/** An operator that is not known: its inputs keep their order, and with them its outputs. */
export function unknown(walk: Walk, node: OnnxNode, why = 'is not supported'): void {
  for (const name of node.inputs) walk.stay(walk.value(name), `${label(node)} ${why}`)
  for (const name of node.outputs) walk.give(name, walk.told(name))
}

export const label = ({ name, op }: OnnxNode): string => (name === '' ? op : `${op} (${name})`)

/** An attribute of one integer. */
export const integer = (node: OnnxNode, name: string, otherwise: number): number =>
  node.integers.get(name)?.[0] ?? otherwise

/** An axis as counted from the front. */
export const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

/** Expressions of a mixture's tensors. */
import { elements } from '../../core/dtypes.js'
import { randomStream } from '../../core/random.js'
import type { ConstantExpr, Expr, MergeExpr, ReadExpr } from '../../expr/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import { type NoiseBlock, noiseOf } from '../../methods/noise.js'
import { dtypeOf } from '../../views/shape.js'
import { isDecoded } from '../../views/stored.js'
import type { View } from '../../views/types.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import type { Part } from './architectures.js'
import type { Dense } from './network.js'
import type { Expert, Join } from './types.js'

/** Collects what an analysis has to put together. */
export interface Joins {
  readonly step: string
  readonly list: Join[]
}

/** One expert of a mixture: its MLPs, and how its matrices change. */
export interface ExpertWeights {
  readonly expert: Expert
  readonly dense: Dense
  /** Tells its noise apart: `expert 0`. */
  readonly who: string
}

export interface Making {
  readonly step: string
  readonly seed: number
  readonly compute: 'float32' | 'float64'
  /** The base, which gives dtypes. */
  readonly base: Dense
}

/** A factor in the type of the arithmetic, as products round it. */
const rounded = ({ compute }: Making, factor: number): number => (compute === 'float64' ? factor : Math.fround(factor))

const blockOf = (making: Making, { expert, who }: ExpertWeights, layer: number, part: Part): NoiseBlock => ({
  stream: randomStream(making.seed, who, `layers.${layer}.mlp.${part}`),
  size: expert.noise,
  factor: part === 'down_proj' ? rounded(making, expert.scale) : 1,
})

const isPlain = ({ size, factor }: NoiseBlock): boolean => size === 0 && factor === 1

const merged = (
  step: string,
  how: Pick<MergeExpr, 'method' | 'parameters'>,
  models: readonly string[],
  input: Expr,
): MergeExpr => ({ kind: 'merge', step, ...how, models, weights: [1], inputs: [input] })

/** One matrix of one expert. */
export function expertTensor(making: Making, own: ExpertWeights, layer: number, part: Part): ValueTensor {
  const { shape, expr } = own.dense.of(layer, part)
  const { dtype } = making.base.of(layer, part)
  const block = blockOf(making, own, layer, part)
  if (isPlain(block)) return { dtype, shape, expr, ...(expr.kind === 'read' ? { reason: 'expert' as const } : {}) }
  const how =
    block.size === 0
      ? { method: 'passthrough', parameters: { scale: block.factor } }
      : noiseOf(elements(shape), false, [block])
  return { dtype, shape, expr: merged(making.step, how, [own.expert.model], expr) }
}

/** All experts' matrices of some parts in one tensor: [experts, rows, columns]. */
export function fusedTensor(
  making: Making,
  experts: readonly ExpertWeights[],
  layer: number,
  parts: readonly Part[],
  name: string,
  joins: Joins,
): ValueTensor {
  const all = experts.flatMap((own) =>
    parts.map((part) => ({ tensor: own.dense.of(layer, part), block: blockOf(making, own, layer, part), own, part })),
  )
  const { dtype } = making.base.of(layer, parts[0]!)
  const [rows = 0, columns = 0] = all[0]!.tensor.shape
  const shape = [experts.length, rows * parts.length, columns]
  const reads = all.flatMap(({ tensor: { expr } }) => (expr.kind === 'read' ? [expr] : []))
  if (reads.length < all.length || new Set(reads.map(({ view }) => kindOfRead(view))).size > 1) {
    const made = all.map(({ own, part }) => expertTensor(making, own, layer, part))
    return joined(joins, name, dtype, shape, made)
  }
  const expr: ReadExpr = { kind: 'read', view: reshaped(concatenated(reads.map(({ view }) => view)), shape) }
  const blocks = all.map(({ block }) => block)
  if (blocks.every(isPlain)) return { dtype, shape, expr, reason: 'expert' }
  const how = noiseOf(rows * columns, false, blocks)
  return { dtype, shape, expr: merged(making.step, how, [...new Set(experts.map(({ expert }) => expert.model))], expr) }
}

/** Only parts of one kind are read in one view. */
const kindOfRead = (view: View) => (isDecoded(view) ? 'decoded' : dtypeOf(view))

export const concatenated = (parts: readonly View[]): View =>
  parts.length === 1 ? parts[0]! : { kind: 'concat', axis: 0, parts }
export const reshaped = (of: View, shape: readonly number[]): View => ({ kind: 'reshape', of, shape })

/** A tensor that an analysis puts together from its parts, in float32. */
export function joined(
  joins: Joins,
  name: string,
  dtype: ValueTensor['dtype'],
  shape: readonly number[],
  parts: readonly ValueTensor[],
): ValueTensor {
  joins.list.push({ tensor: name, parts: parts.map((part, at) => analysisTensor(`${name}[${at}]`, part)) })
  const inputs = parts.map(({ expr }) => expr)
  return { dtype, shape, expr: { kind: 'computed', step: joins.step, tensor: name, shape, inputs } }
}

export const FUSED: readonly (readonly [name: string, parts: readonly Part[]])[] = [
  ['experts.gate_up_proj', ['gate_proj', 'up_proj']],
  ['experts.down_proj', ['down_proj']],
]

export const constantOf = (step: string, shape: readonly number[]): ConstantExpr => ({
  kind: 'constant',
  step,
  value: 0,
  shape,
})

/** Biases of q, k and v that a model lacks: zeros. Whether it lacked any. */
export function addBiases(
  step: string,
  prefix: string,
  layers: number,
  like: Value,
  tensors: Map<string, ValueTensor>,
): boolean {
  const names = Array.from({ length: layers }, (_, layer) =>
    ['q', 'k', 'v'].map((part) => `${prefix}.${layer}.self_attn.${part}_proj`),
  ).flat()
  const lacking = names.filter((name) => like.tensors.has(`${name}.weight`) && !tensors.has(`${name}.bias`))
  for (const name of lacking) {
    const { dtype, shape } = like.tensors.get(`${name}.weight`)!
    const rows = shape.slice(0, 1)
    tensors.set(`${name}.bias`, { dtype, shape: rows, expr: constantOf(step, rows) })
  }
  return lacking.length > 0
}

/** Random rows. `who`: whose they are, in a layer. */
export function randomRows(
  making: Making,
  uniform: boolean,
  layer: number,
  who: string,
  shape: readonly number[],
): Expr {
  const stream = randomStream(making.seed, who, `layers.${layer}`)
  const size = uniform ? Math.sqrt(1 / shape[1]!) : 1
  const how = noiseOf(elements(shape), uniform, [{ stream, size, factor: 1 }])
  return merged(making.step, how, [], constantOf(making.step, shape))
}

/** Computes the repaired statistics of a model's BatchNorms. */
import { fault } from '../../core/diagnostics.js'
import { elements } from '../../core/dtypes.js'
import type { AnalysisTensor } from '../../expr/types.js'
import { correlatedVariance } from '../../rebasin/repair.js'
import type { AnalysisCost, Found, Workshop } from '../analysis.js'
import type { RepairAnalysis, RepairRecord } from './types.js'

export async function findVariances(
  { steps, norms, left, points, measured }: RepairAnalysis,
  { reader }: Workshop,
): Promise<ReadonlyMap<string, Found<RepairRecord>>> {
  const read = (tensors: readonly AnalysisTensor[]) => Promise.all(tensors.map((one) => reader.read(one)))
  const arrays = steps.map((): [string, Float32Array][] => [])
  for (const { tensor, weights, variances, filters } of norms) {
    const [own, feeding] = [await read(variances), await read(filters)]
    for (const [index, found] of arrays.entries())
      found.push([tensor, correlatedVariance(own, feeding, points?.[index] ?? weights)])
  }
  for (const { tensor, statistics } of measured ?? [])
    for (const [index, found] of arrays.entries())
      found.push([tensor, checked(tensor, await reader.read(statistics[index]!))])
  const sizes = [
    ...norms.map(({ tensor, variances }) => [tensor, variances[0]!] as const),
    ...(measured ?? []).map(({ tensor, statistics }) => [tensor, statistics[0]!] as const),
  ]
  const record: RepairRecord = {
    batch_norm: measured ? 'statistics' : 'correlation',
    repaired: Object.fromEntries(sizes.map(([tensor, { shape }]) => [tensor, { channels: shape[0] ?? 1 }])),
    ...(Object.keys(left).length > 0 ? { kept: left } : {}),
  }
  return new Map(steps.map((step, index) => [step, { record, arrays: Object.fromEntries(arrays[index]!) }]))
}

/** Error: `bad-statistics` for what no measurement gives. */
function checked(tensor: string, values: Float32Array): Float32Array {
  const what = values.some((value) => !Number.isFinite(value))
    ? 'values that are not finite'
    : tensor.endsWith('var') && values.some((value) => value < 0)
      ? 'negative values'
      : undefined
  if (what === undefined) return values.slice()
  throw fault('bad-statistics', `the measured ${tensor} has ${what}`, 'measure the statistics of the BatchNorms again')
}

export function repairCost({ steps, norms, measured = [] }: RepairAnalysis): AnalysisCost {
  const sizes = [
    ...norms.map(({ variances, filters }) =>
      [...variances, ...filters].reduce((sum, { shape }) => sum + elements(shape), 0),
    ),
    ...measured.map(({ statistics }) => elements(statistics[0]!.shape)),
  ]
  return {
    steps,
    bytes: 4 * sizes.reduce((most, size) => Math.max(most, size), 0),
    multiplications: steps.length * sizes.reduce((sum, size) => sum + size, 0),
  }
}

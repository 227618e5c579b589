/** Computes the repaired variances of a model's BatchNorms. */
import { elements } from '../../core/dtypes.js'
import type { AnalysisTensor } from '../../expr/types.js'
import { correlatedVariance } from '../../rebasin/repair.js'
import type { AnalysisCost, Found, Workshop } from '../analysis.js'
import type { RepairAnalysis, RepairRecord } from './types.js'

export async function findVariances(
  { steps, norms, left }: RepairAnalysis,
  { reader }: Workshop,
): Promise<ReadonlyMap<string, Found<RepairRecord>>> {
  const read = (tensors: readonly AnalysisTensor[]) => Promise.all(tensors.map((one) => reader.read(one)))
  const arrays: [string, Float32Array][] = []
  for (const { tensor, weights, variances, filters } of norms) {
    const [own, feeding] = [await read(variances), await read(filters)]
    arrays.push([tensor, correlatedVariance(own, feeding, weights)])
  }
  const channels = norms.map(({ tensor, variances }) => [tensor, { channels: variances[0]!.shape[0] ?? 1 }] as const)
  const record: RepairRecord = {
    batch_norm: 'correlation',
    repaired: Object.fromEntries(channels),
    ...(Object.keys(left).length > 0 ? { kept: left } : {}),
  }
  return new Map(steps.map((step) => [step, { record, arrays: Object.fromEntries(arrays) }]))
}

export function repairCost({ steps, norms }: RepairAnalysis): AnalysisCost {
  const sizes = norms.map(({ variances, filters }) =>
    [...variances, ...filters].reduce((sum, { shape }) => sum + elements(shape), 0),
  )
  return {
    steps,
    bytes: 4 * sizes.reduce((most, size) => Math.max(most, size), 0),
    multiplications: sizes.reduce((sum, size) => sum + size, 0),
  }
}

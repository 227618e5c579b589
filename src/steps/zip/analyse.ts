/** Runs a zip, and makes its tensors. */
import { recordOf } from '../../core/collections/ownValue.js'
import { elements } from '../../core/dtypes.js'
import type { AnalysisModel } from '../../expr/types.js'
import { assignBytes } from '../../kernels/linalg.js'
import { standardized } from '../../rebasin/activations/standard.js'
import { createWeights, type Weights, type WeightsBudget } from '../../rebasin/weights.js'
import { firstUnit, unitsOf, type ZipNetwork } from '../../rebasin/zip/network.js'
import { activationSimilarities } from '../../rebasin/zip/similarities.js'
import { leastSquares } from '../../rebasin/zip/unmerge.js'
import { mergedGroups, type ZipResult, zipByActivations, zipByWeights, zippedTensor } from '../../rebasin/zip/zip.js'
import type { AnalysisCost, AnalysisProgress, Found, FoundArrays, Workshop } from '../analysis.js'
import { sourceOf } from '../rebasin/measured/source.js'
import { digestOf } from '../rebasin/record.js'
import { measurements, networkOf, specsOf } from './network.js'
import type { ZipAnalysis, ZippedGroup, ZipRecord } from './types.js'

/** Names of arrays: units of a group, and U of a layer and a model. */
const unitsKey = (group: string) => `units/${group}`
const fitKey = (tensor: string, model: number) => `fit/${model}/${tensor}`

const most = (numbers: readonly number[]): number => numbers.reduce((top, n) => Math.max(top, n), 0)
const largest = ({ tensors }: AnalysisModel): number => most(tensors.map(({ shape }) => elements(shape)))

/** Each model keeps its largest tensor; with more memory, more of them. */
const budgetOf = ({ models, activations = [] }: ZipAnalysis, spare: number): WeightsBudget => {
  const least = 4 * most([...models, ...activations].map(largest))
  return { kept: least + Math.floor(spare / models.length), part: 2 ** 23 }
}

export async function findZip(
  analysis: ZipAnalysis,
  { reader, team, spare }: Workshop,
  tell: (progress: AnalysisProgress) => void,
): Promise<ReadonlyMap<string, Found<ZipRecord>>> {
  const network = networkOf(analysis, reader)
  const budget = budgetOf(analysis, spare)
  const [step] = analysis.steps as [string]
  const share = Object.keys(analysis.fits).length > 0 ? 0.5 : 1
  const options = {
    ...analysis,
    onProgress: ({ sweep, group, fraction }: { sweep: number; group: string; fraction: number }) =>
      tell({ step, text: `sweep ${sweep}, group ${group}`, fraction: Math.min(0.99, fraction * share) }),
  }
  const files = analysis.activations?.map((model) => ({ of: model.name, source: sourceOf(model, reader) }))
  const raw = files?.map(({ source }) => createWeights(source, budget))
  let result: ZipResult
  if (files) {
    const runs = measurements(analysis)
    const names = runs.map(({ tensor }) => tensor)
    const standard: Weights[] = []
    for (const { of, source } of files)
      standard.push(createWeights((await standardized(source, names, of, team, budget)).source, budget))
    result = await zipByActivations(
      network,
      (_, group) => activationSimilarities(network, group, runs, standard, team),
      team,
      options,
    )
  } else result = await zipByWeights(network, team, options, budget)
  const arrays: Record<string, Int32Array | Float32Array> = {}
  for (const [group, units] of Object.entries(result.assigned)) arrays[unitsKey(group)] = units
  const fitted: string[] = []
  for (const [tensor, input] of Object.entries(analysis.fits)) {
    const run = measurements(analysis).find((one) => one.tensor === input)!
    const found = await leastSquares(network, result.assigned[run.group]!, run, raw!, team)
    if (!found) continue
    fitted.push(tensor)
    for (const [model, matrix] of found.entries()) arrays[fitKey(tensor, model)] = matrix
    tell({
      step,
      text: `least squares: ${tensor}`,
      fraction: 0.5 + (0.49 * fitted.length) / Object.keys(analysis.fits).length,
    })
  }
  const record = recordFor(analysis, network, result, fitted)
  tell({ step, text: summary(record), fraction: 1 })
  return new Map([[step, { record, arrays: recordOf(Object.entries(arrays)) }]])
}

function recordFor(
  analysis: ZipAnalysis,
  network: ZipNetwork,
  result: ZipResult,
  fitted: readonly string[],
): ZipRecord {
  const { method, penalty, within, family, heads, kept, activations } = analysis
  const groups = mergedGroups(network).map((group): readonly [string, ZippedGroup] => {
    const own = network.groups[group]!
    const units = result.assigned[group]!
    return [
      group,
      {
        ...{ sizes: own.sizes, width: own.width, treatment: own.treatment, shared: sharedUnits(network, group, units) },
        ...{ similarity: result.likeness[group]!, units: digestOf(units) },
      },
    ]
  })
  return {
    ...{ method, penalty, within, family, by: activations ? 'activations' : 'weights', sweeps: result.sweeps },
    ...{ groups: recordOf(groups), fitted, heads },
    ...(Object.keys(kept).length > 0 ? { kept } : {}),
  }
}

/** Units of the result that several models have. */
function sharedUnits(network: ZipNetwork, group: string, units: Int32Array): number {
  const own = network.groups[group]!
  const models = Array.from({ length: own.width }, () => new Set<number>())
  for (const model of own.sizes.keys())
    for (let i = firstUnit(own, model); i < firstUnit(own, model + 1); i++) models[units[i]!]!.add(model)
  return models.filter(({ size }) => size > 1).length
}

/** In words: how many groups and units. */
export function summary({ groups }: ZipRecord): string {
  const all = Object.values(groups)
  const sum = (of: (group: ZippedGroup) => number) => all.reduce((total, group) => total + of(group), 0)
  const before = sum(({ sizes }) => sizes.reduce((total, size) => total + size, 0))
  return `${before} units → ${sum(({ width }) => width)}, ${sum(({ shared }) => shared)} of them shared by models`
}

export async function madeTensor(
  analysis: ZipAnalysis,
  found: FoundArrays,
  { tensor }: { readonly step: string; readonly tensor: string },
  { reader, team }: Workshop,
): Promise<Float32Array> {
  const network = networkOf(analysis, reader)
  const assigned = recordOf(
    mergedGroups(network).map((group) => [group, found[unitsKey(group)] as Int32Array] as const),
  )
  // One tensor at a time.
  const weights = network.models.map((model) => createWeights(model, { kept: 0, part: 2 ** 23 }))
  return zippedTensor(
    network,
    assigned,
    tensor,
    weights,
    (name, model) => found[fitKey(name, model)] as Float32Array | undefined,
    team,
  )
}

/** Memory: the similarities of the largest group twice, one tensor of each model, and the result. */
export function zipCost(analysis: ZipAnalysis): AnalysisCost {
  const { steps, models, activations = [], fits, groups } = analysis
  const all = Object.values(groups).filter(({ treatment }) => treatment !== 'keep')
  const units = most(all.map(unitsOf))
  const fit = Object.keys(fits).length > 0 ? most(all.map(({ width }) => width)) : 0
  const tensors = models.length * most(models.map(largest))
  const measured = activations.length * (most(activations.map(largest)) + 2 ** 21)
  const shapes = new Map(models[0]!.tensors.map((tensor) => [tensor.name, elements(tensor.shape)]))
  const work = specsOf(analysis)[0]!.parts.reduce(
    (sum, { tensor, length }) => sum + shapes.get(tensor)! * length * models.length ** 2,
    0,
  )
  return {
    steps,
    bytes:
      4 * (2 * units * units + 6 * tensors + measured + 4 * fit * fit + 2 * fit * units) +
      assignBytes(most(all.flatMap(({ sizes }) => sizes))),
    multiplications: work + fit ** 3,
  }
}

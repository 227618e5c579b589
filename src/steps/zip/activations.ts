/** Plans the use of activations of all models. */
import { plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { AnalysisModel } from '../../expr/types.js'
import type { Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { MeasuredFile, RecipeHead } from '../../language/types.js'
import { moduleOf } from '../../networks/modules.js'
import { measuredSpec } from '../../rebasin/activations/names.js'
import type { Spec } from '../../rebasin/spec.js'
import { partsAt, runOf, type ZipNetwork } from '../../rebasin/zip/network.js'
import { measurementsOf } from '../../rebasin/zip/similarities.js'
import { fittedAxis } from '../../rebasin/zip/zip.js'
import {
  LEAST_SAMPLES,
  lackingTensor,
  notNumbers,
  RECORD_ROWS,
  refuser,
  tooFew,
  unfitting,
  warnForeign,
} from '../shared/activationFaults.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import type { ZipAnalysis, ZipStep } from './types.js'

type Network = Omit<ZipNetwork, 'models'>
type Result = Pick<ZipAnalysis, 'fits'> & { readonly activations?: readonly AnalysisModel[] }

/**
 * Errors: `missing-statistics` for a group or, with least squares, a layer without activations; `bad-statistics` for tensors of
 * another shape or number of samples. Warning: `foreign-statistics`.
 */
export function planZipActivations(
  recipe: RecipeHead,
  step: ZipStep,
  network: Network,
  values: ReadonlyMap<string, Value>,
  faults: Faults,
): Result | undefined {
  const { statistics: files } = step
  if (!files) return { fits: {} }
  const own = files.map(({ file }) => values.get(file)!)
  const measured = own.map(({ tensors }, model) => measuredSpec(network.specs[model]!, tensors))
  const refuse = refuser(recipe, faults, undefined)
  for (const [model, { wrong, missing, foreign }] of measured.entries()) {
    const file = files[model]!
    if (wrong[0]) return refuse('bad-statistics', file, unfitting(file, wrong[0]), RECORD_ROWS)
    const lacks = missing.find((group) => network.groups[group] && network.groups[group]!.treatment !== 'keep')
    if (lacks !== undefined)
      return refuse(
        'missing-statistics',
        file,
        `the activations of ${file.of} have no tensor for the group ${lacks}`,
        'record the output of a layer of each group that terge inspect MODEL --spec lists, or give the group the width keep',
      )
    warnForeign(recipe, file, foreign, faults)
  }
  const names = measurementsOf(network, measured[0]!.spec).map(({ tensor }) => tensor)
  for (const [model, { tensors }] of own.entries()) {
    const problem = misfit(names, files, own[0]!, tensors, model)
    if (problem) return refuse('bad-statistics', files[model]!, problem, 'record all models on the same inputs')
  }
  const fits = step.unmerge === 'copy' ? {} : fitsOf(network, measured[0]!.spec)
  if (step.unmerge === 'least-squares') {
    const lacking = readers(network).find((tensor) => !Object.hasOwn(fits, tensor))
    if (lacking !== undefined)
      return refuse(
        'missing-statistics',
        files[0]!,
        `the activations of ${files[0]!.of} do not have what ${lacking} reads`,
        `record the input of the layer as GROUP@${moduleOf(lacking).module}.in, or use unmerge: auto`,
      )
  }
  return {
    fits,
    activations: own.map(({ tensors }, model) => ({
      name: files[model]!.of,
      tensors: names.map((name) => analysisTensor(name, tensors.get(name)!)),
    })),
  }
}

function misfit(
  names: readonly string[],
  files: readonly MeasuredFile[],
  first: Value,
  tensors: Value['tensors'],
  model: number,
): string | undefined {
  const [file, other] = [files[model]!, files[0]!]
  for (const name of names) {
    const [expected, found] = [first.tensors.get(name)!, tensors.get(name)]
    if (!found) return lackingTensor(name, file, other)
    if (!isFloat(found.dtype)) return notNumbers(name, found.dtype)
    if (found.shape[0] !== expected.shape[0])
      return `${name} has ${plural(expected.shape[0]!, 'sample')} for ${other.of} but ${found.shape[0]} for ${file.of}`
    if (found.shape[0]! < LEAST_SAMPLES) return tooFew(name, found.shape[0]!)
  }
  return undefined
}

/** Weights whose inputs are zipped units. */
function readers(network: Network): string[] {
  const tensors = [...new Set(network.specs[0]!.parts.map(({ tensor }) => tensor))]
  return tensors.filter((tensor) => readGroup(network, tensor) !== undefined)
}

/** The run of units that a layer reads. */
function readGroup(network: Network, tensor: string) {
  const axis = fittedAxis(network, tensor)
  if (axis === undefined || moduleOf(tensor).part !== 'weight') return undefined
  const run = runOf(network, partsAt(network.specs[0]!, tensor, axis)[0]!)!
  return network.groups[run.group]!.treatment === 'zip' ? run : undefined
}

/** By layer: the tensor with its inputs, which has the label MODULE.in. */
function fitsOf(network: Network, measured: Spec): Record<string, string> {
  const inputs = new Map(
    measurementsOf(network, measured).map((one) => [one.tensor.slice(one.tensor.lastIndexOf('@') + 1), one] as const),
  )
  return Object.fromEntries(
    readers(network).flatMap((tensor) => {
      const run = readGroup(network, tensor)!
      const found = inputs.get(`${moduleOf(tensor).module}.in`)
      const same = found && found.group === run.group && found.before === run.before && found.after === run.after
      return same ? [[tensor, found.tensor] as const] : []
    }),
  )
}

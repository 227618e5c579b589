/** The networks of an analysis, as zipping reads them. */
import type { AnalysisModel } from '../../expr/types.js'
import { measuredSpec } from '../../rebasin/activations/names.js'
import { readSpec, type Shapes, type Spec, writeSpec } from '../../rebasin/spec.js'
import type { ZipNetwork } from '../../rebasin/zip/network.js'
import { resizedSpec } from '../../rebasin/zip/resized.js'
import { type Measurement, measurementsOf } from '../../rebasin/zip/similarities.js'
import type { TensorReader } from '../analysis.js'
import { sourceOf } from '../rebasin/measured/source.js'
import type { ZipAnalysis } from './types.js'

const shapesOf = ({ tensors }: AnalysisModel): Shapes => new Map(tensors.map((tensor) => [tensor.name, tensor]))

const known = new WeakMap<ZipAnalysis, readonly Spec[]>()

/** By model. */
export function specsOf(analysis: ZipAnalysis): readonly Spec[] {
  const found =
    known.get(analysis) ??
    allSpecs(readSpec(analysis.spec, shapesOf(analysis.models[0]!)), analysis.models.map(shapesOf))
  known.set(analysis, found)
  return found
}

/** The spec of the first network, and the same for the others. Error: `spec-misfit`. */
export function allSpecs(first: Spec, shapes: readonly Shapes[]): readonly Spec[] {
  const text = writeSpec(first, shapes[0]!)
  return [first, ...shapes.slice(1).map((own) => resizedSpec(text, own))]
}

export const networkOf = (analysis: ZipAnalysis, reader: TensorReader): ZipNetwork => ({
  models: analysis.models.map((model) => sourceOf(model, reader)),
  specs: specsOf(analysis),
  groups: analysis.groups,
  outAxes: analysis.outAxes,
  heads: new Set(analysis.heads),
})

/** What the activations files of all models measure. Their runs are the same. */
export const measurements = (analysis: ZipAnalysis): Measurement[] =>
  measurementsOf(analysis, measuredSpec(specsOf(analysis)[0]!, shapesOf(analysis.activations![0]!)).spec)

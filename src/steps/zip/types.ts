import type { AnalysisModel } from '../../expr/types.js'
import type { LocatedPattern, MeasuredFile, Path, StepCommon } from '../../language/types.js'
import type { SpecText } from '../../rebasin/spec.js'
import type { ZipGroup } from '../../rebasin/zip/network.js'
import type { ZipMethod } from '../../rebasin/zip/zip.js'
import type { AnalysisCommon } from '../analysis.js'
import type { RebasinStep } from '../rebasin/types.js'

/** The width of a group in the result: a number of units, a share of the larger model, or a word. */
export type Width = number | { readonly percent: number } | 'larger' | 'smaller' | 'sum' | 'keep'

export interface WidthRule {
  /** Groups that it applies to. Absent: all. */
  readonly match?: LocatedPattern
  readonly width: Width
  readonly at: Path
}

/** What layers read: copies of merged units, or their best combinations. `auto`: the latter where activations are known. */
export type UnmergeMode = 'auto' | 'copy' | 'least-squares'

export interface ZipStep extends StepCommon {
  readonly kind: 'zip'
  readonly models: readonly string[]
  /** The first rule that fits a group decides. Without one: the larger size. */
  readonly widths: readonly WidthRule[]
  readonly method: ZipMethod
  readonly penalty: number
  readonly within: number
  readonly unmerge: UnmergeMode
  readonly heads: readonly LocatedPattern[]
  readonly spec: RebasinStep['spec']
  /** Activations, by model. */
  readonly statistics?: readonly MeasuredFile[]
}

/** Finds which units of several models become one. */
export interface ZipAnalysis extends AnalysisCommon {
  readonly kind: 'zip'
  readonly method: ZipMethod
  readonly penalty: number
  readonly within: number
  readonly family: string
  /** Of the first model. Those of the others have the same parts. */
  readonly spec: SpecText
  readonly groups: Readonly<Record<string, ZipGroup>>
  readonly outAxes: Readonly<Record<string, number>>
  readonly heads: readonly string[]
  readonly models: readonly AnalysisModel[]
  readonly activations?: readonly AnalysisModel[]
  /** By weight of a layer, the activations that it reads, for least squares. */
  readonly fits: Readonly<Record<string, string>>
  /** Groups that are not zipped, with reasons. */
  readonly kept: Readonly<Record<string, string>>
}

export interface ZippedGroup {
  readonly sizes: readonly number[]
  readonly width: number
  readonly treatment: ZipGroup['treatment']
  /** Units of the result that units of several models became. */
  readonly shared: number
  /** Mean similarity of the units that became one. */
  readonly similarity: number
  /** SHA-256 of the new unit of each unit of all models, as 32-bit little-endian integers. */
  readonly units: string
}

/** The record of a zip in the lineage. */
export interface ZipRecord {
  readonly method: ZipMethod
  readonly penalty: number
  readonly within: number
  readonly family: string
  readonly by: 'weights' | 'activations'
  readonly sweeps: number
  readonly groups: Readonly<Record<string, ZippedGroup>>
  /** Layers whose inputs were fitted by least squares. */
  readonly fitted: readonly string[]
  readonly heads: readonly string[]
  readonly kept?: Readonly<Record<string, string>>
}

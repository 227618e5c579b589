import type { ExtractStep } from './extract/types.js'
import type { InterpolateStep } from './interpolate/types.js'
import type { MergeStep } from './merge/types.js'
import type { RebasinAnalysis, RebasinStep } from './rebasin/types.js'
import type { RepairAnalysis, RepairStep } from './repair/types.js'
import type { StackStep } from './stack/types.js'

export type Step = MergeStep | RebasinStep | RepairStep | InterpolateStep | StackStep | ExtractStep

/** Work on whole models that comes before any tensor is written; its results are small, and recorded in the lineage. */
export type Analysis = RebasinAnalysis | RepairAnalysis

/** The registry of the kinds of step, in the order of the documentation. */
import type { ExtractRecord, ExtractStep } from './extract/types.js'
import type { InterpolateStep } from './interpolate/types.js'
import type { MergeStep } from './merge/types.js'
import { alignment } from './rebasin/index.js'
import type { RebasinAnalysis, RebasinStep } from './rebasin/types.js'
import { variances } from './repair/index.js'
import type { RepairAnalysis, RepairStep } from './repair/types.js'
import type { StackStep } from './stack/types.js'
import type { AnalysisKind } from './types.js'

export type Step = MergeStep | RebasinStep | RepairStep | InterpolateStep | StackStep | ExtractStep

/** Work on whole models before any tensor is written, as a plan has it. */
export type Analysis = RebasinAnalysis | RepairAnalysis

const ANALYSES = { rebasin: alignment, repair: variances }

type RecordOf<K> = K extends AnalysisKind<infer _, infer R> ? R : never
export type AnalysisRecord = RecordOf<(typeof ANALYSES)[keyof typeof ANALYSES]>

/** What steps leave in the lineage besides what the recipe says of them. */
export type StepRecord = AnalysisRecord | ExtractRecord

/** The one place where a kind is trusted to be that of the analysis that is given to it. */
export const analysisKindOf = ({ kind }: Analysis): AnalysisKind<Analysis, AnalysisRecord> =>
  ANALYSES[kind] as unknown as AnalysisKind<Analysis, AnalysisRecord>

/** The registry of the kinds of step. */
import type { PatternCount } from '../expr/types.js'
import type { AnalysisKind } from './analysis.js'
import { extract } from './extract/index.js'
import { interpolate } from './interpolate/index.js'
import { merge } from './merge/index.js'
import { moe } from './moe/index.js'
import { rebasin } from './rebasin/index.js'
import { repair } from './repair/index.js'
import { stack } from './stack/index.js'
import { transplant } from './transplant/index.js'
import type { Factored, PlanContext, PlannedStep, RecordOf, ShortForm, StepKind } from './types.js'
import { zip } from './zip/index.js'

/** In the order of the documentation. To add a kind, add a line. */
const ALL = [merge, rebasin, repair, interpolate, stack, extract, zip, transplant, moe] as const

type Kind = (typeof ALL)[number]
type Parameters<K> =
  K extends StepKind<infer S, infer A, infer F, infer Said, infer _>
    ? { step: S; analysis: A; found: F; said: Said }
    : never
type InLineage<P> = P extends { step: { kind: infer Kind }; found: infer F; said: infer Said }
  ? { readonly kind: Kind; readonly patterns: readonly PatternCount[] } & RecordOf<F, Said>
  : never

/** A step of a recipe: one of all kinds. */
export type Step = Parameters<Kind>['step']
/** Work on whole models that a step needs before any tensor is written: one of all kinds. */
export type Analysis = Parameters<Kind>['analysis']
/** The findings of analyses, and of the computation of tensors. */
export type FoundRecord = Parameters<Kind>['found']
/** What planning says of a step, for its record. */
export type StepSaid = Parameters<Kind>['said']
/** A step in a lineage. */
export type StepRecord = InLineage<Parameters<Kind>>

/** A kind without its own types: it must only get its own steps and analyses. */
interface AnyKind
  extends Omit<StepKind<Step, Analysis, never, StepRecord>, 'analysis' | 'plan' | 'planLines' | 'says' | 'factored'> {
  readonly plan: (step: Step, context: PlanContext) => PlannedStep<StepSaid>
  readonly planLines?: NonNullable<StepKind<Step, Analysis, never, StepSaid>['planLines']>
  readonly says?: (step: Step) => StepSaid
  readonly factored?: (
    step: string,
    factored: readonly Factored[],
    left: Readonly<Record<string, string>>,
  ) => FoundRecord
  readonly analysis?: AnalysisKind<Analysis, FoundRecord>
}

export const KINDS = ALL as unknown as readonly AnyKind[]

const byName = new Map(KINDS.map((kind) => [kind.kind, kind]))

/** The kind of a step, a draft or an analysis. */
export function kindOf({ kind }: { readonly kind: string }): AnyKind {
  const found = byName.get(kind as Step['kind'])
  if (!found) throw new Error(`internal: no kind of step is called ${kind}`)
  return found
}

export function analysisKindOf(analysis: Analysis): AnalysisKind<Analysis, FoundRecord> {
  const found = kindOf(analysis).analysis
  if (!found) throw new Error(`internal: steps of the kind ${analysis.kind} have no analyses`)
  return found
}

type ShortKind = AnyKind & { readonly short: ShortForm }

/** The kinds that are allowed at the top level of a recipe, in order of execution. */
export const SHORT_KINDS: readonly ShortKind[] = KINDS.filter(
  (kind): kind is ShortKind => kind.short !== undefined,
).sort((a, b) => a.short.order - b.short.order)

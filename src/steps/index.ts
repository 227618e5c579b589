/** The registry of the kinds of step. */
import type { AnalysisKind } from './analysis.js'
import { extract } from './extract/index.js'
import { interpolate } from './interpolate/index.js'
import { merge } from './merge/index.js'
import { rebasin } from './rebasin/index.js'
import { repair } from './repair/index.js'
import { stack } from './stack/index.js'
import type { ShortForm, StepKind } from './types.js'

/** In the order of the documentation. A new kind is a line here. */
const ALL = [merge, rebasin, repair, interpolate, stack, extract] as const

type StepOf<K> = K extends StepKind<infer S, infer _A, infer _R, infer _M> ? S : never
type AnalysisOf<K> = K extends { readonly analysis?: AnalysisKind<infer A, infer _> } ? A : never
type RecordOf<K> = K extends StepKind<infer _S, infer _A, infer R, infer _M> ? R : never

export type Step = StepOf<(typeof ALL)[number]>
export type Analysis = AnalysisOf<(typeof ALL)[number]>
/** What analyses, and the making of tensors, find out of steps. */
export type StepRecord = RecordOf<(typeof ALL)[number]>

/** A kind as others see it: it is only given steps and analyses of its own. */
type AnyKind = StepKind<Step, Analysis, StepRecord>

export const KINDS = ALL as unknown as readonly AnyKind[]

const byName = new Map(KINDS.map((kind) => [kind.kind, kind]))

/** The kind of a step, of a draft, or of an analysis. */
export function kindOf({ kind }: { readonly kind: string }): AnyKind {
  const found = byName.get(kind as Step['kind'])
  if (!found) throw new Error(`internal: no kind of step is called ${kind}`)
  return found
}

export function analysisKindOf(analysis: Analysis): AnalysisKind<Analysis, StepRecord> {
  const found = kindOf(analysis).analysis
  if (!found) throw new Error(`internal: steps of the kind ${analysis.kind} have no analyses`)
  return found
}

type ShortKind = AnyKind & { readonly short: ShortForm }

/** Those that may stand at the root of a recipe, in the order in which they are done. */
export const SHORT_KINDS: readonly ShortKind[] = KINDS.filter(
  (kind): kind is ShortKind => kind.short !== undefined,
).sort((a, b) => a.short.order - b.short.order)

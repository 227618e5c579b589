/** The results of a plan's steps and scopes in records, for the lineage. */
import type { Plan } from '../../plan/types.js'
import type { FoundArrays } from '../../steps/analysis.js'
import { analysisKindOf, type FoundRecord } from '../../steps/index.js'
import { extractionRecords } from '../schedule/factorings.js'
import { arraysFor } from './analyses.js'
import type { RecordBook } from './recordBook.js'
import { scopeResults } from './shared.js'

/** By step. Error: `nothing-to-extract`. */
export function stepRecords(plan: Plan, records: RecordBook): ReadonlyMap<string, FoundRecord> {
  const found = plan.analyses.flatMap((analysis, index) => {
    const steps = records.shared({ kind: 'analysis', index })?.figures.steps ?? []
    return steps.map((record, place): [string, FoundRecord] => {
      const step = analysis.steps[place]!
      return [step, analysisKindOf(analysis).named?.(analysis, step, record) ?? record]
    })
  })
  const extracted = extractionRecords(plan, (index) => records.shared({ kind: 'factoring', index })?.figures.factors)
  return new Map<string, FoundRecord>([...found, ...extracted])
}

/** By scope, the results of its passes. */
export const scopesFound = ({ scopes }: Plan, records: RecordBook): readonly (readonly Float64Array[])[] =>
  scopes.map((_, index) => {
    const record = records.shared({ kind: 'scope', index })
    return record ? scopeResults(record) : []
  })

/** The arrays that an analysis found for a step. */
export function arraysFound({ analyses }: Plan, records: RecordBook, step: string): FoundArrays {
  const index = analyses.findIndex(({ steps }) => steps.some((name) => name === step))
  const record = records.shared({ kind: 'analysis', index })
  if (!record) throw new Error(`internal: step ${step} was not run`)
  return arraysFor(record, analyses[index]!.steps.indexOf(step))
}

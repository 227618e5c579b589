/** The results of a plan's steps and scopes in records, for the lineage. */
import type { Plan } from '../../plan/types.js'
import { analysisKindOf, type FoundRecord } from '../../steps/index.js'
import { extractionRecords } from '../schedule/factorings.js'
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

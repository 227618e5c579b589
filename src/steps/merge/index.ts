/** `merge`: merges several models tensor by tensor with a merge method. */
import type { StepKind } from '../types.js'
import { planAdapterMerge } from './adapters/plan.js'
import { checkDepths } from './depths.js'
import { planMerge } from './plan.js'
import { mergeUses, readMergeStep } from './readStep.js'
import {
  type MergeFound,
  type MergeRecord,
  mergedAdapters,
  mergedLine,
  mergedPlanLines,
  mergeRecord,
  readMergeRecord,
} from './record.js'
import { definitions, merge as schema } from './schema.js'
import { statisticsFiles } from './statistics.js'
import type { MergeStep } from './types.js'

export const merge: StepKind<MergeStep, never, MergeFound, MergeRecord> = {
  kind: 'merge',
  schema,
  definitions,
  short: { order: 2, beside: ['base', 'filters'] },
  read: readMergeStep,
  uses: mergeUses,
  like: ({ base }) => base,
  sharesNames: true,
  files: statisticsFiles,
  patterns: (step) => step,
  takesAdapters: true,
  plan(step, context) {
    const { recipe, values, configOf, scopes, faults, adapters } = context
    if (adapters.has(mergeUses(step)[0]!)) return planAdapterMerge(step, context)
    checkDepths(recipe, step, values, configOf, faults)
    return planMerge(recipe, step, values, configOf(values.get(step.base)!.origin), faults, scopes)
  },
  factored: mergedAdapters,
  says: mergeRecord,
  planLines: ({ name }, { factorings }, left = {}) =>
    mergedPlanLines(
      factorings.filter(({ step }) => step === name),
      left,
    ),
  readRecord: readMergeRecord,
  line: mergedLine,
}

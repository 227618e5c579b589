/** `repair`: corrects the BatchNorm variances of an average. */
import { sharedCopy } from '../../rebasin/team.js'
import type { AnalysisKind } from '../analysis.js'
import type { StepKind } from '../types.js'
import { findVariances, repairCost } from './analyse.js'
import { planRepair } from './plan.js'
import { readRepair } from './read.js'
import { repair as schema } from './schema.js'
import type { RepairAnalysis, RepairRecord, RepairStep } from './types.js'

const analysis: AnalysisKind<RepairAnalysis, RepairRecord> = {
  tensors: ({ norms }) => norms.flatMap(({ variances, filters }) => [...variances, ...filters]),
  cost: repairCost,
  run: findVariances,
  computed: async (_, found, { tensor }) => sharedCopy(found[tensor] as Float32Array),
}

export const repair: StepKind<RepairStep, RepairAnalysis, RepairRecord> = {
  kind: 'repair',
  schema,
  short: { order: 3 },
  read: readRepair,
  uses: ({ model }) => [model],
  like: ({ model }) => model,
  plan: (step, { recipe, values, analyses, faults }) => ({
    value: planRepair(recipe, step, values, analyses, faults),
  }),
  analysis,
}

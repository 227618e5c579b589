/** `repair`: corrects the BatchNorm variances of an average. */
import { sharedCopy } from '../../rebasin/team.js'
import type { AnalysisKind } from '../types.js'
import { findVariances, repairCost } from './analyse.js'
import type { RepairAnalysis, RepairRecord } from './types.js'

export const variances: AnalysisKind<RepairAnalysis, RepairRecord> = {
  tensors: ({ norms }) => norms.flatMap(({ variances, filters }) => [...variances, ...filters]),
  cost: repairCost,
  run: findVariances,
  computed: async (_, found, { tensor }) => sharedCopy(found[tensor] as Float32Array),
}

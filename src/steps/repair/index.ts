/** `repair`: corrects the BatchNorm variances of an average. */
import { list, natural, object, oneOf, record, text } from '../../core/json/shape.js'
import { counted, formatCount } from '../../core/words.js'
import { sharedCopy } from '../../rebasin/team/team.js'
import type { AnalysisKind } from '../analysis.js'
import { staysLines } from '../shared/stays.js'
import type { StepKind, UsesRecord } from '../types.js'
import { findVariances, repairCost } from './analyse.js'
import { planRepair } from './plan.js'
import { readRepair } from './read.js'
import { repair as schema } from './schema.js'
import type { RepairAnalysis, RepairRecord, RepairStep } from './types.js'

const analysis: AnalysisKind<RepairAnalysis, RepairRecord> = {
  tensors: ({ norms }) => norms.flatMap(({ variances, filters }) => [...variances, ...filters]),
  cost: repairCost,
  lines: ({ steps, norms, left }) => ({
    text: `${steps[0]}: ${counted(norms.length, 'BatchNorm')}, running variances by correlation`,
    branches: staysLines(left),
  }),
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
  readRecord: object<RepairRecord & UsesRecord>(
    {
      models: list(text),
      batch_norm: oneOf({ correlation: true }),
      repaired: record(object({ channels: natural })),
      kept: record(text),
    },
    'kept',
  ),
  line(name, { repaired, kept = {} }) {
    const left = Object.keys(kept).length
    const more = left > 0 ? `, ${formatCount(left)} unchanged` : ''
    return `${name}: ${counted(Object.keys(repaired).length, 'norm')} repaired${more}`
  },
}

/** `repair`: corrects the BatchNorm variances of an average. */

import { sharedCopy } from '../../core/collections/sharedArrays.js'
import { list, natural, object, oneOf, record, text } from '../../core/json/shape.js'
import { counted, formatCount } from '../../core/words.js'
import type { AnalysisKind } from '../analysis.js'
import { staysLines, staysNotes } from '../shared/stays.js'
import type { StepKind, UsesRecord } from '../types.js'
import { findVariances, repairCost } from './analyse.js'
import { planRepair } from './plan.js'
import { readRepair } from './read.js'
import { repair as schema } from './schema.js'
import type { RepairAnalysis, RepairRecord, RepairStep } from './types.js'

const namesOf = (steps: readonly string[]): string => (steps.length > 1 ? `${steps[0]} … ${steps.at(-1)}` : steps[0]!)

const analysis: AnalysisKind<RepairAnalysis, RepairRecord> = {
  tensors: ({ norms, measured = [] }) => [
    ...norms.flatMap(({ variances, filters }) => [...variances, ...filters]),
    ...measured.flatMap(({ statistics }) => statistics),
  ],
  cost: repairCost,
  lines: ({ steps, norms, measured, left }) => ({
    text: measured
      ? `${namesOf(steps)}: ${counted(measured.length, 'running statistic')}, measured`
      : `${namesOf(steps)}: ${counted(norms.length, 'BatchNorm')}, running variances by correlation`,
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
  measured: {
    of: ({ batchNorm }) => (batchNorm === 'correlation' ? [] : batchNorm.statistics),
    named: (step, statistics) => ({ ...step, batchNorm: { statistics } }),
  },
  files: ({ batchNorm }) => (batchNorm === 'correlation' ? [] : batchNorm.statistics.map(({ file }) => file)),
  plan: (step, context) => ({ value: planRepair(step, context) }),
  analysis,
  readRecord: object<RepairRecord & UsesRecord>(
    {
      models: list(text),
      batch_norm: oneOf<RepairRecord['batch_norm']>({ correlation: true, statistics: true }),
      repaired: record(object({ channels: natural })),
      kept: record(text),
    },
    'kept',
  ),
  notes: ({ kept }) => staysNotes(kept),
  line(name, { batch_norm, repaired, kept = {} }) {
    const left = Object.keys(kept).length
    const more = left > 0 ? `, ${formatCount(left)} unchanged` : ''
    const count = Object.keys(repaired).length
    return batch_norm === 'statistics'
      ? `${name}: ${counted(count, 'running statistic')} measured`
      : `${name}: ${counted(count, 'norm')} repaired${more}`
  },
}

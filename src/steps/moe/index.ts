/** `moe`: mixtures of experts. */
import { counted } from '../../core/words.js'
import type { AnalysisKind } from '../analysis.js'
import type { StepKind } from '../types.js'
import { analysisTensors, findRouters, madeTensor, moeCost, routerParameters } from './analyse.js'
import { planMoe } from './plan.js'
import { readMoe } from './read.js'
import { cardOf, planLines, readRecord, runNotes, summary, usesOf } from './record.js'
import { moe as schema } from './schema.js'
import type { MoeAnalysis, MoeFound, MoeSaid, MoeStep } from './types.js'

const analysis: AnalysisKind<MoeAnalysis, MoeFound> = {
  tensors: analysisTensors,
  cost: moeCost,
  lines: ({ steps, routers, joins }) => ({
    text: routers
      ? `${steps[0]}: ${counted(routers.tensors.length, 'router')} by ${routers.gate}`
      : `${steps[0]}: ${counted(joins.length, 'tensor')} put together`,
  }),
  parameters: routerParameters,
  run: findRouters,
  computed: madeTensor,
}

export const moe: StepKind<MoeStep, MoeAnalysis, MoeFound, MoeSaid> = {
  kind: 'moe',
  schema,
  read: readMoe,
  uses: usesOf,
  like: (step) => (step.form === 'pool' ? (step.models[0] ?? '') : step.form === 'dense' ? step.model : step.base),
  measured: {
    of: (step) => ('statistics' in step && step.statistics ? [step.statistics] : []),
    named: (step, [statistics]) => ('statistics' in step && statistics ? { ...step, statistics } : step),
  },
  files: (step) => ('statistics' in step && step.statistics ? [step.statistics.file] : []),
  cuts: (step) => ('gate' in step && step.gate === 'embedding' ? step.base : undefined),
  renews: true,
  plan: planMoe,
  analysis,
  readRecord,
  planLines: ({ says }) => planLines(says),
  line: (name, said) => `${name}: ${summary(said)}`,
  notes: runNotes,
  card: cardOf,
}

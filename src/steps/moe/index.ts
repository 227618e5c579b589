/** `moe`: mixtures of experts. */
import { boolean, list, natural, number, object, oneOf, text } from '../../core/json/shape.js'
import { counted } from '../../core/words.js'
import type { AnalysisKind } from '../analysis.js'
import type { StepKind } from '../types.js'
import { analysisTensors, findRouters, madeTensor, moeCost } from './analyse.js'
import { planMoe } from './plan.js'
import { readMoe } from './read.js'
import { moe as schema } from './schema.js'
import {
  type Expert,
  type ExpertRecord,
  expertsOf,
  type MoeAnalysis,
  type MoeFound,
  type MoeSaid,
  type MoeStep,
} from './types.js'

const analysis: AnalysisKind<MoeAnalysis, MoeFound> = {
  tensors: analysisTensors,
  cost: moeCost,
  lines: ({ steps, routers, joins }) => ({
    text: routers
      ? `${steps[0]}: ${counted(routers.tensors.length, 'router')} by ${routers.gate}`
      : `${steps[0]}: ${counted(joins.length, 'tensor')} put together`,
  }),
  run: findRouters,
  computed: madeTensor,
}

const recorded = ({ model, scale, noise, prompts, negative }: Expert): ExpertRecord => ({
  model,
  scale,
  noise,
  prompts,
  negative,
})

const usesOf = (step: MoeStep): readonly string[] => {
  if (step.form === 'pool') return step.models
  if (step.form === 'dense') return [step.model]
  return [...new Set([step.base, ...expertsOf(step).map(({ model }) => model)])]
}

function said(step: MoeStep): MoeSaid {
  const common = { models: [...new Set(usesOf(step))], form: step.form, layout: step.layout }
  if (step.form === 'pool') return common
  if (step.form === 'dense') return { ...common, ...(step.weights ? { weights: step.weights.values } : {}) }
  const { architecture, gate, seed, experts, shared } = step
  return {
    ...common,
    gate,
    ...(architecture ? { architecture } : {}),
    ...(seed === undefined ? {} : { seed }),
    experts: [...experts.map(recorded), ...(shared ? [{ ...recorded(shared), shared: true }] : [])],
  }
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
  plan: planMoe,
  analysis,
  says: said,
  readRecord: object<MoeSaid & MoeFound>(
    {
      models: list(text),
      form: oneOf<MoeSaid['form']>({ experts: true, upcycle: true, pool: true, dense: true }),
      architecture: text,
      gate: oneOf<NonNullable<MoeSaid['gate']>>({
        random: true,
        uniform_random: true,
        embedding: true,
        statistics: true,
      }),
      seed: natural,
      layout: oneOf<MoeSaid['layout']>({ parts: true, fused: true }),
      experts: list(
        object<ExpertRecord>(
          {
            ...{ model: text, scale: number, noise: number, prompts: list(text), negative: list(text) },
            shared: boolean,
          },
          'shared',
        ),
      ),
      weights: list(number),
      tokens: list(natural),
    },
    'architecture',
    'gate',
    'seed',
    'experts',
    'weights',
    'tokens',
  ),
  line(name, { form, experts = [], models }) {
    if (form === 'pool') return `${name}: the experts of ${counted(models.length, 'mixture')} in one`
    if (form === 'dense') return `${name}: experts merged into a dense model`
    return `${name}: ${counted(experts.filter(({ shared }) => !shared).length, 'expert')}${experts.some(({ shared }) => shared) ? ' and a shared one' : ''}`
  },
}

/** What plans, lineages and cards say of mixtures. */
import { boolean, list, natural, number, object, oneOf, text } from '../../core/json/shape.js'
import { allOf, counted } from '../../core/words.js'
import type { Lines } from '../analysis.js'
import {
  type Expert,
  type ExpertRecord,
  expertsOf,
  type Gate,
  type MixStep,
  type MoeFound,
  type MoeSaid,
  type MoeStep,
  type SharedExpert,
} from './types.js'

const recorded = ({ model, scale, noise, prompts, negative }: Expert): ExpertRecord => ({
  ...{ model, scale, noise, prompts, negative },
})

const recordedShared = (shared: SharedExpert): ExpertRecord => ({
  ...recorded(shared),
  shared: true,
  ...(shared.zeroGate ? { zero_gate: true } : {}),
})

export const usesOf = (step: MoeStep): readonly string[] => {
  if (step.form === 'pool') return step.models
  if (step.form === 'dense') return [step.model]
  return [...new Set([step.base, ...expertsOf(step).map(({ model }) => model)])]
}

/** The record of a mixture of dense models. `seed`: that of random numbers. */
export function mixSaid(
  step: MixStep,
  { architecture, perToken, seed, notes }: { architecture: string; perToken: number; seed: number; notes: string[] },
): MoeSaid {
  const { form, layout, base, gate, experts, shared } = step
  const random = gate === 'random' || gate === 'uniform_random' || expertsOf(step).some(({ noise }) => noise > 0)
  return {
    ...{ models: [...usesOf(step)], form, layout, architecture, base, gate },
    ...(random ? { seed } : {}),
    experts: [...experts.map(recorded), ...(shared ? [recordedShared(shared)] : [])],
    experts_per_token: perToken,
    ...(notes.length > 0 ? { notes } : {}),
  }
}

export const readRecord = object<MoeSaid & MoeFound>(
  {
    models: list(text),
    form: oneOf<MoeSaid['form']>({ experts: true, upcycle: true, pool: true, dense: true }),
    layout: oneOf<MoeSaid['layout']>({ parts: true, fused: true }),
    architecture: text,
    base: text,
    gate: oneOf<Gate>({ random: true, uniform_random: true, embedding: true, statistics: true }),
    seed: natural,
    experts: list(
      object<ExpertRecord>(
        {
          ...{ model: text, scale: number, noise: number, prompts: list(text), negative: list(text) },
          ...{ shared: boolean, zero_gate: boolean },
        },
        'shared',
        'zero_gate',
      ),
    ),
    experts_per_token: natural,
    pooled: list(object({ model: text, experts: natural })),
    weights: list(number),
    notes: list(text),
    ...{ tokens: list(natural), zeros: list(natural), equal: list(natural) },
  },
  ...(['architecture', 'base', 'gate', 'seed', 'experts', 'experts_per_token', 'pooled'] as const),
  ...(['weights', 'notes', 'tokens', 'zeros', 'equal'] as const),
)

const inLayers = (layers: readonly number[]): string =>
  layers.length === 1
    ? `in layer ${layers[0]}`
    : `in ${counted(layers.length, 'layer')} from ${layers[0]} to ${layers.at(-1)}`

/** What a run says besides the summary. */
export const runNotes = ({ notes = [], zeros = [], equal = [] }: MoeSaid & MoeFound): readonly string[] => [
  ...notes,
  ...(zeros.length > 0
    ? [`${inLayers(zeros)}, the router’s row of an expert is zeros: prompts and negative prompts cancel out`]
    : []),
  ...(equal.length > 0
    ? [`${inLayers(equal)}, two experts have the same row of the router: their prompts are too much alike`]
    : []),
]

const perToken = ({ experts_per_token: count }: MoeSaid): string[] =>
  count === undefined ? [] : [`${count} per token`]

const ROUTERS: Readonly<Record<Gate, string>> = {
  random: 'random routers',
  uniform_random: 'uniform random routers',
  embedding: 'routers by embeddings of prompts',
  statistics: 'routers by hidden states of prompts',
}

/** What the step makes, in one line. `plain`: how a name is written. */
export function summary(said: MoeSaid, plain: (name: string) => string = String): string {
  const { form, architecture = 'mixture', experts = [], pooled = [], weights, models, base, gate, seed } = said
  const [first = ''] = models
  if (form === 'dense') {
    const equal = !weights || new Set(weights).size === 1
    const how = equal ? 'the mean of its experts' : `its experts with the weights ${weights.join(', ')}`
    return `${architecture} of ${plain(first)}: ${how}`
  }
  if (form === 'pool') {
    const from = pooled.map(({ model, experts }) => `${experts} of ${plain(model)}`)
    const count = pooled.reduce((sum, { experts }) => sum + experts, 0)
    const what = `${architecture} of ${counted(count, 'expert')}: ${allOf(from)}`
    return [what, ...perToken(said), `everything else of ${plain(first)}`].join('; ')
  }
  const own = experts.filter(({ shared }) => !shared)
  const shared = experts.length > own.length ? ' and a shared one' : ''
  const names = [...new Set(own.map(({ model }) => plain(model)))]
  const what =
    form === 'upcycle'
      ? `${architecture} of ${counted(own.length, 'copy', 'copies')} of ${plain(own[0]?.model ?? first)}${shared}`
      : `${architecture} of ${counted(own.length, 'expert')}${shared}: ${allOf(names)}`
  const noises = [...new Set(experts.map(({ noise }) => noise).filter((noise) => noise > 0))]
  return [
    what,
    ...perToken(said),
    ...(gate ? [ROUTERS[gate]] : []),
    ...(noises.length > 0 ? [`noise ${noises.join(', ')}`] : []),
    ...(seed === undefined ? [] : [`seed ${seed}`]),
    ...(base !== undefined && form === 'experts' ? [`everything else of ${plain(base)}`] : []),
  ].join('; ')
}

const counts = (one: ExpertRecord): string[] => [
  ...(one.scale === 1 ? [] : [`scale ${one.scale}`]),
  ...(one.noise === 0 ? [] : [`noise ${one.noise}`]),
  ...(one.prompts.length > 0 ? [counted(one.prompts.length, 'prompt')] : []),
  ...(one.negative.length > 0 ? [counted(one.negative.length, 'negative prompt')] : []),
  ...(one.zero_gate ? ['a gate of zeros'] : []),
]

/** Experts that follow one another and are alike have one line. */
function expertLines(experts: readonly ExpertRecord[]): string[] {
  const lines: { from: number; to: number; text: string; shared: boolean }[] = []
  for (const [index, one] of experts.entries()) {
    const text = [one.model, ...counts(one)].join(', ')
    const last = lines.at(-1)
    if (last && last.text === text && !one.shared) last.to = index
    else lines.push({ from: index, to: index, text, shared: one.shared === true })
  }
  return lines.map(({ from, to, text, shared }) =>
    shared ? `shared expert: ${text}` : `${from === to ? `expert ${from}` : `experts ${from} to ${to}`}: ${text}`,
  )
}

export const planLines = (said: MoeSaid | undefined): readonly Lines[] =>
  said
    ? [
        { text: summary(said) },
        ...expertLines(said.experts ?? []).map((text) => ({ text })),
        ...(said.notes ?? []).map((note) => ({ text: `note: ${note}` })),
      ]
    : []

/** A mixture on a model card: what it is made of, its experts with their prompts, and what it lacks. */
export function cardOf(said: MoeSaid & MoeFound, plain: (name: string) => string) {
  const { form, experts = [] } = said
  const prompts = (one: ExpertRecord): string[] => one.prompts.map((prompt) => `  - ${plain(prompt)}`)
  const notes = runNotes(said)
  const each = form === 'experts' ? experts : []
  return {
    lines: [
      `Mixture of experts: ${summary(said, plain)}.`,
      ...(each.length > 0
        ? [
            '',
            ...each.flatMap((one, index) => [
              `- ${one.shared ? 'shared expert' : `expert ${index}`}: ${[plain(one.model), ...counts(one)].join(', ')}`,
              ...prompts(one),
            ]),
          ]
        : []),
      ...(notes.length > 0 ? ['', ...notes.map((note) => `- ${plain(note)}`)] : []),
    ],
    tags: form === 'dense' ? [] : ['moe'],
  }
}

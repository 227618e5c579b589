/** LoRA of PEFT, with DoRA and rows of single tokens. */
import type { ValueTensor } from '../../../expr/values.js'
import type { Magnitude, Update } from '../../types.js'
import type { ModuleParts } from '../names.js'
import { isSet, type Settings } from '../settings.js'
import { type Experts, expertUpdates, targetParameters } from './experts.js'
import { tokenUpdate } from './tokens.js'
import type { Context, PeftMethod } from './types.js'

/**
 * Keys for updates that are not a plain product of two factors or that change more than weights, and a description of
 * each.
 */
const OTHER_ARITHMETIC: readonly (readonly [key: string, what: string])[] = [
  ['use_qalora', 'QALoRA, which pools the inputs'],
  ['kasa_config', 'KaSA, which cuts singular values off the base weight'],
  ['monteclora_config', 'MonteCLoRA, which samples the update'],
  ['use_bdlora', 'block-diagonal factors (BD-LoRA)'],
  ['alora_invocation_tokens', 'an activated LoRA (aLoRA), which acts on part of the tokens'],
  ['arrow_config', 'arrow routing among adapters'],
  ['layer_replication', 'layer_replication, which repeats layers of the base'],
]
/** Initializations that change the base, in a way that depends on random numbers or on data that the file has not. */
const CHANGES_BASE = /^(pissa_niter_\d+|corda|loftq|lora_ga)$/
/** Initializations that change the base in a way that the base itself shows. */
const START = /^(pissa|olora)$/i
/** Initializations that keep the base. */
const KEEPS_BASE = /^(gaussian|eva|orthogonal|mica|true|false)$/i

function read(settings: Settings, context: Context): (parts: ModuleParts) => readonly Update[] {
  const { config, refuse } = settings
  for (const [key, what] of OTHER_ARITHMETIC) if (isSet(config[key])) refuse(what)
  const { init_lora_weights: init = true } = config
  if (CHANGES_BASE.test(String(init)))
    refuse(
      `init_lora_weights: ${String(init)}, which changes the base before training`,
      'save it with PEFT as a plain LoRA (path_initial_model_for_weight_conversion)',
    )
  else if (!KEEPS_BASE.test(String(init)) && !START.test(String(init)))
    refuse(`init_lora_weights: ${String(init)}`, 'save it as a plain LoRA')
  const r = settings.positive('r', 8)
  const alpha = settings.number('lora_alpha', 8)
  const [ranks, alphas] = [settings.ranks('rank_pattern'), settings.numbers('alpha_pattern')]
  const [stabilized, dora] = [settings.flag('use_rslora'), settings.flag('use_dora')]
  const targets = targetParameters(settings)
  const rank = (module: string): number => ranks(module) ?? r
  const scale = (module: string): number =>
    (alphas(module) ?? alpha) / (stabilized ? Math.sqrt(rank(module)) : rank(module))
  const experts: Experts = { targets, rank, scale, version: String(config.peft_version ?? ''), context }
  const start = START.test(String(init)) ? { start: String(init).toLowerCase() as 'pissa' | 'olora' } : {}
  if (start.start && dora) refuse(`DoRA with init_lora_weights: ${String(init)}`)
  if (start.start && targets.length > 0) refuse(`target_parameters with init_lora_weights: ${String(init)}`)
  return (own) => [
    ...(expertUpdates(own, experts) ?? weightUpdates(own, { rank, scale, dora, start }, context)),
    ...tokenUpdate(own, settings.config.trainable_token_indices, context.reporter),
  ]
}

interface Sizes {
  readonly rank: (module: string) => number
  readonly scale: (module: string) => number
  readonly dora: boolean
  readonly start: Pick<Update, 'start'>
}

function weightUpdates(
  { module, roles, biases }: ModuleParts,
  { rank, scale, dora, start }: Sizes,
  { reporter }: Context,
): Update[] {
  const updates: Update[] = []
  for (const embedding of [false, true]) {
    const [a, b] = embedding
      ? [roles.get('lora_embedding_A'), roles.get('lora_embedding_B')]
      : [roles.get('lora_A'), roles.get('lora_B')]
    if (a && b)
      updates.push({
        ...{ kind: 'lora', module, target: { name: `${module}.weight` }, parts: { a, b } },
        ...{ scale: scale(module), rank: rank(module) },
        ...(embedding ? { embedding } : {}),
        ...start,
        ...magnitudeOf(roles.get('lora_magnitude_vector'), dora),
      })
    else if (a ?? b)
      reporter.error(
        'adapter-factor',
        `${module} has factor ${a ? 'A' : 'B'} but not factor ${a ? 'B' : 'A'}`,
        'the adapter is incomplete: download it again',
      )
  }
  if (dora !== roles.has('lora_magnitude_vector') && updates.length > 0)
    reporter.error(
      'adapter-factor',
      dora
        ? `${module} has no lora_magnitude_vector, but use_dora is true`
        : `${module} has a lora_magnitude_vector, but use_dora is not true`,
      'the adapter is incomplete: download it again',
    )
  const bias = biases.get('lora_B')
  if (bias)
    updates.push({
      ...{ kind: 'bias', module, target: { name: `${module}.bias` } },
      ...{ parts: { b: bias }, scale: scale(module) },
    })
  return updates
}

/** PEFT scales the update before it normalises the sum. */
const magnitudeOf = (tensor: ValueTensor | undefined, dora: boolean): { readonly magnitude?: Magnitude } =>
  tensor && dora ? { magnitude: { tensor, epsilon: 0, scales: 'update' } } : {}

export const lora: PeftMethod = {
  keys: `corda_config eva_config init_lora_weights loftq_config lora_bias lora_dropout lora_ga_config
    qalora_group_size velora_config r lora_alpha use_rslora use_dora rank_pattern alpha_pattern target_parameters
    trainable_token_indices`
    .split(/\s+/)
    .concat(OTHER_ARITHMETIC.map(([key]) => key)),
  roles: [
    'lora_A',
    'lora_B',
    'lora_embedding_A',
    'lora_embedding_B',
    'lora_magnitude_vector',
    'trainable_tokens_delta',
  ],
  example: '…q_proj.lora_A.weight',
  read,
}

/** The base of a mixture: its layers, its configuration, and which mixture it becomes. */
import { isObject } from '../../core/json/text.js'
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import type { Value } from '../../expr/values.js'
import { configOfValue } from '../shared/configOfValue.js'
import type { PlanContext } from '../types.js'
import { ALL, type Architecture, architectureOf, type ConfigChange, defaultFor } from './architectures.js'
import { type Dense, denseOf } from './network.js'
import type { Refuse } from './refuse.js'
import { windowsOf } from './stated.js'
import type { MixStep } from './types.js'

export type Config = Readonly<Record<string, unknown>>

export interface Base {
  readonly dense: Dense
  /** As earlier steps changed it. */
  readonly config: Config
  readonly architecture: Architecture
}

export function readBase(step: MixStep, base: Value, refuse: Refuse, context: PlanContext): Base | undefined {
  const config = configOfValue(base, context)
  const mixture = architectureOf(config?.model_type)
  if (mixture)
    return refuse(
      `${quote(step.base)} is a ${mixture.title} model, which has experts already`,
      `write pool: [${step.base}, …] to put mixtures together, or dense: {model: ${step.base}} in a step before this one`,
    )
  const dense = denseOf(base)
  if (typeof dense === 'string')
    return refuse(
      `${quote(step.base)} is not a dense model with gated MLPs: ${dense}`,
      'name a llama, mistral, qwen2 or qwen3 model as base',
    )
  if (!config || typeof config.model_type !== 'string')
    return refuse(
      `${quote(base.origin)} has no config.json that says what it is`,
      'name a folder with config.json as base, or write config: FILE for the model',
    )
  const type = config.model_type
  const architecture = step.architecture ? ALL[step.architecture] : defaultFor(type, sharedOf(step))
  if (!architecture?.from.includes(type))
    return refuse(
      `a ${type} model can't become ${architecture?.title ?? 'a mixture'}`,
      `name a base that is ${(architecture ?? ALL.qwen2_moe).from.join(', ')}, or another architecture`,
    )
  const layers = config.num_hidden_layers
  if (!base.layers && typeof layers === 'number' && layers !== dense.layers)
    return refuse(
      `${quote(step.base)} has ${plural(dense.layers, 'layer')}, but its configuration says ${layers}`,
      'use a complete model as base',
    )
  return { dense, config, architecture }
}

/** The kinds of shared expert that the step's can be. */
const sharedOf = ({ shared }: MixStep): readonly Architecture['shared'][] =>
  !shared ? ['none', 'plain'] : shared.prompts.length > 0 || shared.zeroGate ? ['gated'] : ['plain', 'gated']

/** What the configuration says of windows. `lost`, and a warning `lost-windows`: the base has some that the mixture can't have. */
export function windowsIn(
  step: MixStep,
  { title, windows: possible }: Architecture,
  config: Config,
  layers: number,
  { recipe, faults, values }: PlanContext,
): { readonly change: ConfigChange; readonly lost?: string } {
  // A stack has its layers from elsewhere; those of other models are taken as if they were the base's.
  const [stack] = values.get(step.base)!.layers?.values() ?? []
  const own = windowsOf(
    config,
    Array.from({ length: layers }, (_, layer) => stack?.order[layer]?.layer ?? layer),
  )
  if (own && possible === own.layers) return { change: {} }
  const lost =
    own &&
    `${own.layers === 'all' ? 'the' : 'some'} layers of ${quote(step.base)} see ${own.size} tokens back, those of the mixture see all`
  if (own && lost !== undefined)
    faults.warn(
      'lost-windows',
      lost,
      recipe.placeOf(step.at, 'key'),
      `${title} gets no sliding windows${possible === 'all' ? ' in single layers' : ', as with mergekit'}; texts of up to ${own.size} tokens are not affected`,
      step.name,
    )
  return {
    change: {
      ...(Array.isArray(config.layer_types)
        ? { layer_types: Array.from({ length: layers }, () => 'full_attention') }
        : {}),
      ...(config.use_sliding_window === true ? { use_sliding_window: false } : {}),
    },
    ...(lost === undefined ? {} : { lost }),
  }
}

/** Kinds of models with the MLPs of llama. Others scale or norm what these compute, under the same names. */
const ALIKE = /^(llama|mistral|mixtral|ministral|qwen2|qwen3|deepseek)/

/** Why MLPs with this configuration would compute something else in a mixture of the base; undefined if they would not. */
export function otherMlps(base: Config | undefined, expert: Config | undefined): string | undefined {
  const type = expert?.model_type
  if (typeof type === 'string' && !ALIKE.test(type) && !isObject(expert?.text_config))
    return `is a ${type} model, whose MLPs can count otherwise than those of the base`
  const [own, theirs] = [base, expert].map((one) => one?.hidden_act ?? one?.hidden_activation ?? 'silu')
  return own === theirs ? undefined : `has the activation ${String(theirs)}, but the base has ${String(own)}`
}

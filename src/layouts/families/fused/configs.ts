/** Configurations of networks that another architecture computes too. */
import { numberIn, partOf } from '../../facts.js'
import type { FamilyForm, Settings } from '../../types.js'

/** How a configuration is written for another architecture. */
interface Rewriting {
  /** Its `model_type`, and the one that it gets. */
  readonly from: string
  readonly to: string
  /** The names of classes. Models of other classes have no counterpart. */
  readonly classes: Readonly<Record<string, string>>
  /** New names of settings. */
  readonly renamed?: Readonly<Record<string, string>>
  /** Settings that the other architecture does not have. */
  readonly dropped?: readonly string[]
  /** Settings with other values. */
  readonly added?: (config: Settings) => Settings
  /** Why the other architecture can't compute the same. */
  readonly refused?: (config: Settings) => string | undefined
}

/** A configuration that has this model type already stays as it is. */
export function rewritten(rule: Rewriting): NonNullable<FamilyForm['config']> {
  const { from, to, classes, renamed = {}, dropped = [], added, refused } = rule
  return (config) => {
    if (config.model_type === to) return config
    if (config.model_type !== from) return `its model_type is ${JSON.stringify(config.model_type)}, not "${from}"`
    const why = refused?.(config)
    if (why !== undefined) return why
    const named = Array.isArray(config.architectures) ? (config.architectures as readonly unknown[]) : undefined
    const unknown = named?.find((name) => classes[String(name)] === undefined)
    if (unknown !== undefined) return `${to} has no counterpart of ${JSON.stringify(unknown)}`
    const kept = Object.entries(config).filter(([key]) => !dropped.includes(key))
    return {
      ...Object.fromEntries(kept.map(([key, value]) => [renamed[key] ?? key, value])),
      ...added?.(config),
      model_type: to,
      ...(named ? { architectures: named.map((name) => classes[String(name)]) } : {}),
    }
  }
}

/** Names of classes that differ by their beginning. */
export const sameHeads = (from: string, to: string): Record<string, string> =>
  Object.fromEntries(
    ['ForCausalLM', 'Model', 'ForSequenceClassification', 'ForTokenClassification', 'ForQuestionAnswering'].map(
      (head) => [`${from}${head}`, `${to}${head}`],
    ),
  )

/** The first reason that applies. */
export const firstOf = (...reasons: readonly (readonly [applies: boolean, reason: string])[]): string | undefined =>
  reasons.find(([applies]) => applies)?.[1]

/** The rotary embedding: its parameters are in one of two places. */
export function rotaryOf(config: Settings): {
  readonly type: string
  readonly theta: unknown
  readonly share: unknown
} {
  const part = partOf(config, 'rope_parameters') ?? partOf(config, 'rope_scaling')
  return {
    type: String(part?.rope_type ?? part?.type ?? 'default'),
    theta: part?.rope_theta ?? config.rope_theta ?? 10000,
    share: part?.partial_rotary_factor ?? config.partial_rotary_factor,
  }
}

/** Without the share of each head that is rotated, for architectures that rotate all of it. */
export function wholeRotary({ rope_parameters: parameters }: Settings): Settings {
  if (typeof parameters !== 'object' || parameters === null) return {}
  const { partial_rotary_factor: _, ...rest } = parameters as Settings
  return { rope_parameters: rest }
}

/** The rotary embedding as configurations had it before `rope_parameters`. */
export function oldRotary(config: Settings): Settings {
  const parameters = partOf(config, 'rope_parameters')
  if (!parameters) return {}
  const { rope_theta: theta = 10000, rope_type: type = 'default', ...rest } = parameters
  return { rope_theta: theta, rope_scaling: type === 'default' ? null : { type, ...rest } }
}

/** Whether each head has its own key and value, which older architectures require. */
export const isGrouped = (config: Settings): boolean =>
  typeof config.num_key_value_heads === 'number' && config.num_key_value_heads !== config.num_attention_heads

/** Whether the heads together are as wide as the network, which older architectures require. */
export function hasOtherHeads(config: Settings): boolean {
  const [own, hidden, heads] = ['head_dim', 'hidden_size', 'num_attention_heads'].map((key) => numberIn(config, key))
  return typeof own === 'number' && own !== Number(hidden) / Number(heads)
}

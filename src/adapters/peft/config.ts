import { compilePattern } from '../../core/patterns.js'
import { nearest, quote } from '../../core/suggest.js'
import type { Reporter, Traits } from '../types.js'

/** The part of an adapter's configuration that affects the arithmetic. Each key has PEFT's meaning. */
export interface AdapterSettings extends Traits {
  /** By the module's name in the network. */
  readonly rank: (module: string) => number
  /** alpha / rank, or alpha / √rank. */
  readonly scale: (module: string) => number
}

type Config = Readonly<Record<string, unknown>>

/**
 * Keys for updates that are not a plain product of two factors or that change more than weights, and a description of
 * each.
 */
const OTHER_ARITHMETIC: readonly (readonly [key: string, what: string])[] = [
  ['use_dora', 'DoRA, which rescales each row of the updated weight'],
  ['use_qalora', 'QALoRA, which pools the inputs'],
  ['kasa_config', 'KaSA, which cuts singular values off the base weight'],
  ['monteclora_config', 'MonteCLoRA, which samples the update'],
  ['use_bdlora', 'block-diagonal factors (BD-LoRA)'],
  ['alora_invocation_tokens', 'an activated LoRA (aLoRA), which acts on part of the tokens'],
  ['arrow_config', 'arrow routing among adapters'],
  ['layer_replication', 'layer_replication, which repeats layers of the base'],
  ['trainable_token_indices', 'rows for single tokens (trainable_token_indices)'],
  ['target_parameters', 'factors of whole stacks of experts (target_parameters)'],
]
/** Initializations that change the base: the adapter is the difference from the changed base. */
const CHANGES_BASE = /^(pissa(_niter_\d+)?|olora|corda|loftq|lora_ga)$/
/** Initializations that keep the base. */
const KEEPS_BASE = /^(gaussian|eva|orthogonal|mica|true|false)$/i
/** Keys that do not affect the weights, or only repeat what the tensors show. */
const HARMLESS = new Set(
  `auto_mapping base_model_name_or_path bias corda_config ensure_weight_tying eva_config exclude_modules inference_mode
  init_lora_weights layers_pattern layers_to_transform loftq_config lora_bias lora_dropout lora_ga_config megatron_config
  megatron_core modules_to_save peft_version qalora_group_size revision runtime_config target_modules task_type
  velora_config peft_type r lora_alpha use_rslora fan_in_fan_out rank_pattern alpha_pattern`.split(/\s+/),
)
/** The only embeddings that PEFT ties, up to the version in `KNOWN_VERSION`. Later versions may tie more. */
const TIED_BY_PEFT = /(^|\.)embed_tokens$/
const KNOWN_VERSION = /^0\.(1?\d|2[01])\./
/** Each pattern is matched with every module. */
const MOST_PATTERNS = 10_000

const isSet = (value: unknown): boolean =>
  value !== undefined &&
  value !== null &&
  value !== false &&
  !(typeof value === 'object' && Object.keys(value).length === 0)

/**
 * Reads `adapter_config.json`. Each setting that terge cannot apply exactly is an error. Undefined if there are errors.
 * Errors: `bad-adapter`, `adapter-arithmetic`. Warning: `unknown-adapter-key`.
 */
export function readAdapterConfig(config: Config, reporter: Reporter): AdapterSettings | undefined {
  let sound = true
  const bad = (message: string, hint = 'correct adapter_config.json, or download the adapter again'): undefined => {
    sound = false
    reporter.error('bad-adapter', `adapter_config.json: ${message}`, hint)
  }
  const refuse = (what: string, hint: string): void => {
    sound = false
    reporter.error('adapter-arithmetic', `the adapter uses ${what}: terge does not support this`, hint)
  }
  const { peft_type: kind = 'LORA' } = config
  if (kind !== 'LORA') {
    refuse(`the method ${quote(String(kind))}`, 'merge the adapter into its base with PEFT, and use the result')
    return undefined
  }
  for (const [key, what] of OTHER_ARITHMETIC)
    if (isSet(config[key])) refuse(what, 'merge the adapter into its base with PEFT, and use the result')
  const { init_lora_weights: init = true } = config
  if (CHANGES_BASE.test(String(init)))
    refuse(
      `init_lora_weights: ${String(init)}, which changes the base before training`,
      'save it with PEFT as a plain LoRA (path_initial_model_for_weight_conversion)',
    )
  else if (!KEEPS_BASE.test(String(init))) refuse(`init_lora_weights: ${String(init)}`, 'save it as a plain LoRA')
  for (const key of Object.keys(config)) {
    if (HARMLESS.has(key) || OTHER_ARITHMETIC.some(([known]) => known === key) || !isSet(config[key])) continue
    const [meant] = nearest(key, HARMLESS, 1)
    reporter.warn(
      'unknown-adapter-key',
      `adapter_config.json: terge ignores the unknown key ${quote(key)}`,
      meant === undefined ? 'check that it does not affect the weights' : `did you mean ${quote(meant)}?`,
    )
  }

  const flag = (key: string): boolean => {
    const value = config[key] ?? false
    if (typeof value !== 'boolean') bad(`${key} is ${shown(value)}, not true or false`)
    return value === true
  }
  const rankOf = (value: unknown, key: string): number =>
    Number.isSafeInteger(value) && (value as number) > 0
      ? (value as number)
      : (bad(`${key} is ${shown(value)}, not a positive integer`) ?? 1)
  const alphaOf = (value: unknown, key: string): number =>
    typeof value === 'number' && Number.isFinite(value) ? value : (bad(`${key} is ${shown(value)}, not a number`) ?? 1)
  // PEFT's defaults for absent keys; null is not a number.
  const { r: rankWritten = 8, lora_alpha: alphaWritten = 8 } = config
  const r = rankOf(rankWritten, 'r')
  const alpha = alphaOf(alphaWritten, 'lora_alpha')
  const ranks = patterns(config, 'rank_pattern', rankOf, bad)
  const alphas = patterns(config, 'alpha_pattern', alphaOf, bad)
  const stabilized = flag('use_rslora')
  const fanInFanOut = flag('fan_in_fan_out')
  if (!sound) return undefined
  const rank = (module: string) => ranks(module) ?? r
  const saved = Array.isArray(config.modules_to_save) ? config.modules_to_save.map(String) : []
  return {
    fanInFanOut,
    tiesHead: (module) => {
      if (config.ensure_weight_tying !== true) return false
      if (TIED_BY_PEFT.test(module)) return true
      return KNOWN_VERSION.test(String(config.peft_version)) ? false : undefined
    },
    // Like PEFT, compares the end of the name.
    isSaved: (module) => saved.some((name) => module.endsWith(name)),
    task: typeof config.task_type === 'string' ? config.task_type : undefined,
    rank,
    scale: (module) => (alphas(module) ?? alpha) / (stabilized ? Math.sqrt(rank(module)) : rank(module)),
  }
}

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'absent'
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}

/**
 * A mapping from patterns to values. The first pattern that matches the end of a module's name, starting after a dot,
 * counts.
 */
function patterns(
  config: Config,
  key: string,
  read: (value: unknown, key: string) => number,
  bad: (message: string, hint?: string) => undefined,
): (module: string) => number | undefined {
  const written = config[key] ?? {}
  if (typeof written !== 'object' || Array.isArray(written)) {
    bad(`${key} is ${shown(written)}, not a mapping`)
    return () => undefined
  }
  const entries = Object.entries(written as Config)
  if (entries.length > MOST_PATTERNS)
    bad(`${key} has ${entries.length} entries; terge supports at most ${MOST_PATTERNS}`)
  const compiled = entries.slice(0, MOST_PATTERNS).map(([pattern, value]) => {
    const place = `${key}[${quote(pattern)}]`
    return { matches: endMatcher(pattern, (message) => bad(`${place}: ${message}`)), value: read(value, place) }
  })
  return (module) => compiled.find(({ matches }) => matches(module))?.value
}

/** Matches module names like Python's `re.match(r"(.*\.)?(PATTERN)$", name)`. */
function endMatcher(pattern: string, bad: (message: string) => undefined): (module: string) => boolean {
  // Most patterns are plain names, in which a dot still matches any character.
  if (/^[\w.-]+$/.test(pattern))
    return (module) => {
      const start = module.length - pattern.length
      if (start < 0 || (start > 0 && module[start - 1] !== '.')) return false
      for (let i = 0; i < pattern.length; i++) if (pattern[i] !== '.' && pattern[i] !== module[start + i]) return false
      return true
    }
  const compiled = compilePattern(`/^(.*\\.)?(${pattern})$/`)
  if (compiled.kind !== 'fault') return compiled.matches
  bad(compiled.message)
  return () => false
}

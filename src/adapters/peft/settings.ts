/** Reads values of `adapter_config.json`. */
import { compilePattern } from '../../core/patterns.js'
import { nearest, quote } from '../../core/suggest.js'
import type { Reporter, Traits } from '../types.js'

export type Config = Readonly<Record<string, unknown>>

/** Keys of all methods that do not affect the weights, or only repeat what the tensors show. */
const COMMON = `auto_mapping base_model_name_or_path bias exclude_modules inference_mode init_weights layers_pattern
  layers_to_transform megatron_config megatron_core modules_to_save peft_type peft_version revision runtime_config
  target_modules task_type ensure_weight_tying fan_in_fan_out`.split(/\s+/)
/** The only embeddings that PEFT ties, up to the version in `KNOWN_VERSION`. Later versions may tie more. */
const TIED_BY_PEFT = /(^|\.)embed_tokens$/
const KNOWN_VERSION = /^0\.(1?\d|2[01])\./
/** Each pattern is matched with every module. */
const MOST_PATTERNS = 10_000

export const isSet = (value: unknown): boolean =>
  value !== undefined &&
  value !== null &&
  value !== false &&
  !(typeof value === 'object' && Object.keys(value).length === 0)

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'absent'
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}

/** Reads a configuration. Errors: `bad-adapter`, `adapter-arithmetic`. */
export interface Settings {
  readonly config: Config
  /** Whether there was no error. */
  readonly sound: () => boolean
  readonly bad: (message: string, hint?: string) => undefined
  /** Something that terge cannot apply exactly. */
  readonly refuse: (what: string, hint?: string) => undefined
  readonly flag: (key: string) => boolean
  readonly positive: (key: string, byDefault: number) => number
  readonly number: (key: string, byDefault: number) => number
  /** By module, from a mapping from patterns to values. */
  readonly ranks: (key: string) => (module: string) => number | undefined
  readonly numbers: (key: string) => (module: string) => number | undefined
  /** Warns of keys that are not known. Warning: `unknown-adapter-key`. */
  readonly close: (keys: readonly string[]) => void
  readonly traits: () => Traits
}

export function settings(config: Config, reporter: Reporter): Settings {
  let sound = true
  const bad = (message: string, hint = 'correct adapter_config.json, or download the adapter again'): undefined => {
    sound = false
    reporter.error('bad-adapter', `adapter_config.json: ${message}`, hint)
  }
  const refuse = (what: string, hint = 'merge the adapter into its base with PEFT, and use the result'): undefined => {
    sound = false
    reporter.error('adapter-arithmetic', `the adapter uses ${what}: terge does not support this`, hint)
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
  const numberOf = (value: unknown, key: string): number =>
    typeof value === 'number' && Number.isFinite(value) ? value : (bad(`${key} is ${shown(value)}, not a number`) ?? 1)
  // PEFT's defaults are for absent keys; null is not a number.
  const written = (key: string, byDefault: number): unknown => (config[key] === undefined ? byDefault : config[key])
  return {
    ...{ config, bad, refuse, flag },
    sound: () => sound,
    positive: (key, byDefault) => rankOf(written(key, byDefault), key),
    number: (key, byDefault) => numberOf(written(key, byDefault), key),
    ranks: (key) => patterns(config, key, rankOf, bad),
    numbers: (key) => patterns(config, key, numberOf, bad),
    close(own) {
      const known = new Set([...COMMON, ...own])
      for (const key of Object.keys(config)) {
        if (known.has(key) || !isSet(config[key])) continue
        const [meant] = nearest(key, known, 1)
        reporter.warn(
          'unknown-adapter-key',
          `adapter_config.json: terge ignores the unknown key ${quote(key)}`,
          meant === undefined ? 'check that it does not affect the weights' : `did you mean ${quote(meant)}?`,
        )
      }
    },
    traits() {
      const saved = Array.isArray(config.modules_to_save) ? config.modules_to_save.map(String) : []
      return {
        fanInFanOut: flag('fan_in_fan_out'),
        tiesHead: (module) => {
          if (config.ensure_weight_tying !== true) return false
          if (TIED_BY_PEFT.test(module)) return true
          return KNOWN_VERSION.test(String(config.peft_version)) ? false : undefined
        },
        // Like PEFT, compares the end of the name.
        isSaved: (module) => saved.some((name) => module.endsWith(name)),
        task: typeof config.task_type === 'string' ? config.task_type : undefined,
      }
    },
  }
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

/** `adapter_config.json` of merged adapters, in PEFT's form. */
import { type Config, listOf, type Saved } from './saved.js'

/** A module of the result, or a parameter of a stack of experts. */
export interface MergedModule {
  /** For a parameter: the number of experts. */
  readonly experts?: number
  readonly module: string
  readonly rank: number
  readonly scale: number
}

/** Keys that say where factors are. Names of modules in the result replace them. */
const PLACES = ['layers_to_transform', 'layers_pattern', 'exclude_modules']

/** Keys that say how factors started. PEFT warns of settings of a start that the result does not have. */
const STARTS = ['eva_config', 'corda_config', 'loftq_config', 'lora_ga_config']

/** Keys that configurations of all methods have, and that a LoRA has too. */
const COMMON = ['auto_mapping', 'base_model_name_or_path', 'fan_in_fan_out', 'revision', 'task_type']

/** The configuration of a LoRA, as far as it is not made of the result's modules. */
const kept = (config: Config): Config => {
  const isLora = String(config.peft_type ?? 'LORA') === 'LORA'
  return Object.fromEntries(
    Object.entries(config).filter(([key]) =>
      isLora ? !PLACES.includes(key) && !STARTS.includes(key) : COMMON.includes(key),
    ),
  )
}

interface Traits {
  readonly saved: Saved
  /** Modules and parameters that adapters change, but that are not in the result. */
  readonly left: readonly string[]
  readonly hasBiases: boolean
  readonly isDora: boolean
  /** Whether heads follow embeddings. Undefined if the result has no embeddings. */
  readonly ties: boolean | undefined
}

/**
 * The first adapter's configuration, with ranks and scales of the result: rank and alpha of most modules, and patterns for
 * the others.
 */
export function mergedConfig(
  configs: readonly Config[],
  changed: readonly MergedModule[],
  { saved, left, hasBiases, isDora, ties }: Traits,
): Config {
  const [first = {}] = configs
  const parameters = changed.filter(({ experts }) => experts !== undefined).map(({ module }) => module)
  const rank = mostFrequent(changed.map((module) => module.rank)) ?? 1
  const alphaOf = ({ scale, rank }: MergedModule): number => scale * rank
  const alpha = mostFrequent(changed.filter((module) => module.rank === rank).map(alphaOf)) ?? rank
  const byModule = (number: (module: MergedModule) => number, usual: number) =>
    Object.fromEntries(
      withLonger(changed, (module) => number(module) !== usual).map((module) => [module.module, number(module)]),
    )
  return {
    ...kept(first),
    alpha_pattern: byModule(alphaOf, alpha),
    bias: saved.bias,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: alpha,
    // Older versions of PEFT reject keys that they do not know.
    ...(hasBiases || first.lora_bias !== undefined ? { lora_bias: hasBiases } : {}),
    ...(ties || first.ensure_weight_tying !== undefined ? { ensure_weight_tying: ties === true } : {}),
    modules_to_save: saved.modules.length > 0 ? saved.modules : null,
    peft_type: 'LORA',
    r: rank,
    rank_pattern: byModule((module) => module.rank, rank),
    target_modules: targetsOf(
      configs.map((config) => ({ ...config, targets: config.target_modules })),
      changed.filter(({ experts }) => experts === undefined).map(({ module }) => module),
      left,
    ),
    ...(parameters.length > 0
      ? {
          target_parameters: targetsOf(
            configs.map((config) => ({ ...config, targets: config.target_parameters ?? [] })),
            parameters,
            left,
          ),
        }
      : first.target_parameters === undefined
        ? {}
        : { target_parameters: null }),
    ...(first.task_type === undefined ? {} : { task_type: saved.task }),
    use_dora: isDora,
    use_rslora: false,
  }
}

/**
 * The modules that need a pattern. PEFT uses the first pattern that a name ends with, so modules whose names end with one of
 * these names need their own pattern, before it.
 */
function withLonger(modules: readonly MergedModule[], needed: (module: MergedModule) => boolean): MergedModule[] {
  const names = modules.filter(needed).map(({ module }) => module)
  const ends = new Set(names)
  return modules
    .filter(({ module }) => {
      for (let dot = 0; dot >= 0; dot = module.indexOf('.', dot) + 1 || -1) if (ends.has(module.slice(dot))) return true
      return false
    })
    .sort((a, b) => b.module.length - a.module.length || (a.module < b.module ? -1 : 1))
}

/**
 * The adapters' own lists of targets, if they have some that mean these modules and none that are left out: names at the end
 * of which modules end. Otherwise the modules' full names.
 */
function targetsOf(configs: readonly Config[], modules: readonly string[], left: readonly string[]): string[] {
  const lists = configs.map((config) => listOf(config.targets))
  const plain = configs.every((config) => PLACES.every((key) => config[key] === undefined || config[key] === null))
  const names = lists.flatMap((list) => list ?? [])
  const ends = (module: string, name: string): boolean => module === name || module.endsWith(`.${name}`)
  const used = [...new Set(names.filter((name) => modules.some((module) => ends(module, name))))]
  const covers =
    modules.every((module) => used.some((name) => ends(module, name))) &&
    !left.some((module) => used.some((name) => ends(module, name)))
  if (!plain || lists.includes(undefined) || !covers) return [...modules].sort()
  return used.sort()
}

/** Of equally frequent values, the first. */
function mostFrequent(values: readonly number[]): number | undefined {
  const counts = new Map<number, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0]
}

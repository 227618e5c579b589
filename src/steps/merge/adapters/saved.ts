/** Tensors that adapters saved whole, as PEFT stores them: as trained copies of modules, as biases, or beneath factors. */
import { loadableTask, moduleOf } from '../../../networks/modules.js'

export type Config = Readonly<Record<string, unknown>>

export const listOf = (value: unknown): readonly string[] | undefined =>
  Array.isArray(value) && value.every((item) => typeof item === 'string') ? (value as string[]) : undefined

export interface Saved {
  /** By name in the network: the stored name. */
  readonly names: ReadonlyMap<string, string>
  /** `modules_to_save`. */
  readonly modules: readonly string[]
  readonly bias: 'none' | 'lora_only' | 'all'
  readonly task: unknown
}

/** Whether a module has this name, or is inside of one that has it. */
const covers = (name: string, module: string): boolean => `.${module}.`.includes(`.${name}.`)

/**
 * `all`: what the adapters saved whole; `whole`: what of it is in the result. `updated`: modules with factors in the result.
 * PEFT can't load a copy of a module inside of one that it copies itself, such as a classifier, so the adapters' own names are kept.
 */
export function savedAs(
  whole: readonly string[],
  all: readonly string[],
  updated: ReadonlySet<string>,
  configs: readonly Config[],
): Saved {
  const names = new Map<string, string>()
  const copied = new Set<string>()
  const listed = configs.flatMap(({ modules_to_save: own }) => listOf(own) ?? [])
  const keepsBiases = configs.some(({ bias = 'none' }) => bias !== 'none')
  let bias: Saved['bias'] = 'none'
  for (const name of whole) {
    const { module, part } = moduleOf(name)
    const isBias = part === 'bias' && keepsBiases && !listed.some((own) => covers(own, module))
    if (updated.has(module)) {
      names.set(name, `${module}.base_layer.${part}`)
      if (part === 'bias' && bias === 'none') bias = 'lora_only'
      continue
    }
    names.set(name, name)
    if (isBias) bias = 'all'
    else copied.add(module)
  }
  const kept = new Set(whole)
  const complete = [...new Set(listed)].filter(
    (own) =>
      [...copied].some((module) => covers(own, module)) &&
      all.every((name) => kept.has(name) || !covers(own, moduleOf(name).module)),
  )
  const others = [...copied].filter((module) => !complete.some((own) => covers(own, module)))
  const task = loadableTask(configs[0]?.task_type ?? null, all, kept)
  return { names, modules: [...complete, ...others].sort(), bias, task }
}

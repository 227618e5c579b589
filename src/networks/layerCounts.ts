/** Where a configuration gives the number of layers of a stack. */
import type { Stack } from './layerNames.js'
import { COUNTING_LISTS } from './layerRules.js'
import { type Role, roleOf, sideOf, wordsOf } from './stackRoles.js'

export type Config = Readonly<Record<string, unknown>>
export type ConfigPath = readonly (string | number)[]

/** A part of a configuration that gives numbers of layers: the whole, or `text_config` and similar parts. */
interface Scope {
  readonly path: readonly string[]
  readonly config: Config
}

export interface Count {
  readonly path: ConfigPath
  readonly value: number
}

export interface Counts {
  /** The parts with settings for this stack. */
  readonly scopes: readonly Scope[]
  readonly counts: readonly Count[]
  /** Another stack that is counted by the same key. */
  readonly sharedWith?: string
}

export const isMapping = (value: unknown): value is Config =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** Mappings that do not describe a part of the model. */
export const NO_PART =
  /^(rope_\w+|quantization_config|compression_config|id2label|label2id|task_specific_params|auto_map)$/

const COUNTED = new Set(['layer', 'layers', 'blocks', 'block', 'depth'])
const FILLER = new Set(['num', 'n', 'hidden', 'of', ...COUNTED])

/** The specific words of a key that counts layers. Undefined for other keys. */
function subjectOf(key: string): readonly string[] | undefined {
  const words = key.toLowerCase().split('_')
  return words.some((word) => COUNTED.has(word)) ? words.filter((word) => !FILLER.has(word)) : undefined
}

interface Keys {
  readonly explicit: readonly string[]
  readonly generic: readonly string[]
}

/** Keys that count the layers of this stack by its own words (`decoder_layers`), and those of any stack. */
function keysFor(config: Config, prefix: string): Keys {
  const words = new Set(wordsOf(prefix))
  const found = Object.keys(config).flatMap((key) => {
    const subject = isWhole(config[key]) ? subjectOf(key) : undefined
    return subject?.every((word) => words.has(word)) ? [{ key, own: subject.length > 0 }] : []
  })
  return {
    explicit: found.filter(({ own }) => own).map(({ key }) => key),
    generic: found.filter(({ own }) => !own).map(({ key }) => key),
  }
}

/** Whether a mapping is a part with its own number of layers. */
export const countsSomething = (config: Config): boolean =>
  Object.entries(config).some(([key, value]) => isWhole(value) && subjectOf(key) !== undefined) ||
  COUNTING_LISTS.some((key) => Array.isArray(config[key]) || typeof config[key] === 'string')

/** The parts of a configuration that give numbers of layers, the whole first. */
function scopesOf(config: Config, path: readonly string[] = []): Scope[] {
  const inner = Object.entries(config).flatMap(([key, value]) =>
    isMapping(value) && !NO_PART.test(key) && path.length < 4 ? scopesOf(value, [...path, key]) : [],
  )
  return countsSomething(config) ? [{ path, config }, ...inner] : inner
}

const wordsIn = (path: readonly string[]): string[] => path.flatMap((key) => wordsOf(key))

/** The nearest part of the model to which a path belongs. */
const scopeRole = (path: readonly string[]): Role => {
  for (const key of [...path].reverse()) {
    const role = roleOf(key)
    if (role !== 'text' || /(^|_)(text|llm|language)(_|$)/.test(key)) return role
  }
  return 'text'
}

/**
 * By role and words. The whole configuration counts if no part is for such a stack and it is the only stack of its
 * kind.
 */
function scopesFor(config: Config, { prefix }: Stack, list: readonly Stack[]): Scope[] {
  const role = roleOf(prefix)
  const side = sideOf(prefix)
  const all = scopesOf(config)
  const fitting = all.filter(({ path }) => {
    const other = sideOf(path.join('.'))
    return scopeRole(path) === role && (other === undefined || other === side)
  })
  const alone = list.every((stack) => roleOf(stack.prefix) !== 'text')
  const found = fitting.length > 0 ? fitting : alone ? all.filter(({ path }) => path.length === 0) : []
  const words = new Set(wordsOf(prefix))
  const score = ({ path }: Scope): number => wordsIn(path).filter((word) => words.has(word)).length
  const best = Math.max(0, ...found.map(score))
  return found.filter((scope) => scope.path.length === 0 || score(scope) === best)
}

/** A list inside the layers of another one, counted by a list: `encoder.layers.2.blocks` by `depths[2]`. */
function nestedCount(config: Config, { prefix, depth }: Stack): Count[] {
  const outer = /(?:^|\.)(\d+)\./.exec(prefix)
  if (!outer) return []
  const stage = Number(outer[1])
  return ['depths', 'block_sizes'].flatMap((key) => {
    const list = config[key]
    return Array.isArray(list) && list[stage] === depth ? [{ path: [key, stage], value: depth }] : []
  })
}

/** Where a configuration gives the number of layers of a model's stack. */
export function countsOf(config: Config, stack: Stack, list: readonly Stack[]): Counts {
  const { prefix } = stack
  if (/(^|\.)\d+\./.test(prefix)) return { scopes: [], counts: nestedCount(config, stack) }
  const found = scopesFor(config, stack, list)
  const rivals = list.filter((other) => {
    const role = roleOf(other.prefix)
    return other.prefix !== prefix && role === roleOf(prefix) && role !== 'helper' && role !== 'draft'
  })
  let sharedWith: string | undefined
  const counts = found.flatMap((scope): Count[] => {
    const { explicit, generic } = keysFor(scope.config, prefix)
    const at = (key: string): Count => ({ path: [...scope.path, key], value: scope.config[key] as number })
    const own = explicit.map(at)
    const rest = generic.map(at)
    const nested = sideOf(scope.path.join('.')) !== undefined
    const rival = nested ? undefined : rivals.find((other) => keysFor(scope.config, other.prefix).explicit.length === 0)
    const [first] = own
    if (first)
      return sideOf(prefix) === 'decoder'
        ? own
        : [...own, ...(rival ? [] : rest.filter(({ value }) => value === first.value))]
    if (rival && rest.some(({ value }) => value === rival.depth)) sharedWith = rival.prefix
    return rest
  })
  return { scopes: found, counts, ...(sharedWith === undefined ? {} : { sharedWith }) }
}

/** All keys that count layers of any stack of the model: paths, as JSON. */
export const countingKeys = (config: Config, list: readonly Stack[]): string[] =>
  scopesOf(config).flatMap(({ path, config }) => {
    const keys = list.map(({ prefix }) => keysFor(config, prefix))
    return keys
      .flatMap(({ explicit, generic }) => [...explicit, ...generic])
      .map((key) => JSON.stringify([...path, key]))
  })

/** Keys that count multi-token prediction layers after the last layer. */
const DRAFTS = /(^|_)(nextn|mtp)(_|$)/

const draftsIn = (scopes: readonly Scope[]): number =>
  Math.max(
    0,
    ...scopes.flatMap(({ config }) =>
      Object.entries(config).flatMap(([key, value]) => (DRAFTS.test(key) && isWhole(value) ? [value] : [])),
    ),
  )

/**
 * The number of layers of a stack that are the model's own: the number in the configuration, if other layers follow
 * them.
 */
export function countOf(config: Config | undefined, stack: Stack, list: readonly Stack[]): number {
  if (!config) return stack.depth
  const { counts, scopes } = countsOf(config, stack, list)
  const values = [...new Set(counts.map(({ value }) => value))]
  const [count = 0] = values
  const drafts = draftsIn(scopes)
  return values.length === 1 && count > 0 && count < stack.depth && stack.depth - count <= drafts ? count : stack.depth
}

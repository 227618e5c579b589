/** Updates every setting that refers to layers for a new order of layers, or gives the reason why it can't. */
import { plural } from '../../core/words.js'
import {
  type Config,
  type ConfigPath,
  countsSomething,
  isMapping,
  isWhole,
  NO_PART,
} from '../../networks/layerCounts.js'
import * as rules from '../../networks/layerRules.js'

export interface Edit {
  readonly path: ConfigPath
  readonly value: unknown
}

/** One layer of the output: its original index, and the same part of its model's configuration. */
export interface Origin {
  readonly layer: number
  readonly config: Config
}

export interface Follow {
  /** The number of layers that the model had, without extra layers after the last. */
  readonly depth: number
  readonly behind: number
  readonly order: readonly Origin[]
}

interface Work extends Follow {
  readonly path: ConfigPath
  readonly edits: Edit[]
  readonly problems: string[]
  /** For each original layer, the values of all updated settings. */
  readonly traits: unknown[][]
}

export interface Followed {
  readonly edits: readonly Edit[]
  readonly problems: readonly string[]
  readonly traits: readonly unknown[][]
}

const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

/** Updates one part of a configuration, except the layer counts listed in `counted`. */
export function followLayers(config: Config, at: ConfigPath, follow: Follow, counted: ReadonlySet<string>): Followed {
  const work: Work = {
    ...follow,
    path: at,
    edits: [],
    problems: [],
    traits: Array.from({ length: follow.depth }, () => []),
  }
  followMapping(config, work, counted)
  return work
}

function followMapping(config: Config, work: Work, counted: ReadonlySet<string>): undefined {
  for (const [key, value] of Object.entries(config)) {
    const path = [...work.path, key]
    if (counted.has(JSON.stringify(path))) continue
    const theirs = work.order.map((origin) => origin.config[key])
    const setting: Setting = { key, value, path, config, theirs }
    if (Array.isArray(value)) followList(value, setting, work)
    else if (typeof value === 'string') followText(value, setting, work)
    else if (typeof value === 'number') followNumber(value, setting, work)
    else if (isMapping(value)) followInner(value, setting, work)
  }
  // A layer setting that only another model's configuration has cannot be written.
  for (const { config: theirs } of new Set(work.order))
    for (const key of ['layer_types', 'layers_block_type', 'mlp_only_layers', 'hybrid_override_pattern'])
      if (theirs !== config && theirs[key] !== undefined && theirs[key] !== null && config[key] === undefined)
        lost(work, key, 'only the configuration of another slice has it')
}

interface Setting {
  readonly key: string
  readonly value: unknown
  readonly path: ConfigPath
  readonly config: Config
  /** The same setting in the configuration of each layer's model. */
  readonly theirs: readonly unknown[]
}

function lost({ problems, path }: Work, key: string, why: string): undefined {
  const text = `${[...path, key].join('.')}: ${why}`
  if (!problems.includes(text)) problems.push(text)
}

function edit(work: Work, { path, value }: Setting, next: unknown): undefined {
  if (!same(value, next)) work.edits.push({ path, value: next })
}

const unmoved = ({ order, depth }: Work, { value, theirs }: Setting): boolean =>
  order.length === depth &&
  order.every(({ layer }, index) => layer === index) &&
  theirs.every((one) => same(one, value))

/** The entry of each layer. Undefined if the length of a model's list does not fit its layers. */
function entriesOf(setting: Setting, { order }: Work, length: number): unknown[] | undefined {
  const found = order.map(({ layer }, index) => {
    const list = setting.theirs[index]
    return typeof list === 'string' || Array.isArray(list)
      ? { entry: list[layer], fits: list.length > layer }
      : undefined
  })
  const uniform = setting.theirs.every((list) => same(list, setting.value) || (list as unknown[])?.length >= 1)
  return length > 0 && uniform && found.every((one) => one?.fits) ? found.map((one) => one!.entry) : undefined
}

function mark({ traits }: Work, of: (layer: number) => unknown): undefined {
  for (const [layer, own] of traits.entries()) own.push(of(layer))
}

function followList(list: readonly unknown[], setting: Setting, work: Work): undefined {
  const { key } = setting
  if (rules.TAPS.test(key)) return followTaps(list, setting, work)
  if (rules.NOT_LAYERED.test(key) || list.length === 0) {
    if (list.length === 0 && rules.INDEXES.test(key)) followIndexes(setting, work)
    return
  }
  if (key === 'attention_types') return followCounted(setting, work)
  if (rules.INDEXES.test(key) && list.every(isWhole)) return followIndexes(setting, work)
  const { depth, behind } = work
  if (list.length === depth || (behind > 0 && list.length === depth + behind)) {
    if (key.endsWith('_layers') && isNumbering(list, depth) && !unmoved(work, setting) && list.length > 1)
      return lost(work, key, 'it may list layer numbers or hold one entry per layer')
    const entries = entriesOf(setting, work, list.length)
    if (!entries) return lost(work, key, 'the configuration of another slice has no such list')
    mark(work, (layer) => list[layer])
    return edit(work, setting, [...entries, ...list.slice(depth)])
  }
  if (rules.REPEATED.has(key)) return followRepeated(list, setting, work)
  if (!rules.SUSPECT.test(key) || unmoved(work, setting)) return
  if (/_?layers?$/.test(key) && isNumbering(list, depth)) return followIndexes(setting, work)
  const every = list.length
  if (/pattern|types?$/.test(key) && work.order.every(({ layer }, i) => same(list[layer % every], list[i % every])))
    return
  lost(work, key, `a list of ${plural(list.length, 'entry', 'entries')} for ${plural(depth, 'layer')}`)
}

/** Whether a list is an ascending list of layer numbers. */
const isNumbering = (list: readonly unknown[], depth: number): boolean =>
  list.every((one, index) => isWhole(one) && one < depth && (index === 0 || one > (list[index - 1] as number)))

/** A list of layer numbers: keeps the new positions of layers that were in their model's list. */
function followIndexes(setting: Setting, work: Work): undefined {
  const { theirs } = setting
  const lists = theirs.map(numbersOf)
  const own = numbersOf(setting.value)
  if (!own || lists.some((list) => list === undefined))
    return unmoved(work, setting)
      ? undefined
      : lost(work, setting.key, 'it is not a list of layers in the configuration of every slice')
  mark(work, (layer) => own.includes(layer))
  const next = work.order.flatMap(({ layer }, index) => (lists[index]!.includes(layer) ? [index] : []))
  const tail = own.filter((one) => one >= work.depth).map((one) => one - work.depth + work.order.length)
  const all = [...next, ...tail]
  edit(work, setting, typeof setting.value === 'string' ? all.join(',') : all)
}

const numbersOf = (value: unknown): readonly number[] | undefined =>
  Array.isArray(value) && value.every(isWhole)
    ? value
    : typeof value === 'string' && /^\d+(\s*,\s*\d+)*$/.test(value)
      ? value.split(',').map(Number)
      : undefined

/** Layers that another part reads from must keep their positions. */
function followTaps(list: readonly unknown[], setting: Setting, work: Work): undefined {
  const { order, depth } = work
  const kept = list.every((one) =>
    typeof one !== 'number'
      ? unmoved(work, setting)
      : one >= 0
        ? order.length > one && order.slice(0, one + 1).every(({ layer }, index) => layer === index)
        : -one <= depth && order.slice(one).every(({ layer }, index) => layer === depth + one + index),
  )
  if (!kept) lost(work, setting.key, 'another part of the model reads from these layers')
}

/** GPT-Neo's `[[["global", "local"], 12]]`: kinds of layers and repetition counts. */
function followCounted(setting: Setting, work: Work): undefined {
  const spread = (value: unknown): unknown[] =>
    (Array.isArray(value) ? value : []).flatMap((one) =>
      Array.isArray(one) && Array.isArray(one[0]) && isWhole(one[1]) && one[1] <= 100000
        ? Array.from({ length: one[1] }, () => one[0] as unknown[]).flat()
        : [],
    )
  const own = spread(setting.value)
  const entries = work.order.map(({ layer }, index) => spread(setting.theirs[index])[layer])
  if (own.length !== work.depth || entries.includes(undefined))
    return unmoved(work, setting) ? undefined : lost(work, setting.key, 'it does not add up to the number of layers')
  mark(work, (layer) => own[layer])
  if (!same(entries, own)) edit(work, setting, [[entries, 1]])
}

/** A list that is repeated up to the last layer. If it changes, it is written out in full. */
function followRepeated(list: readonly unknown[], setting: Setting, work: Work): undefined {
  const kind = (of: unknown, layer: number): unknown => (Array.isArray(of) ? of[layer % of.length] : undefined)
  mark(work, (layer) => kind(list, layer))
  const next = work.order.map(({ layer }, index) => kind(setting.theirs[index], layer))
  if (next.includes(undefined)) return lost(work, setting.key, 'the configuration of another slice has no such list')
  if (next.some((one, index) => !same(one, kind(list, index)))) edit(work, setting, next)
}

/** `hybrid_override_pattern` and similar settings: one letter per layer. */
function followText(text: string, setting: Setting, work: Work): undefined {
  const { key } = setting
  if (rules.NOT_LAYERED.test(key)) return
  if (rules.INDEXES.test(key) && numbersOf(text)) return followIndexes(setting, work)
  const spoken = rules.SUSPECT.test(key)
  const coded = !/type$|name|path|id$/.test(key) && (!/[a-z.\s]/.test(text) || isCode(text))
  const { depth, behind } = work
  if (
    (text.length === depth || (behind > 0 && text.length === depth + behind)) &&
    (coded || (spoken && key.includes('pattern')))
  ) {
    const entries = entriesOf(setting, work, text.length)
    if (!entries) return lost(work, key, 'the configuration of another slice has no such text')
    mark(work, (layer) => text[layer])
    return edit(work, setting, `${entries.join('')}${text.slice(depth)}`)
  }
  if (!spoken || unmoved(work, setting)) return
  if (text.length === depth && /^\w+$/.test(text) && !rules.OTHER_COUNTS.test(key) && !/type$|name|path|id$/.test(key))
    return lost(work, key, 'it may hold one letter per layer')
  if (!/pattern|layout|schedule/.test(key)) return
  if (text.length > 0 && work.order.every(({ layer }, i) => text[layer % text.length] === text[i % text.length])) return
  lost(work, key, `a string of ${plural(text.length, 'letter')} for ${plural(depth, 'layer')}`)
}

/** Lower-case letters that form a code and not a word: a few kinds, each repeated. */
const isCode = (text: string): boolean => /^[a-z]{4,}$/.test(text) && new Set(text).size * 2 <= text.length

function followNumber(value: number, setting: Setting, work: Work): undefined {
  const { key, config, theirs } = setting
  if (rules.TAPS.test(key)) return followTaps([value], setting, work)
  if (key === 'cross_layer_interval' && work.order.length !== work.depth)
    return lost(work, key, 'another stack of layers depends on this interval, and terge does not change it')
  const replaced = (rules.SUPERSEDED[key] ?? []).some(
    (other) => Array.isArray(config[other]) && (config[other] as unknown[]).length > 0,
  )
  const off = rules.SWITCHES[key] !== undefined && config[rules.SWITCHES[key]!] === false
  const numbers = theirs.map((one) => (isWhole(one) ? one : undefined))
  const threshold = rules.THRESHOLDS[key]
  if (threshold) return followThreshold(value, threshold, setting, replaced || off, work)
  const period = rules.PERIODS.find((pair) => pair.includes(key))
  if (period) return followPeriod(period, setting, replaced, work)
  const plain = rules.SUSPECT.test(key) && !rules.OTHER_COUNTS.test(key) && !rules.NOT_LAYERED.test(key)
  if ((rules.FREQUENCIES[key] === undefined && !plain) || !isWhole(value))
    return perLayerEmbeddings(value, setting, work)
  if (replaced || unmoved(work, setting) || value === 0) return
  const add = rules.FREQUENCIES[key]
  const periodic = add !== undefined || /every_n|interval|freq|frequency|period|step|pattern/.test(key)
  if (!periodic) return lost(work, key, 'it may refer to individual layers')
  // The kind of a layer depends on the remainder.
  const kind = (layer: number, by: number | undefined): unknown =>
    by === undefined || by === 0 ? undefined : add === undefined ? layer % by : (layer + add) % by === 0
  mark(work, (layer) => kind(layer, value))
  if (work.order.some(({ layer }, index) => !same(kind(layer, numbers[index]), kind(index, value))))
    lost(work, key, `it applies to one in ${value} layers, and the new order breaks this pattern`)
}

/** Embeddings whose width depends on the number of layers. */
function perLayerEmbeddings(value: number, setting: Setting, work: Work): undefined {
  if (setting.key === 'hidden_size_per_layer_input' && value > 0 && !unmoved(work, setting))
    lost(work, setting.key, 'the embeddings hold a part per layer, and terge does not cut them')
}

function followThreshold(
  value: number,
  kind: 'below' | 'through',
  setting: Setting,
  idle: boolean,
  work: Work,
): undefined {
  const below = (layer: number, by: unknown): boolean => layer < Number(by) + (kind === 'through' ? 1 : 0)
  mark(work, (layer) => below(layer, value))
  const all = work.order.map(({ layer }, index) => below(layer, setting.theirs[index]))
  const count = all.filter(Boolean).length
  const less = kind === 'through' ? 1 : 0
  if (all.slice(0, count).every(Boolean)) {
    // If all layers are of the first kind, any number from the last layer on is valid. Most models use exactly that
    // one.
    const open = value + less === work.depth ? count - less : Math.max(value, count - less)
    return edit(work, setting, count === all.length ? open : count - less)
  }
  if (idle) return value === work.depth ? edit(work, setting, work.order.length) : undefined
  lost(work, setting.key, 'the new order mixes layers of both kinds')
}

/** Tries every offset, since a range of layers may start anywhere in a period. */
function followPeriod(
  [period, offset]: readonly [string, string],
  setting: Setting,
  replaced: boolean,
  work: Work,
): undefined {
  const { config, key } = setting
  const [every, first] = [config[period], config[offset] ?? 0]
  if (key !== period || !isWhole(every) || every === 0 || !isWhole(first)) return
  const kind = (layer: number, by: Config): boolean => layer % Number(by[period]) === Number(by[offset] ?? 0)
  mark(work, (layer) => kind(layer, config))
  const wanted = work.order.map((origin) => kind(origin.layer, origin.config))
  const fits = (by: number): boolean => wanted.every((one, index) => one === (index % every === by))
  if (fits(first)) return
  const found = Array.from({ length: Math.min(every, 1000) }, (_, by) => by).find(fits)
  const at: Setting = { ...setting, path: [...work.path, offset], value: config[offset] }
  if (found !== undefined) return edit(work, at, found)
  if (!replaced) lost(work, period, `it applies to one in ${every} layers, and the new order breaks this pattern`)
}

/** Mappings with settings of the layers. Other mappings describe another part of the model. */
const INNER = /^(attn|attention|ffn|mlp|moe|ssm|mamba|linear_attn|block)_config$/

/** A mapping inside a part: entries by layer number, or settings of the layers. */
function followInner(value: Config, setting: Setting, work: Work): undefined {
  const { key, path } = setting
  const keys = Object.keys(value)
  const numbered = keys.length > 0 && keys.every((one) => /^\d+$/.test(one) && Number(one) < work.depth)
  if (numbered && !NO_PART.test(key)) {
    const entries = work.order.flatMap(({ layer }, index) => {
      const own = setting.theirs[index]
      return isMapping(own) && String(layer) in own ? [[String(index), own[String(layer)]] as const] : []
    })
    mark(work, (layer) => value[String(layer)])
    return edit(work, setting, Object.fromEntries(entries))
  }
  if (NO_PART.test(key) || countsSomething(value)) return
  if (/_config$/.test(key) && !INNER.test(key)) return
  const order = work.order.map((origin) => {
    const inner = origin.config[key]
    return { layer: origin.layer, config: isMapping(inner) ? inner : {} }
  })
  followMapping(value, { ...work, order, path }, new Set())
}

/** Updates the configuration of a model with a new order of layers, as edits of single values, or says why it can't. */

import { plural } from '../../core/words.js'
import type { Restacked, StackedLayer, Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import { type Config, type ConfigPath, countingKeys, countsOf, isMapping } from '../../networks/layerCounts.js'
import { type Stack, siteOf, stacksOf } from '../../networks/layerNames.js'
import { COUNTING_LISTS, TAPS } from '../../networks/layerRules.js'
import type { Recipe } from '../../recipe/types.js'
import { type Edit, followLayers } from './layerConfig.js'

type ConfigOf = (model: string) => Config | undefined

export interface StackedConfig {
  readonly edits: readonly Edit[]
  /** Why terge cannot update the configuration. */
  readonly problems: readonly string[]
}

/**
 * A configuration updated for the new layers of a value. Error `bad-layers`, at the step, if terge cannot update it. A
 * single file has no configuration, and is written in any case.
 */
export function withStacks(
  recipe: Recipe,
  { tensors, layers }: Value,
  config: Config,
  configOf: ConfigOf,
  faults: Faults,
): Config {
  if (!layers) return config
  const list = stacksBefore(tensors, layers)
  const edits = [...layers].flatMap(([prefix, restacked]) => {
    const found = stackedConfig(config, prefix, restacked, list, configOf)
    if (found.problems.length > 0) {
      const message = `terge can't update config.json for the new layers of ${prefix}: ${reasons(found.problems)}`
      faults.error('bad-layers', message, recipe.placeOf(restacked.at, 'key'), HINT)
    }
    return found.edits
  })
  return edits.reduce((made, { path, value }) => withValue(made, path, value) as Config, config)
}

/**
 * Warning `bad-layers` if the new layers may not fit together and no configuration is written that could show it. For
 * example, a T5 without its first block has no position biases, whatever its configuration says.
 */
export function warnOfStacks(
  recipe: Recipe,
  { tensors, layers }: Value,
  config: Config | undefined,
  configOf: ConfigOf,
  faults: Faults,
): void {
  if (!layers) return
  const list = stacksBefore(tensors, layers)
  for (const [prefix, restacked] of layers) {
    const { order, own } = restacked
    const odd = config || isWhole(order, own) ? undefined : oddLayer(order, own, traitless(own))
    const problems = config
      ? stackedConfig(config, prefix, restacked, list, configOf).problems
      : odd === undefined
        ? []
        : [odd]
    if (problems.length === 0) continue
    const message = `the new layers of ${prefix} may not fit together: ${reasons(problems)}`
    const hint = 'terge writes no config.json that describes them: write one yourself, or choose other layers'
    faults.warn('bad-layers', message, recipe.placeOf(restacked.at, 'key'), hint)
  }
}

const traitless = (own: readonly StackedLayer[]): unknown[][] => own.map(() => [])

/** The stacks of a value before their layers changed. */
function stacksBefore(tensors: Value['tensors'], layers: NonNullable<Value['layers']>): Stack[] {
  const found = stacksOf(tensors.keys()).list
  const emptied = [...layers.keys()].filter((prefix) => !found.some((stack) => stack.prefix === prefix))
  return [...found, ...emptied.map((prefix) => ({ prefix, depth: 0 }))].map((stack) => ({
    ...stack,
    depth: layers.get(stack.prefix)?.own.length ?? stack.depth,
  }))
}

const reasons = (problems: readonly string[]): string =>
  [...problems.slice(0, 3), ...(problems.length > 3 ? [`${problems.length - 3} more`] : [])].join('; ')

const HINT =
  'choose an order of layers that fits these settings, or write a single file (output: NAME.safetensors) and write config.json yourself'

function withValue(at: unknown, [key, ...rest]: ConfigPath, value: unknown): unknown {
  if (key === undefined) return value
  if (Array.isArray(at)) return at.map((one, index) => (index === key ? withValue(one, rest, value) : one))
  return isMapping(at) ? { ...at, [key]: withValue(at[key], rest, value) } : at
}

/** `list`: the stacks that the model had before. */
export function stackedConfig(
  config: Config,
  prefix: string,
  { order, own, behind }: Restacked,
  list: readonly Stack[],
  configOf: ConfigOf,
): StackedConfig {
  if (isWhole(order, own)) return { edits: [], problems: [] }
  const stack: Stack = { prefix, depth: own.length }
  const { scopes, counts, sharedWith } = countsOf(config, stack, list)
  if (sharedWith !== undefined) {
    const why = `one key counts the layers of both ${prefix} and ${sharedWith}`
    return { edits: [], problems: [why] }
  }
  const wrong = counts.filter(({ value }) => value !== own.length)
  if (
    counts.length === 0 &&
    !scopes.some((scope) => isCountedByList(scope.config, own.length)) &&
    order.length !== own.length
  )
    return { edits: [], problems: [`no key counts the layers of ${prefix}`] }
  if (wrong.length > 0) {
    const said = wrong.map(({ path, value }) => `${path.join('.')} is ${value}`).join(', ')
    return { edits: [], problems: [`${said}, but ${prefix} has ${plural(own.length, 'layer')}`] }
  }
  const edits: Edit[] = counts.flatMap(({ path }) =>
    order.length === own.length ? [] : [{ path, value: order.length }],
  )
  const counted = new Set(countingKeys(config, list))
  const problems: string[] = []
  const traits = traitless(own)
  for (const { path, config: part } of scopes) {
    const partOf = ({ model, layer }: StackedLayer) => ({
      layer,
      config: partAt(configOf(model) ?? config, path) ?? part,
    })
    const followed = followLayers(part, path, { depth: own.length, behind, order: order.map(partOf) }, counted)
    edits.push(...followed.edits)
    problems.push(...followed.problems)
    for (const [layer, found] of followed.traits.entries()) traits[layer]!.push(...found)
  }
  const names = namedLayers(config, prefix, { order, own, behind }, configOf)
  edits.push(...names.edits)
  problems.push(...names.problems, ...tapped(config, scopes, prefix, order, own))
  const odd = oddLayer(order, own, traits)
  if (odd !== undefined) problems.push(odd)
  return { edits, problems }
}

/** Some configurations count layers only by a list of layer kinds. */
const isCountedByList = (config: Config, depth: number): boolean =>
  COUNTING_LISTS.some((key) => (config[key] as { readonly length?: unknown } | null | undefined)?.length === depth)

const isWhole = (order: readonly StackedLayer[], own: readonly StackedLayer[]): boolean =>
  order.length === own.length &&
  order.every(({ model, layer }, index) => layer === own[index]!.layer && model === own[index]!.model)

function partAt(config: Config, path: ConfigPath): Config | undefined {
  let at: unknown = config
  for (const key of path) at = isMapping(at) ? at[key] : undefined
  return isMapping(at) ? at : undefined
}

/**
 * A layer that the configuration would describe wrongly: it has tensors that no original layer has, or the layers
 * differ, no setting says how, and another kind of layer was at this position.
 */
function oddLayer(
  order: readonly StackedLayer[],
  own: readonly StackedLayer[],
  traits: readonly (readonly unknown[])[],
): string | undefined {
  const forms = new Set(own.map(({ holds }) => holds))
  const strange = order.find(({ holds }) => !forms.has(holds))
  if (strange) {
    const { model, layer, holds } = strange
    const like = own.find((one) => one.layer === layer) ?? own[0]!
    return `layer ${layer} of ${model} has other tensors or shapes than the original layers (${difference(like.holds, holds)})`
  }
  if (forms.size === 1) return undefined
  const byTraits = new Map<string, string>()
  const decided = own.every(({ holds }, layer) => {
    const key = JSON.stringify(traits[layer])
    const before = byTraits.get(key)
    if (before === undefined) byTraits.set(key, holds)
    return before === undefined || before === holds
  })
  if (decided && !isStaged(own)) return undefined
  const moved = order.findIndex(({ holds }, index) => holds !== own[Math.min(index, own.length - 1)]!.holds)
  if (moved < 0) return undefined
  const wanted = own[Math.min(moved, own.length - 1)]!
  return `the layers have different tensors, and no setting describes which: layer ${moved} would change (${difference(wanted.holds, order[moved]!.holds)})`
}

/** Stages whose sizes depend on their positions: layers with inner lists of different lengths. */
function isStaged(own: readonly StackedLayer[]): boolean {
  const lengths = own.map(({ holds }) => {
    const inner = [...holds.matchAll(/(?:^| )(\w+)\.(\d+)\./g)].filter(([, list]) => !/expert/.test(list!))
    return Math.max(-1, ...inner.map(([, , number]) => Number(number)))
  })
  return new Set(lengths.filter((length) => length >= 0)).size > 1
}

/** The first tensors that only one of two layers has. */
function difference(wanted: string, found: string): string {
  const [left, right] = [wanted.split(' '), found.split(' ')]
  const lacks = left.find((one) => !right.includes(one))
  const more = right.find((one) => !left.includes(one))
  return [lacks && `without ${lacks}`, more && `with ${more}`].filter(Boolean).join(', ')
}

/** Settings outside the stack's part that name its layers, such as `vision_feature_layer`. */
function tapped(
  config: Config,
  scopes: readonly { readonly path: ConfigPath }[],
  prefix: string,
  order: readonly StackedLayer[],
  own: readonly StackedLayer[],
): string[] {
  if (!/vision|visual|image|video|audio/.test(prefix) || scopes.some(({ path }) => path.length === 0)) return []
  return Object.entries(config).flatMap(([key, value]) => {
    if (!TAPS.test(key) || value === null) return []
    const numbers = (Array.isArray(value) ? value : [value]).filter((one): one is number => typeof one === 'number')
    const keeps = numbers.every((one) =>
      one >= 0
        ? order.length >= one && order.slice(0, one + 1).every(({ layer }, index) => layer === index)
        : order.slice(one).every(({ layer }, index) => layer === own.length + one + index) && order.length >= -one,
    )
    return keeps ? [] : [`${key}: another part of the model reads from these layers`]
  })
}

/** Module names in quantization settings, which move with their layers. */
function namedLayers(
  config: Config,
  prefix: string,
  { order, own, behind }: Pick<Restacked, 'order' | 'own' | 'behind'>,
  configOf: ConfigOf,
): StackedConfig {
  const edits: Edit[] = []
  const problems: string[] = []
  const visit = (value: unknown, path: ConfigPath): void => {
    if (isMapping(value)) {
      const keys = Object.keys(value)
      if (keys.some((key) => namesLayerOf(key, prefix))) problems.push(`${path.join('.')}: it names individual layers`)
      else for (const key of keys) visit(value[key], [...path, key])
      return
    }
    if (!Array.isArray(value) || !value.every((one) => typeof one === 'string')) return
    if (!value.some((one) => namesLayerOf(one, prefix))) return
    if (value.some((one) => namesLayerOf(one, prefix) && /^re:|[*^$\\[\](){}|+?]/.test(one)))
      return void problems.push(`${path.join('.')}: its patterns name individual layers`)
    const moved = value.flatMap((one) => {
      const site = siteOf(one)
      if (!site || !namesLayerOf(one, prefix)) return [one]
      const places =
        site.layer >= own.length && site.layer < own.length + behind
          ? [site.layer - own.length + order.length]
          : order.flatMap(({ layer }, index) => (layer === site.layer ? [index] : []))
      return places.map((place) => [site.prefix, place, site.rest].filter((part) => part !== '').join('.'))
    })
    if (JSON.stringify(moved) !== JSON.stringify(value)) edits.push({ path, value: moved })
  }
  const { quantization_config: settings } = config
  visit(settings, ['quantization_config'])
  const others = new Set(order.map(({ model }) => JSON.stringify(configOf(model)?.quantization_config ?? null)))
  if (edits.length > 0 && others.size > 1)
    problems.push('quantization_config: the configurations of the slices name different modules')
  return { edits, problems }
}

/** Whether a module name is in the stack, also if one of the two has more leading parts. */
function namesLayerOf(name: string, prefix: string): boolean {
  const site = siteOf(name.replace(/^re:/, '').replaceAll('\\.', '.'))
  const own = site?.prefix.replace(/[^\w.]/g, '').replace(/^\.+|\.+$/g, '')
  return own !== undefined && own !== '' && (`.${prefix}`.endsWith(`.${own}`) || `.${own}`.endsWith(`.${prefix}`))
}

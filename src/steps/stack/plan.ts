import { philox, randomStream } from '../../core/random.js'
import { quote } from '../../core/suggest.js'
import type { Restacked, StackedLayer, Value, ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { Path, RecipeHead } from '../../language/types.js'
import { countOf } from '../../networks/layerCounts.js'
import { nameAt, type Stack, siteOf, stackAt, stacksOf } from '../../networks/layerNames.js'
import { packedOf } from '../../networks/packed.js'
import { standsBeforeLayers } from '../../networks/stack.js'
import { belongsTo, mainStack } from '../../networks/stackRoles.js'
import type { PlannedStep } from '../types.js'
import type { Shuffle, StackSaid, StackStep } from './types.js'

type Config = Readonly<Record<string, unknown>> | undefined

/**
 * Plans a stack: the layers of all slices, renumbered from 0. The step, or the tensor names of the first model,
 * determine which stack of layers is used. Tensors before these layers (embeddings) and tensors of other stacks come
 * from the model of the first slice. Tensors after them (final norm, head) come from the model of the last slice. If
 * that model lacks one, it comes from the other model. Configuration and tokenizer are those of the first model.
 * Errors: `ambiguous-layers` if the stack is not certain; `bad-layers` for a range that exceeds its model.
 */
export function planStack(
  recipe: RecipeHead,
  step: StackStep,
  values: ReadonlyMap<string, Value>,
  configOf: (model: string) => Config,
  faults: Faults,
): PlannedStep<StackSaid> {
  const given = step.slices
  const [first, last] = [given[0]!, step.shuffle ? given[0]! : given.at(-1)!].map(
    ({ model }) => values.get(model)!,
  ) as [Value, Value]
  const stack = chosenStack(recipe, step, first, faults)
  const packed = packedAlike(recipe, step, values, faults)
  if (!stack) return {}
  const slices = step.shuffle ? drawn(recipe, step, step.shuffle, values, stack.prefix, configOf, faults) : given
  if (!slices) return {}
  const found = outside(stack, first, last)
  const order: StackedLayer[] = []
  let sound = packed
  for (const { model, layers, at } of slices) {
    const value = values.get(model)!
    const [from, to] = layers
    const height = order.length
    const own = layersOf(value, stack.prefix, configOf)
    if (!own || to > own.length) {
      sound = false
      reportRange(recipe, [...at, 'layers'], { model, layers, stack, count: own?.length ?? 0 }, faults)
      continue
    }
    for (const [name, tensor] of value.tensors) {
      const site = siteOf(name, stack.prefix)
      if (site && site.layer >= from && site.layer < to)
        found.set(nameAt(stack.prefix, height + site.layer - from, site.rest), taken(tensor))
    }
    order.push(...own.slice(from, to))
  }
  if (!sound) return {}
  const whole = layersOf(first, stack.prefix, configOf)!
  // Multi-token prediction layers stay behind the last layer and get new numbers.
  for (const [name, tensor] of first.tensors) {
    const site = siteOf(name, stack.prefix)
    if (site && site.layer >= whole.length)
      found.set(nameAt(stack.prefix, site.layer - whole.length + order.length, site.rest), taken(tensor))
  }
  const tensors = new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
  const before = first.layers?.get(stack.prefix)
  const restacked: Restacked = {
    at: step.at,
    order,
    own: before?.own ?? whole,
    behind: before?.behind ?? stack.depth - whole.length,
  }
  const value: Value = {
    name: step.name,
    tensors,
    origin: first.origin,
    layers: new Map([...(first.layers ?? []), [stack.prefix, restacked]]),
    ...(first.network ? { network: first.network } : {}),
    ...(first.quantization ? { quantization: first.quantization } : {}),
  }
  if (!step.shuffle) return { value }
  const { models, weights, seed = recipe.seed } = step.shuffle
  return { value, says: { models: [...new Set(models)], seed, weights, layers: slices.map(({ model }) => model) } }
}

/** A slice of one layer for each layer: of a model that is drawn by its weight. Error: `bad-layers` for other numbers of layers. */
function drawn(
  recipe: RecipeHead,
  step: StackStep,
  { models, weights, seed = recipe.seed }: Shuffle,
  values: ReadonlyMap<string, Value>,
  prefix: string,
  configOf: (model: string) => Config,
  faults: Faults,
): StackStep['slices'] | undefined {
  const counts = models.map((model) => layersOf(values.get(model)!, prefix, configOf)?.length ?? 0)
  const [count = 0] = counts
  const other = counts.findIndex((one) => one !== count || one === 0)
  if (other >= 0) {
    const message = `${quote(models[0]!)} has ${count} layers, and ${quote(models[other]!)} has ${counts[other]}`
    faults.error('bad-layers', message, recipe.placeOf(step.at, 'key'), 'shuffle models of the same layers')
    return undefined
  }
  const sum = weights.reduce((total, weight) => total + weight, 0)
  return Array.from({ length: count }, (_, layer) => {
    const [key0, key1, c2, c3] = randomStream(seed, 'stack', `layer ${layer}`)
    const share = ((philox([0, 0, c2, c3], [key0, key1])[0] + 0.5) / 2 ** 32) * sum
    let upTo = 0
    const chosen = weights.findIndex((weight) => {
      upTo += weight
      return share < upTo
    })
    // The sum of weights may round below the share.
    const model = models[chosen >= 0 ? chosen : weights.findLastIndex((weight) => weight > 0)]!
    return { model, layers: [layer, layer + 1] as const, at: step.at }
  })
}

/** The stacks of a value, including those that have no layers left. */
function stacksIn({ tensors, layers }: Value): Stack[] {
  const { list } = stacksOf(tensors.keys())
  const empty = [...(layers?.keys() ?? [])].filter((prefix) => !list.some((stack) => stack.prefix === prefix))
  return [...list, ...empty.map((prefix) => ({ prefix, depth: 0 }))]
}

/** The stack that the step names, or the only possible one. */
function chosenStack(recipe: RecipeHead, step: StackStep, first: Value, faults: Faults): Stack | undefined {
  const list = stacksIn(first)
  const candidates = list.map(({ prefix, depth }) => `${shown(prefix)} (${depth})`).join(', ')
  const { of } = step
  if (of) {
    const named = list.find(({ prefix }) => prefix === of.prefix) ?? stackAt(first.tensors.keys(), of.prefix)
    if (named) return named
    const message = `${quote(first.name)} has no layers under ${quote(of.prefix)}`
    const hint = list.length === 0 ? 'name a model with layers' : `its stacks of layers are ${candidates}`
    faults.error('bad-layers', message, recipe.placeOf(of.at), hint)
    return undefined
  }
  const [slice] = step.slices
  if (list.length === 0) {
    const where = { model: slice!.model, layers: slice!.layers, stack: { prefix: '', depth: 0 }, count: 0 }
    reportRange(recipe, [...slice!.at, 'layers'], where, faults)
    return undefined
  }
  const main = mainStack(list)
  if (main) return main
  const hint = `write of: PREFIX next to model and layers; the stacks are ${candidates}`
  const message = `${quote(first.name)} has ${list.length} stacks of layers: choose one`
  faults.error('ambiguous-layers', message, recipe.placeOf(step.at, 'key'), hint)
  return undefined
}

const shown = (prefix: string): string => (prefix === '' ? "''" : prefix)

interface Range {
  readonly model: string
  readonly layers: readonly [number, number]
  readonly stack: Stack
  readonly count: number
}

function reportRange(
  recipe: RecipeHead,
  at: Path,
  { model, layers: [from, to], stack, count }: Range,
  faults: Faults,
): void {
  const under = stack.prefix === '' ? '' : ` under ${stack.prefix}`
  const text =
    count === 0 ? `no layers${under}` : count === 1 ? `1 layer${under}` : `${count} layers${under}, 0 to ${count - 1}`
  const hint = count === 0 ? 'name a model with layers' : `ranges are half-open: [0, ${count}] selects all layers`
  const message = `the range [${from}, ${to}] exceeds the layers of ${quote(model)}, which has ${text}`
  faults.error('bad-layers', message, recipe.placeOf(at), hint)
}

/** All tensors outside the stack, from the model that they belong to. */
function outside(stack: Stack, first: Value, last: Value): Map<string, ValueTensor> {
  const found = new Map<string, ValueTensor>()
  const list = stacksIn(first)
  const inside = (name: string): boolean => siteOf(name, stack.prefix) !== undefined
  const { of } = stacksOf(first.tensors.keys())
  for (const [name, tensor] of last.tensors) {
    if (inside(name) || standsBeforeLayers(name) || of(name)) continue
    if (belongsTo(name, stack, list)) found.set(name, taken(tensor))
  }
  for (const [name, tensor] of first.tensors) if (!inside(name) && !found.has(name)) found.set(name, taken(tensor))
  if (list.length > 1) return found
  for (const [name, tensor] of last.tensors) if (!inside(name) && !found.has(name)) found.set(name, taken(tensor))
  return found
}

/**
 * The layers of a model's stack, by the model that they come from. Without layers beyond the count in the
 * configuration.
 */
function layersOf(
  { tensors, layers, origin }: Value,
  prefix: string,
  configOf: (model: string) => Config,
): readonly StackedLayer[] | undefined {
  const before = layers?.get(prefix)
  if (before) return before.order
  const own = stackAt(tensors.keys(), prefix)
  if (!own) return undefined
  const contents: Map<string, readonly number[]>[] = Array.from({ length: own.depth }, () => new Map())
  for (const [name, { shape }] of tensors) {
    const site = siteOf(name, prefix)
    if (site) contents[site.layer]!.set(site.rest, shape)
  }
  const count = countOf(configOf(origin), own, stacksOf(tensors.keys()).list)
  return contents.slice(0, count).map((holds, layer) => ({ model: origin, layer, holds: formOf(holds) }))
}

/** The names and shapes of a layer as a string. Layers with equal strings are interchangeable. */
const formOf = (holds: ReadonlyMap<string, readonly number[]>): string =>
  [...holds]
    .map(([rest, shape]) => `${rest}[${shape.join()}]`)
    .sort()
    .join(' ')

function packedAlike(recipe: RecipeHead, step: StackStep, values: ReadonlyMap<string, Value>, faults: Faults): boolean {
  const schemes = new Map(
    step.slices.map(({ model }) => [model, [...new Set(packedOf(values.get(model)!).values())].sort().join()]),
  )
  if (new Set(schemes.values()).size <= 1) return true
  const how = [...schemes].map(([model, by]) => `${model}: ${by || 'not packed'}`).join('; ')
  const hint = 'unpack them first (transformers: model.dequantize(), then save_pretrained)'
  const message = `the models of this stack are packed differently (${how})`
  faults.error('packed-weights', message, recipe.placeOf(step.at, 'key'), hint)
  return false
}

/** The tensor as its own model makes it. Rules of other steps do not apply here. */
function taken({ rule: _, ...tensor }: ValueTensor): ValueTensor {
  return tensor.expr.kind === 'read' ? { ...tensor, reason: 'stacked' } : tensor
}

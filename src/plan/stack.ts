import { standsBeforeLayers } from '../core/stack.js'
import { quote } from '../core/suggest.js'
import type { Recipe, StackStep } from '../recipe/types.js'
import { layerCount, layerOf, withLayer } from './layers.js'
import { packedOf } from './packed.js'
import type { Faults } from './report.js'
import type { Value, ValueTensor } from './values.js'

/**
 * A stack as a value: the slices' layers on each other, renumbered from 0. What stands before the layers (embeddings)
 * comes from the first slice's model, what stands after them (final norm, head) from the last one's; where that model
 * lacks such a tensor, the other's is taken. Config and tokenizer are those of the first slice's model.
 * Fault: `bad-layers` for a range beyond its model.
 */
export function planStack(
  recipe: Recipe,
  step: StackStep,
  values: ReadonlyMap<string, Value>,
  faults: Faults,
): Value | undefined {
  const { slices } = step
  const [first, last] = [slices[0]!, slices.at(-1)!].map(({ model }) => values.get(model)!) as [Value, Value]
  const found = new Map<string, ValueTensor>()
  for (const own of [last, first]) {
    for (const [name, tensor] of own.tensors)
      if (layerOf(name) === undefined && (!found.has(name) || standsBeforeLayers(name) === (own === first)))
        found.set(name, taken(tensor))
  }
  const layers: number[] = []
  let sound = true
  for (const {
    model,
    layers: [from, to],
    at,
  } of slices) {
    const { tensors, layers: below } = values.get(model)!
    const count = layerCount(tensors.keys())
    if (to > count) {
      sound = false
      const message = `the range [${from}, ${to}] goes beyond ${quote(model)}, which has ${countText(count)}`
      const hint = count === 0 ? 'name a model with layers' : `ranges are half-open: [0, ${count}] are all of them`
      faults.error('bad-layers', message, recipe.placeOf([...at, 'layers']), hint)
      continue
    }
    for (const [name, tensor] of tensors) {
      const layer = layerOf(name)
      if (layer === undefined || layer < from || layer >= to) continue
      found.set(withLayer(name, layers.length + layer - from), taken(tensor))
    }
    for (let layer = from; layer < to; layer++) layers.push(below?.[layer] ?? layer)
  }
  const schemes = new Map(
    slices.map(({ model }) => [model, [...new Set(packedOf(values.get(model)!).values())].sort().join()]),
  )
  if (new Set(schemes.values()).size > 1) {
    const how = [...schemes].map(([model, by]) => `${model}: ${by || 'not packed'}`).join('; ')
    const hint = 'unpack them first (transformers: model.dequantize(), then save_pretrained)'
    faults.error(
      'packed-weights',
      `layers of models that are packed differently (${how})`,
      recipe.placeOf(step.at, 'key'),
      hint,
    )
    sound = false
  }
  if (!sound) return undefined
  const tensors = new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
  return {
    name: step.name,
    tensors,
    origin: first.origin,
    layers,
    ...(first.quantization ? { quantization: first.quantization } : {}),
  }
}

const countText = (count: number): string =>
  count === 0 ? 'no layers' : count === 1 ? '1 layer' : `${count} layers, 0 to ${count - 1}`

/** As it came about in its own model. The rule that made it was another step's. */
function taken({ rule: _, ...tensor }: ValueTensor): ValueTensor {
  return tensor.expr.kind === 'read' ? { ...tensor, reason: 'taken from its layer' } : tensor
}

/** Keys under which configurations count layers. */
const COUNTS = [
  'num_hidden_layers',
  'n_layer',
  'n_layers',
  'num_layers',
  'num_decoder_layers',
  'encoder_layers',
  'decoder_layers',
]
/** Keys of lists with one entry a layer. */
const LISTS = [
  'layer_types',
  'layers_block_type',
  'mlp_layer_types',
  'attention_layers',
  'block_types',
  'layer_norm_types',
  'no_rope_layers',
]
/** Keys of lists of layers. */
const INDEXES = ['mlp_only_layers', 'moe_layers', 'cross_attention_layers', 'attn_layer_indices']
/** Where a model of several parts keeps the configuration of its language model. */
const NESTED = ['text_config', 'llm_config', 'language_config']

type Config = Readonly<Record<string, unknown>>

/** The configuration with the number of layers that a stack has, and its lists of one entry a layer made to follow. */
export function stackedConfig(config: Config, layers: readonly number[]): Config {
  const changed: Record<string, unknown> = { ...config }
  for (const key of COUNTS) if (typeof config[key] === 'number') changed[key] = layers.length
  const total = COUNTS.map((key) => config[key]).find((count) => typeof count === 'number')
  // From which layer on attention has a window: most often none.
  if (typeof total === 'number' && config.max_window_layers === total) changed.max_window_layers = layers.length
  for (const key of INDEXES) {
    const list = config[key]
    if (Array.isArray(list)) changed[key] = layers.flatMap((layer, index) => (list.includes(layer) ? [index] : []))
  }
  for (const key of LISTS) {
    const list = config[key]
    if (Array.isArray(list) && layers.every((layer) => layer < list.length))
      changed[key] = layers.map((layer) => list[layer])
  }
  if (COUNTS.some((key) => typeof config[key] === 'number')) return changed
  for (const key of NESTED) {
    const inner = config[key]
    if (typeof inner === 'object' && inner !== null && !Array.isArray(inner))
      changed[key] = stackedConfig(inner as Config, layers)
  }
  return changed
}

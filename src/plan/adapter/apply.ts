import type { Checkpoint } from '../../checkpoints/types.js'
import { isFloat } from '../../core/dtypes.js'
import { nearest, quote } from '../../core/suggest.js'
import type { Recipe } from '../../recipe/types.js'
import { packedOf, refusePacked } from '../packed.js'
import type { Faults } from '../report.js'
import { HEAD, tiesHead } from '../tied.js'
import type { ReadExpr } from '../types.js'
import { sameShape, type Value, type ValueTensor } from '../values.js'
import { type AdapterSettings, readAdapterConfig } from './config.js'
import { type Counting, counting } from './counting.js'
import { type AdapterTensors, adapterTensors } from './tensors.js'
import { finder, updated } from './update.js'

/**
 * Applies the adapters that models name (`lora`): W + scale · lora_scale · B·A for each of an adapter's modules, and tensors that
 * it saved whole in the place of the base's. Nothing of an adapter is left out: what does not fit is a fault at `lora`.
 * Faults: those of `readAdapterConfig`, `adapterTensors` and `updated`; `no-adapter`, `adapter-target`.
 */
export function applyAdapters(
  recipe: Recipe,
  values: Map<string, Value>,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  faults: Faults,
): void {
  for (const [name, value] of values) {
    const { lora, loraScale = 1, at } = recipe.models.get(name)!
    if (lora === undefined) continue
    const complain = counting(faults, lora, recipe.placeOf([...at, 'lora']))
    const { adapter } = checkpoints.get(lora)!
    const tied = tiesHead(checkpoints.get(name)?.config)
    const settings = adapter && readAdapterConfig(adapter, complain)
    const found = adapter && adapterTensors(values.get(lora)!.tensors, complain)
    if (!adapter)
      complain.error(
        'no-adapter',
        'there is no adapter_config.json, and so nothing says how to scale the update',
        'name the folder of a PEFT adapter, or a file that has its adapter_config.json beside it',
      )
    if (settings && found && !isPacked(recipe, value, found, faults))
      values.set(name, { ...value, tensors: applied(value, found, settings, loraScale, tied, complain) })
    complain.close()
  }
}

/** Whether an adapter updates packed weights: nothing can be added to those. */
function isPacked(recipe: Recipe, value: Value, { updates }: AdapterTensors, faults: Faults): boolean {
  const packed = packedOf(value)
  if (packed.size === 0) return false
  // Under the names that they would have unpacked, which may lack the prefix.
  const find = finder(new Map([...packed.keys()].map((name) => [name, undefined])))
  const name = updates.map(({ module }) => find(`${module}.weight`)).find((found) => found !== undefined)
  if (name !== undefined) refusePacked(recipe, value, packed, name, recipe.models.get(value.name)!.at, faults)
  return name !== undefined
}

function applied(
  base: Value,
  { updates, biases, replaced }: AdapterTensors,
  settings: AdapterSettings,
  loraScale: number,
  tied: boolean,
  complain: Counting,
): Value['tensors'] {
  const tensors = new Map(base.tensors)
  const find = finder(tensors)
  const target = (name: string): string | undefined => {
    const own = find(name)
    if (own === undefined) {
      const near = complain.heard('adapter-target') ? [] : nearest(name, tensors.keys(), 2)
      complain.error(
        'adapter-target',
        `it changes ${quote(name)}, which the model does not have`,
        HEAD.test(name) && tied
          ? 'the model ties its head to its embedding and stores none: save it with a head of its own (tie_word_embeddings: false)'
          : near.length > 0
            ? `the model has ${near.map(quote).join(' and ')}`
            : 'it was made for another base',
      )
    }
    return own
  }
  const change = (name: string, tensor: ValueTensor): void => {
    const { reason: _, ...rest } = tensor
    tensors.set(name, rest)
  }
  for (const [name, tensor] of replaced) {
    const own = target(name)
    if (own === undefined) continue
    const before = tensors.get(own)!
    if (!sameShape(before.shape, tensor.shape))
      complain.warn(
        'adapter-resizes',
        `it has ${own} with shape [${tensor.shape.join(', ')}], and the model with [${before.shape.join(', ')}]`,
        'a vocabulary that grew: config and tokenizer are still the model’s',
      )
    tensors.set(own, tensor)
  }
  if (replaced.size > 0 && loraScale !== 1)
    complain.warn(
      'lora-scale',
      `lora_scale is not for the ${replaced.size} tensors that the adapter saved whole: they take the place of the model's`,
    )
  for (const update of updates) {
    const own = target(`${update.module}.weight`)
    const expr = own === undefined ? undefined : updated(tensors.get(own)!, update, settings, loraScale, complain)
    if (expr && expr.scale !== 0) change(own!, { ...tensors.get(own!)!, expr })
  }
  for (const { module, tensor } of biases) {
    const own = target(`${module}.bias`)
    if (own === undefined) continue
    const { shape, expr } = tensors.get(own)!
    const scale = loraScale * settings.scale(module)
    if (!sameShape(shape, tensor.shape) || !isFloat(tensor.dtype) || expr.kind !== 'read')
      complain.error('adapter-shape', `its bias of ${module} does not fit the model's [${shape.join(', ')}]`)
    else if (scale !== 0) {
      const right = { read: tensor.expr as ReadExpr, byRank: true }
      change(own, { ...tensors.get(own)!, expr: { kind: 'lora', base: expr, shape, rank: 1, scale, right } })
    }
  }
  return tensors
}

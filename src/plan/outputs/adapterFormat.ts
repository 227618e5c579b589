/** The format of an adapter that is written: PEFT's, or that of sd-scripts (kohya). */
import { kohyaNames } from '../../adapters/kohya/names.js'
import { OUTPUT } from '../../checkpoints/containers/index.js'
import { quote } from '../../core/suggest.js'
import { agree, plural } from '../../core/words.js'
import type { AdapterModule, Value, ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { OutputSpec, Recipe } from '../../recipe/types.js'

/**
 * An adapter in the format of the output: with `format: kohya`, its modules have the names of sd-scripts, and alpha is a tensor
 * instead of a setting. Error: `adapter-format`.
 */
export function inAdapterFormat(recipe: Recipe, spec: OutputSpec, value: Value, faults: Faults): Value {
  const { adapterFormat } = value
  const { format = adapterFormat } = spec
  if (format === undefined) return value
  const refuse = (message: string, hint: string): Value => {
    faults.error('adapter-format', message, recipe.placeOf([...spec.at, 'format']), hint)
    return value
  }
  if (adapterFormat && format === 'peft')
    return refuse(
      `the names of ${spec.from} are those of sd-scripts, in which dots are lost, so that PEFT’s names are unknown`,
      'remove format: the output has the format of the adapters',
    )
  const { modules } = value
  // An unchanged adapter of this format.
  if (!modules && adapterFormat === format) return value
  if (!modules)
    return refuse(
      `${spec.from} is not a merge of adapters or an extraction with plain factors A and B, so it has no other format`,
      'remove format; to convert an adapter of plain factors, write it through merge: {method: passthrough, models: [NAME]}; of other kinds, with a rank: {method: linear, models: [NAME], rank: N}',
    )
  if (format === 'peft') return value
  const names = kohyaNames(modules.map(({ module }) => module))
  const unnamed = modules.filter(({ module, kind }) => kind === 'other' || names.get(module) === undefined)
  if (unnamed.length > 0)
    return refuse(
      `sd-scripts has no name for ${plural(unnamed.length, 'module')} of the adapter, such as ${unnamed[0]!.module}`,
      'write format: peft. Names exist for the U-Nets and text encoders of Stable Diffusion in the form of diffusers, and for Flux in its original form',
    )
  const used = new Set(modules.flatMap(({ a, b }) => [a, b]))
  const beside = [...value.tensors].filter(([name]) => BESIDE.test(name))
  const others = [...value.tensors.keys()].filter((name) => !used.has(name) && !BESIDE.test(name))
  if (others.length > 0)
    return refuse(
      `the adapter has ${plural(others.length, 'tensor')} that ${agree(others.length, 'is', 'are')} not a factor, such as ${others[0]}, which a file of sd-scripts can’t hold`,
      `remove modules_to_save or lora_bias, or exclude the tensor: exclude: [${quote(others[0]!)}]`,
    )
  const factors = modules.flatMap((module) => kohyaTensors(value, names.get(module.module)!, module))
  const tensors = [...factors, ...beside]
  return { ...value, tensors: new Map(tensors.sort(([a], [b]) => (a < b ? -1 : 1))) }
}

/** Differences of vectors and norms of DoRA, which have their names in LyCORIS already. */
const BESIDE = /^(lora_(unet|te\d?|transformer)|lycoris)_[^.]+\.(diff_b|w_norm|b_norm|dora_scale)$/

function kohyaTensors(
  { name: step, tensors }: Value,
  name: string,
  { a, b, rank, scale }: AdapterModule,
): (readonly [string, ValueTensor])[] {
  const alpha: ValueTensor = {
    dtype: 'F32',
    shape: [],
    expr: { kind: 'constant', step, value: scale * rank, shape: [] },
  }
  return [
    [`${name}.alpha`, alpha],
    [`${name}.lora_down.weight`, tensors.get(a)!],
    [`${name}.lora_up.weight`, tensors.get(b)!],
  ]
}

/** Warnings: `unused-key` for sizes of shards, `adapter-config` for an adapter without its configuration. */
export function warnOfOneFile(
  { recipe, faults }: { readonly recipe: Recipe; readonly faults: Faults },
  spec: OutputSpec,
  single: boolean,
  adapter: 'peft' | 'kohya' | undefined,
): void {
  if ((single || adapter) && spec.shardSize !== undefined) {
    const hint = single ? `remove it, or write a folder: a path without ${OUTPUT.extension}` : 'remove it'
    faults.warn(
      'unused-key',
      `shard_size does not apply to ${single ? 'a single file' : 'an adapter, which is a single file'}`,
      recipe.placeOf([...spec.at, 'shard_size'], 'key'),
      hint,
    )
  }
  if (single && adapter === 'peft')
    faults.warn(
      'adapter-config',
      'an adapter in a single file has no adapter_config.json, which says how to scale it',
      recipe.placeOf([...spec.at, 'path']),
      `write a folder: a path without ${OUTPUT.extension}`,
    )
}

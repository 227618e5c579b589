import { ownValue } from '../../core/collections/ownValue.js'
import { Fault, fault } from '../../core/diagnostics.js'
import { didYouMean } from '../../core/suggest.js'
import type { Spec } from '../spec.js'
import type { TensorSource } from '../weights.js'
import { type Builder, createBuilder } from './builder.js'
import { describeNetwork, hasBlocks } from './network.js'
import { describe, FAMILIES } from './transformers.js'

export interface Inferred {
  /** `llama`, `gpt2`, `bert`, `vit`, `timm-vit`, `t5`, `resnet` or `chain`. */
  readonly family: string
  readonly spec: Spec
}

/** Family names that `spec` accepts besides `auto`. */
export const FAMILY_NAMES: readonly string[] = [...FAMILIES.map(({ name }) => name), 'resnet', 'chain']

/** Other names of a family, as in `model_type` of configs. */
const ALIASES: Readonly<Record<string, string>> = {
  starcoder2: 'llama',
  stablelm: 'llama',
  phi: 'llama',
  opt: 'llama',
  olmo: 'llama',
  olmoe: 'llama',
  cohere: 'llama',
  granite: 'llama',
  gemma3: 'llama',
  mt5: 't5',
  camembert: 'bert',
  'xlm-roberta': 'bert',
  electra: 'bert',
  mistral: 'llama',
  mixtral: 'llama',
  qwen2: 'llama',
  qwen3: 'llama',
  qwen2_moe: 'llama',
  gemma: 'llama',
  gemma2: 'llama',
  phi3: 'llama',
  olmo2: 'llama',
  roberta: 'bert',
  vgg: 'chain',
  mlp: 'chain',
  deit: 'vit',
}

/**
 * Infers the permutation spec of a model from the names and shapes of its tensors and its config. `kept` lists what cannot be
 * permuted safely, with the reason. Errors: `spec-family`, and `spec-unknown` if no family fits.
 */
export function inferSpec(source: Pick<TensorSource, 'tensors' | 'config'>, family = 'auto'): Inferred {
  const { tensors, config } = source
  const names = [...tensors.keys()]
  const wanted = ownValue(ALIASES, family) ?? family
  const builder = createBuilder(tensors)
  const transformer = FAMILIES.find(
    ({ name, sign }) => (wanted === 'auto' || wanted === name) && names.some((tensor) => sign.test(tensor)),
  )
  if (transformer) {
    describe(transformer, builder, config)
    return { family: transformer.name, spec: finished(builder, transformer.name) }
  }
  const blocks = wanted !== 'chain' && hasBlocks(builder)
  if (wanted === 'auto' || wanted === 'chain' || (wanted === 'resnet' && blocks)) {
    describeNetwork(builder, wanted === 'chain')
    return { family: blocks ? 'resnet' : 'chain', spec: finished(builder, blocks ? 'resnet' : 'chain') }
  }
  if (FAMILY_NAMES.includes(wanted))
    throw fault(
      'spec-family',
      `the model has no tensors of the ${family} family`,
      'use spec: auto to detect the family',
    )
  throw fault(
    'spec-family',
    `there is no family ${JSON.stringify(family)}`,
    didYouMean(family, ['auto', ...FAMILY_NAMES, ...Object.keys(ALIASES)], 'families'),
  )
}

/** Error `spec-unknown` if a network has the names of a family but other shapes. */
function finished(builder: Builder, family: string): Spec {
  try {
    return builder.finish()
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    throw fault(
      'spec-unknown',
      `no permutation spec can be inferred: the tensor names match the ${family} family, but ${error.diagnostics[0]!.message}`,
      'write the spec in the recipe or in a file, or use an ONNX export: spec: model.onnx',
    )
  }
}

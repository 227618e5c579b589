/** `adapter_config.json` in PEFT's form. */

import type { Value } from '../../expr/values.js'
import { hubParts } from '../../language/names.js'
import type { RecipeHead } from '../../language/types.js'
import { type AdaptedLayer, loadableTask, moduleOf, targetNames } from '../../networks/modules.js'
import { type Parameter, parameterNames } from './parameters.js'
import type { ExtractStep } from './types.js'

export type AdapterConfig = Readonly<Record<string, unknown>>

/** PEFT finds tied modules by these names, and warns if there are none. */
const TIED_BY_NAME = /(^|\.)(embed_tokens|lm_head)$/

/** The version of PEFT whose form parameters have. */
const PEFT = '0.21.0'

interface Layer {
  readonly module: string
  readonly tensor: string
  readonly layer: AdaptedLayer
  readonly parameter?: Parameter
  readonly rank: number
}

/**
 * PEFT's task types, by the end of the class name of the model. Models from sequence to sequence have none: what PEFT 0.21 wraps them
 * in for theirs needs a method that transformers 5 has no more, and without one PEFT computes the same.
 */
const TASKS: readonly (readonly [RegExp, string])[] = [
  [/(ForCausalLM|LMHeadModel)$/, 'CAUSAL_LM'],
  [/ForSequenceClassification$/, 'SEQ_CLS'],
  [/ForTokenClassification$/, 'TOKEN_CLS'],
  [/ForQuestionAnswering$/, 'QUESTION_ANS'],
]

export function taskOf(config: Readonly<Record<string, unknown>> | undefined): string | null {
  const [name] = Array.isArray(config?.architectures) ? (config.architectures as unknown[]) : []
  if (typeof name !== 'string') return null
  return TASKS.find(([pattern]) => pattern.test(name))?.[1] ?? null
}

/**
 * The base model for PEFT: a hub repository, or the path in the recipe. For the result of a step: the path of its
 * output.
 */
export function baseOf(recipe: RecipeHead, name: string): { path: string | null; revision: string | null } {
  const source = recipe.models.get(name)
  if (!source) return { path: recipe.outputs.find(({ from }) => from === name)?.path ?? null, revision: null }
  return { path: hubParts(source.reference)?.repository ?? source.reference, revision: source.revision ?? null }
}

/** How an adapter has biases of adapted layers: not at all, as a change in each layer, or as they are. */
export type KeptBiases = 'none' | 'changes' | 'whole'

/** `whole`: modules that are saved in full, and all tensors in full. `config`: the configuration of the base. */
export function adapterConfig(
  recipe: RecipeHead,
  { base: name }: ExtractStep,
  { rank, alpha }: { readonly rank: number; readonly alpha: number },
  layers: readonly Layer[],
  whole: { readonly modules: readonly string[]; readonly tensors: ReadonlySet<string>; readonly tied: boolean },
  biases: KeptBiases,
  base: Value,
  config: Readonly<Record<string, unknown>> | undefined,
): AdapterConfig {
  const weights = [...base.tensors.keys()].filter((tensor) => moduleOf(tensor).part === 'weight')
  const modules = weights.map((tensor) => moduleOf(tensor).module)
  const smaller = layers.filter((layer) => layer.rank !== rank)
  const byModule = (value: (layer: Layer) => number) =>
    Object.fromEntries(smaller.map((layer) => [layer.parameter ? layer.tensor : layer.module, value(layer)]))
  const parameters = layers.filter(({ parameter }) => parameter).map(({ tensor }) => tensor)
  const { path, revision } = baseOf(recipe, name)
  return {
    // The scale, alpha over rank, is the same for all layers.
    alpha_pattern: byModule((layer) => (alpha * layer.rank) / rank),
    auto_mapping: null,
    base_model_name_or_path: path,
    bias: biases === 'whole' ? 'lora_only' : 'none',
    ...(whole.tied && whole.modules.some((name) => TIED_BY_NAME.test(name)) ? { ensure_weight_tying: true } : {}),
    fan_in_fan_out: layers.some(({ layer, parameter }) => !parameter && layer.kind === 'linear' && layer.turned),
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: alpha,
    // Older versions of PEFT reject keys that they do not know.
    ...(biases === 'changes' ? { lora_bias: true } : {}),
    lora_dropout: 0,
    modules_to_save: whole.modules.length > 0 ? whole.modules : null,
    peft_type: 'LORA',
    // It says how matrices of a stack are stored.
    ...(parameters.length > 0 ? { peft_version: PEFT } : {}),
    r: rank,
    rank_pattern: byModule((layer) => layer.rank),
    revision,
    target_modules: targetNames(
      layers.filter(({ parameter }) => !parameter).map(({ module }) => module),
      modules,
    ),
    ...(parameters.length > 0 ? { target_parameters: parameterNames(parameters, base.tensors.keys()) } : {}),
    task_type: loadableTask(taskOf(config), base.tensors.keys(), whole.tensors),
    use_dora: false,
    use_rslora: false,
  }
}

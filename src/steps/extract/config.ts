/** `adapter_config.json`, as PEFT writes and reads it. */

import type { Value } from '../../expr/values.js'
import { hubParts } from '../../language/names.js'
import type { RecipeHead } from '../../language/types.js'
import { type AdaptedLayer, moduleOf, targetNames } from '../../networks/modules.js'
import type { ExtractStep } from './types.js'

export type AdapterConfig = Readonly<Record<string, unknown>>

interface Layer {
  readonly module: string
  readonly layer: AdaptedLayer
  readonly rank: number
}

/** PEFT's names of what a network is for, by the ends of its class's name. */
const TASKS: readonly (readonly [RegExp, string])[] = [
  [/(ForCausalLM|LMHeadModel)$/, 'CAUSAL_LM'],
  [/ForConditionalGeneration$/, 'SEQ_2_SEQ_LM'],
  [/ForSequenceClassification$/, 'SEQ_CLS'],
  [/ForTokenClassification$/, 'TOKEN_CLS'],
  [/ForQuestionAnswering$/, 'QUESTION_ANS'],
]

function taskOf(config: Readonly<Record<string, unknown>> | undefined): string | null {
  const [name] = Array.isArray(config?.architectures) ? (config.architectures as unknown[]) : []
  if (typeof name !== 'string') return null
  const task = TASKS.find(([pattern]) => pattern.test(name))?.[1] ?? null
  // Models that see and read are called so too, and generate as language models do.
  return task === 'SEQ_2_SEQ_LM' && config?.is_encoder_decoder !== true ? null : task
}

/** Where a reader finds the base: a repository on the hub, or the path as the recipe writes it; a step's where an output has it. */
function baseOf(recipe: RecipeHead, name: string): { path: string | null; revision: string | null } {
  const source = recipe.models.get(name)
  if (!source) return { path: recipe.outputs.find(({ from }) => from === name)?.path ?? null, revision: null }
  return { path: hubParts(source.reference)?.repository ?? source.reference, revision: source.revision ?? null }
}

/** `saved`: tensors that stand in the adapter whole. `config`: the base's. */
export function adapterConfig(
  recipe: RecipeHead,
  { base: name, rank, alpha, loraBias }: ExtractStep,
  layers: readonly Layer[],
  saved: readonly string[],
  base: Value,
  config: Readonly<Record<string, unknown>> | undefined,
): AdapterConfig {
  const weights = [...base.tensors.keys()].filter((tensor) => moduleOf(tensor).part === 'weight')
  const modules = weights.map((tensor) => moduleOf(tensor).module)
  const smaller = layers.filter((layer) => layer.rank !== rank)
  const byModule = (value: (layer: Layer) => number) =>
    Object.fromEntries(smaller.map((layer) => [layer.module, value(layer)]))
  const whole = [...new Set(saved.map((tensor) => moduleOf(tensor).module))].sort()
  const { path, revision } = baseOf(recipe, name)
  return {
    // The scale, alpha over rank, is the same everywhere.
    alpha_pattern: byModule((layer) => (alpha * layer.rank) / rank),
    auto_mapping: null,
    base_model_name_or_path: path,
    bias: 'none',
    fan_in_fan_out: layers.some(({ layer }) => layer.kind === 'linear' && layer.turned),
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: alpha,
    // Readers before it refuse a key that they don't know.
    ...(loraBias ? { lora_bias: true } : {}),
    lora_dropout: 0,
    modules_to_save: whole.length > 0 ? whole : null,
    peft_type: 'LORA',
    r: rank,
    rank_pattern: byModule((layer) => layer.rank),
    revision,
    target_modules: targetNames(
      layers.map(({ module }) => module),
      modules,
    ),
    task_type: taskOf(config),
    use_dora: false,
    use_rslora: false,
  }
}

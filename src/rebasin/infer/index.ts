import { ownValue } from '../../core/collections/ownValue.js'
import { Fault, fault } from '../../core/diagnostics.js'
import { didYouMean } from '../../core/suggest.js'
import { forwardNetwork } from '../forward/index.js'
import { type KnownModules, knownModules } from '../forward/modules.js'
import { hasRecurrent, recurrentChain } from '../forward/recurrent.js'
import type { Shapes, Spec } from '../spec.js'
import type { TensorSource } from '../weights.js'
import { type Builder, createBuilder } from './builder.js'
import { type NamedNetwork, namedNetwork } from './named/index.js'
import { describeNetwork, hasBlocks } from './network.js'
import { describe, FAMILIES } from './transformers/index.js'

export interface Inferred {
  /** One of `FAMILY_NAMES`, or a known network such as `resnet18`. */
  readonly family: string
  /** If it is an assumption as a whole: as far as names and shapes tell. */
  readonly spec: Spec
  readonly assumed?: Assumption
}

/** What only names and shapes say: a network that computes something else can have the same ones. */
export interface Assumption {
  /** The layers, or the tensors beside a known network. */
  readonly layers: readonly string[]
  /** What the user can write to confirm it. Absent if the spec has certain parts only, and the layers are not in it. */
  readonly as?: 'chain' | 'resnet'
}

/** Why an assumed group stays, for the plan and the lineage. */
const ASSUMED = 'names and shapes alone do not say how these layers are connected'

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
  dinov2: 'vit',
  gpt_bigcode: 'gpt2',
  mbart: 'bart',
  siglip: 'clip',
  falcon_mamba: 'mamba',
  deepseek_v2: 'deepseek',
  deepseek_v3: 'deepseek',
}

/**
 * Infers the permutation spec of a model from the names and shapes of its tensors and its config. `kept` lists what cannot be
 * permuted safely, with the reason. Errors: `spec-family`, and `spec-unknown` if no family fits.
 */
export function inferSpec(source: Pick<TensorSource, 'tensors' | 'config'>, family = 'auto'): Inferred {
  const { tensors, config } = source
  const names = [...tensors.keys()]
  const wanted = ownValue(ALIASES, family) ?? family
  // It has read every tensor, so nothing is more certain. A known network may have another one as a part.
  const whole = wanted === 'auto' ? forwardNetwork(tensors, config) : undefined
  if (whole) return { family: whole.name, spec: whole.spec }
  const builder = createBuilder(tensors)
  const transformer = FAMILIES.find(
    ({ name, sign, fits }) =>
      (wanted === 'auto' || wanted === name) &&
      names.some((tensor) => sign.test(tensor)) &&
      fits?.(tensors, config) !== false,
  )
  if (transformer) {
    describe(transformer, builder, config)
    return { family: transformer.name, spec: finished(builder, transformer.name) }
  }
  const named = wanted === 'auto' ? namedNetwork(tensors) : undefined
  if (named) return describeNamed(named)
  const modules = wanted === 'auto' ? knownModules(tensors, config) : undefined
  if (modules) return describeModules(modules)
  if ((wanted === 'auto' || wanted === 'chain') && hasRecurrent(tensors)) return describeRecurrent(tensors, wanted)
  const blocks = wanted !== 'chain' && hasBlocks(builder)
  if (wanted === 'auto' || wanted === 'chain' || (wanted === 'resnet' && blocks)) {
    const { layers } = describeNetwork(builder, wanted === 'chain')
    const as = blocks ? 'resnet' : 'chain'
    return { family: as, spec: finished(builder, as), ...(wanted === 'auto' ? { assumed: { layers, as } } : {}) }
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

/** Inside of modules of torch.nn, all is certain; the other layers stay. */
function describeModules({ spec, rest }: KnownModules): Inferred {
  const kept = { ...spec.kept, ...Object.fromEntries(rest.map((name) => [name, ASSUMED])) }
  return { family: 'torch-modules', spec: { ...spec, kept }, ...(rest.length > 0 ? { assumed: { layers: rest } } : {}) }
}

function describeRecurrent(shapes: Shapes, wanted: string): Inferred {
  const found = recurrentChain(shapes)
  if ('problem' in found)
    throw fault(
      'spec-unknown',
      `no permutation spec can be inferred: ${found.problem}`,
      'write the spec in the recipe or in a file, or use an ONNX export: spec: model.onnx',
    )
  const layers = [...shapes.keys()].filter((name) => !/bias/.test(name))
  return { family: 'chain', spec: found.spec, ...(wanted === 'auto' ? { assumed: { layers, as: 'chain' } } : {}) }
}

/** Other layers beside a known network may read what goes between its blocks. */
function describeNamed({ name, shapes, rest }: NamedNetwork): Inferred {
  const builder = createBuilder(shapes)
  const { streams } = describeNetwork(builder, false)
  if (rest.length === 0) return { family: name, spec: finished(builder, name) }
  for (const stream of streams)
    builder.keep(stream, `other layers may read it, and terge does not know how they are connected with the ${name}`)
  for (const tensor of rest) builder.keep(tensor, ASSUMED)
  return { family: name, spec: finished(builder, name), assumed: { layers: rest } }
}

/** The part of an inferred spec that is certain. */
export function certainPart({ spec, assumed }: Inferred): Spec {
  if (assumed?.as === undefined) return spec
  const assumptions = Object.keys(spec.groups).map((group) => [group, ASSUMED])
  return { groups: {}, parts: [], kept: { ...spec.kept, ...Object.fromEntries(assumptions) } }
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

/** Opens and describes single models, and infers their permutation specs. Reads only headers. */
import { changedModules } from '../adapters/peft/names.js'
import type { Checkpoint } from '../checkpoints/types.js'
import { type Dtype, elements } from '../core/dtypes.js'
import { stacksOf } from '../networks/layerNames.js'
import { packedOf, quantizationOf } from '../networks/packed.js'
import { groupsLine, keptLines, sizeText } from '../rebasin/describe.js'
import { type Assumption, inferSpec } from '../rebasin/infer/index.js'
import { readSpec, type Spec, type SpecText, writeSpec } from '../rebasin/spec.js'
import { storedBytes } from '../views/ranges.js'
import type { View } from '../views/types.js'
import { type FetchOptions, fetchModels, openNamed } from './opened/models.js'

/**
 * Opens a model's headers: a path, relative to the working folder, `hf:org/name@revision`, or `s3://bucket/prefix`. Shapes are in elements, sizes in
 * bytes. Reads no tensor data.
 *
 * @throws `missing-model` if there is no such file or folder
 * @throws `no-weights` if a folder holds no weights, and other codes of the section "Models and files" for damaged files
 * @throws codes of the section "Hub", such as `hub-not-found`, for models on the hub
 */
export const inspect = async (reference: string): Promise<Checkpoint> => (await openNamed(reference)).checkpoint

/** Opens a model's headers, and downloads a model from the hub, so that its tensors can be read. */
export async function obtain(reference: string, options: FetchOptions = {}): Promise<Checkpoint> {
  const model = await openNamed(reference)
  await fetchModels([[reference, model]], options)
  return model.checkpoint
}

/** A model's permutation spec: its family, the spec in the form that recipes use, and the resolved spec. */
export interface PermutationSpec {
  /** `llama`, `gpt2`, `bert`, `vit`, `timm-vit`, `t5`, `resnet` or `chain`. */
  readonly family: string
  /** As a recipe or a file can have it. */
  readonly text: SpecText
  /** With the place of each group on each axis. */
  readonly spec: Spec
  /** What only names and shapes say. `spec: auto` does not permute it. */
  readonly assumed?: Assumption
  /** Texts for people: a summary, the sizes of the groups, and what is not permuted. */
  readonly words: {
    readonly groups: string
    readonly sizes: ReadonlyMap<string, string>
    readonly kept: readonly string[]
  }
}

/**
 * The spec that `rebasin` infers, including what is not certain: which axes of which tensors share a permutation. Sizes of groups
 * are numbers of units.
 *
 * @throws `spec-unknown` if no spec fits the model
 * @throws `spec-family` if the model has no tensors of a family that it should have
 */
export async function permutationSpec({ tensors, config }: Checkpoint): Promise<PermutationSpec> {
  const { family, spec: inferred, assumed } = inferSpec({ tensors, ...(config ? { config } : {}) })
  const text = writeSpec(inferred, tensors)
  const spec = readSpec(text, tensors)
  const sizes = new Map(Object.keys(spec.groups).map((name) => [name, sizeText(spec, name)]))
  return {
    family,
    text,
    spec,
    ...(assumed ? { assumed } : {}),
    words: { groups: groupsLine(spec), sizes, kept: keptLines(spec.kept) },
  }
}

/** A tensor of a model, with the stored tensors that it is read from if it is quantized. */
export interface ListedTensor {
  /** Of a quantized weight: the name that it has in an unquantized model. */
  readonly name: string
  /** Of a quantized weight: the dtype that it has in an unquantized model. */
  readonly dtype: Dtype
  /** The same for its shape. */
  readonly shape: readonly number[]
  /** Stored bytes. */
  readonly bytes: number
  /** How it is quantized: `FP8, 128 × 128 blocks`. */
  readonly format?: string
  /** The stored tensors of a quantized weight, its numbers first. */
  readonly stored?: readonly { readonly name: string; readonly dtype: Dtype; readonly shape: readonly number[] }[]
}

const bytesIn = (view: View): number => (view.kind === 'stored' ? view.bytes : storedBytes(view))

/** A model's tensors. Quantized weights are listed as weights, with their stored tensors. Never throws. */
export function listedTensors({ tensors, stored, quantized }: Checkpoint): ListedTensor[] {
  return [...tensors.values()].map(({ name, dtype, shape, format, view }): ListedTensor => {
    const parts = quantized?.weights.get(name)?.parts.map((part) => stored.get(part)!)
    if (!parts || format === undefined) return { name, dtype, shape, bytes: bytesIn(view) }
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0)
    return {
      name,
      dtype,
      shape,
      bytes,
      format,
      stored: parts.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
    }
  })
}

/** A summary of a model: its files, dtypes, layers and metadata. */
export type CheckpointFacts = ReturnType<typeof checkpointFacts>

/** The summary of a model from its headers. Sizes are in bytes, `parameters` and `elements` are numbers of elements. Never throws. */
export function checkpointFacts(checkpoint: Checkpoint) {
  const { reference, layout, files, stored, tensors, metadata, config, modules } = checkpoint
  const adapter = adapterFacts(checkpoint)
  const dtypes: Record<string, { tensors: number; elements: number; bytes: number }> = {}
  const parameters = [...tensors.values()].reduce((sum, { shape }) => sum + elements(shape), 0)
  const all = checkpoint.quantized
    ? [...stored.values()]
    : [...tensors.values()].map(({ view, ...tensor }) => ({ ...tensor, bytes: bytesIn(view) }))
  for (const { dtype, shape, bytes } of all) {
    const count = elements(shape)
    dtypes[dtype] ??= { tensors: 0, elements: 0, bytes: 0 }
    const entry = dtypes[dtype]
    entry.tensors += 1
    entry.elements += count
    entry.bytes += bytes
  }
  const { model_type: type, architectures } = config ?? {}
  const stacks = stacksOf(tensors.keys()).list
  const { refusal } = checkpoint
  const packed = [...new Set(packedOf({ tensors, ...quantizationOf(config) }).values())]
  const formats = formatFacts(checkpoint)
  return {
    model: reference,
    layout,
    ...(typeof type === 'string' ? { type } : {}),
    ...(Array.isArray(architectures) ? { architectures: architectures.map(String) } : {}),
    ...(adapter ? { adapter } : {}),
    ...(modules ? { modules: modules.map(({ name }) => name) } : {}),
    ...(formats ? { quantized: formats } : {}),
    ...(packed.length > 0 && !formats ? { packed } : {}),
    ...(refusal ? { unreadable: refusal.message } : {}),
    files: files.map(({ name, size }) => ({ name, size })),
    tensors: tensors.size,
    parameters,
    ...(checkpoint.skipped ? { skipped: checkpoint.skipped } : {}),
    layers: Math.max(0, ...stacks.map(({ depth }) => depth)),
    ...(stacks.length > 1 ? { stacks: Object.fromEntries(stacks.map(({ prefix, depth }) => [prefix, depth])) } : {}),
    dtypes,
    metadata,
  }
}

/** By format of quantized weights, how many have it, and the dtype that they have without quantization. */
function formatFacts({ quantized }: Checkpoint) {
  if (!quantized) return undefined
  const formats: Record<string, { tensors: number; elements: number; dtype: Dtype }> = {}
  for (const { format, shape, dtype } of quantized.weights.values()) {
    formats[format] ??= { tensors: 0, elements: 0, dtype }
    formats[format].tensors += 1
    formats[format].elements += elements(shape)
  }
  return formats
}

/** The settings of a PEFT adapter. The ranks are those of its tensors. */
function adapterFacts({ adapter, tensors }: Checkpoint) {
  if (!adapter) return undefined
  const left = [...tensors.values()].filter(({ name }) => /\.lora_(A\b|embedding_A$)/.test(name))
  const {
    peft_type: type = 'LORA',
    r: rank,
    alpha: otherAlpha,
    lora_alpha: alpha = otherAlpha,
    target_modules: targets,
    base_model_name_or_path: base,
  } = adapter
  const stacked = Array.isArray(adapter.target_parameters) && adapter.target_parameters.length > 0
  const ranks = [...new Set(left.map(({ shape }) => shape[0] ?? 0))].sort((a, b) => a - b)
  return {
    type: String(type),
    // Factors of stacks of experts have the rows of all experts.
    ranks: typeof rank === 'number' && (left.length === 0 || stacked) ? [rank] : ranks,
    ...(typeof alpha === 'number' ? { alpha } : {}),
    modules: left.length > 0 ? left.length : changedModules(tensors.keys()).size,
    ...(Array.isArray(targets) ? { targets: targets.map(String) } : {}),
    ...(typeof base === 'string' ? { base } : {}),
  }
}

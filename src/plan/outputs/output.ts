import { isOutputFile, OUTPUT } from '../../checkpoints/containers/index.js'
import { layoutCheckpoint } from '../../checkpoints/layout.js'
import { ADAPTER_CONFIG } from '../../checkpoints/sidecars.js'
import type { Checkpoint, TensorSpec } from '../../checkpoints/types.js'
import type { Dtype } from '../../core/dtypes.js'
import { changeJson } from '../../core/json/edit.js'
import { quote } from '../../core/suggest.js'
import { agree, plural } from '../../core/words.js'
import { encodingOf, isFloat, isWritable } from '../../encodings/index.js'
import { plainOf } from '../../expr/cost.js'
import { type Value, type ValueTensor, withNetwork } from '../../expr/values.js'
import { addressBelow, outputAddress } from '../../language/addresses.js'
import { type Faults, reportFault } from '../../language/faults.js'
import type { Evaluate } from '../../language/types.js'
import type { Quantizer } from '../../methods/quantize.js'
import { isShared } from '../../networks/heads.js'
import { mayBePacked, packedOf } from '../../networks/packed.js'
import { tiesHead } from '../../networks/tied.js'
import { QUANTIZATION_FILES, withoutQuantization } from '../../quantization/settings.js'
import type { OutputSpec, Recipe } from '../../recipe/types.js'
import type { AdapterConfig } from '../../steps/extract/config.js'
import type { Way } from '../../steps/types.js'
import { ownAdapter } from '../adapter/among.js'
import type { PlannedSteps } from '../steps.js'
import { type Lexicon, lexiconOf } from '../tokens/lexicon.js'
import { reportTokenIds } from '../tokens/tokenIds.js'
import { type SmallFile, sidecarsOf, withVocabulary } from '../tokens/tokenizer.js'
import type { PlanOutput, Sidecar } from '../types.js'
import { inAdapterFormat, warnOfOneFile } from './adapterFormat.js'
import { type Amendments, amended } from './amend.js'
import { asStored, droppedText } from './asStored.js'
import { DTYPE_KEYS, untie, withDtype } from './configEdits.js'
import { ownHead } from './ownHead.js'
import { exportedPermutations } from './permutations.js'
import { planTensor } from './planTensor.js'
import {
  chooseQuantized,
  planQuantized,
  type QuantizedOutput,
  quantizedSpecs,
  quantizeProblem,
  withQuantizer,
} from './quantize.js'
import { adapterSidecar, asSidecar, extractedSidecars } from './sidecar.js'
import { warnOfStacks, withStacks } from './stackConfig.js'

export interface OutputContext {
  readonly recipe: Recipe
  readonly checkpoints: ReadonlyMap<string, Checkpoint>
  /** The index of a model in the plan. */
  readonly modelIndex: (name: string) => number
  /** The name of the model that a file of the plan belongs to. */
  readonly modelOf: (file: number) => string
  readonly lexicon: Lexicon
  /** What adapters change in configurations. */
  readonly amendments: Amendments
  readonly faults: Faults
}

/** Plans the outputs of a recipe, except those that depend on a step with an error. */
export const planOutputs = (
  context: OutputContext,
  values: ReadonlyMap<string, Value>,
  { ways, lost, analyses }: Pick<PlannedSteps, 'ways' | 'lost' | 'analyses'>,
): PlanOutput[] =>
  context.recipe.outputs.flatMap((spec, index) => {
    if (lost.has(spec.from)) return []
    const way = ways.get(spec.from)
    if (way) return planWay(context, spec, index, way)
    const output = planOutput(context, spec, index, values.get(spec.from)!)
    if (!spec.permutations) return [output]
    return [{ ...output, permutations: exportedPermutations(context.recipe, spec, values, analyses, context.faults) }]
  })

/**
 * The checkpoints of an interpolation in the output folder: folders if the first model is a folder, else single files.
 */
function planWay(context: OutputContext, spec: OutputSpec, index: number, way: Way): PlanOutput[] {
  const { recipe, checkpoints, faults } = context
  const { points, keep } = way
  const address = outputAddress(spec.path)
  if (isOutputFile(spec.path)) {
    const hint = 'write a folder: each point is a checkpoint in it'
    faults.error(
      'not-a-folder',
      `an interpolation writes ${points.length} checkpoints, but ${spec.path} is a single file`,
      recipe.placeOf([...spec.at, 'path']),
      hint,
    )
    return []
  }
  if (spec.permutations)
    faults.error(
      'no-permutations',
      `an interpolation writes checkpoints of ${points.length} points, and no permutations`,
      recipe.placeOf([...spec.at, 'permutations'], 'key'),
      'add an output for the rebasin step, with permutations: true',
    )
  const evaluate = way.evaluate ?? spec.evaluate
  if (!keep && !evaluate) {
    const hint = 'write evaluate: {command: […]} in the step, or keep: true'
    faults.error(
      'nothing-kept',
      `${way.step} keeps no checkpoint and evaluates none`,
      recipe.placeOf([...way.at, 'keep']),
      hint,
    )
  }
  return points.map(({ name, t, value }) => {
    const single = checkpoints.get(value.origin)!.layout === 'file'
    const file = `${name}${single && keep ? OUTPUT.extension : ''}`
    const path = address ? addressBelow(address, file) : `${spec.path.replace(/[/\\]+$/, '')}/${file}`
    return {
      ...planOutput(context, { ...spec, path }, index, value),
      point: { step: way.step, name, t },
      keep,
      ...(single && !keep ? { single: true as const } : {}),
      ...(evaluate ? { evaluate: commandOf(evaluate) } : {}),
    }
  })
}

/** An output's files, headers and tensor offsets: the whole checkpoint except its data. */
export function planOutput(context: OutputContext, spec: OutputSpec, index: number, made: Value): PlanOutput {
  const { recipe, faults } = context
  const own = inAdapterFormat(recipe, spec, made, faults)
  const value = underPrefix(context, withUntiedParts(context, spec, own))
  const single = isOutputFile(spec.path)
  const adapter = value.adapter ?? ownAdapter(value, context.checkpoints)
  const format = adapter && (spec.format ?? value.adapterFormat ?? 'peft')
  warnOfOneFile(context, spec, single, format)
  const { config } = context.checkpoints.get(value.origin)!
  if (single || !config) warnOfStacks(recipe, value, config, (model) => context.checkpoints.get(model)?.config, faults)
  const kept = spec.dtype || spec.quantize ? undefined : asStored(value, context)
  const quantized = spec.quantize && plannedQuantization(context, spec, spec.quantize, value, single)
  const { tensors: held } = kept ?? value
  const dropped = kept || value.adapter ? undefined : droppedText(context.checkpoints.get(value.origin)!, spec.path)
  if (dropped !== undefined)
    faults.warn(
      'dropped-scales',
      dropped,
      recipe.placeOf(spec.at, 'key'),
      'quantize the result again to run it in that format',
    )
  const packed = packedOf(value)
  if (spec.dtype && packed.size > 0) {
    const [name, by] = [...packed][0]!
    faults.error(
      'packed-weights',
      `the weights of ${spec.from} are packed (${by}; such as ${name}): terge can't convert them to another dtype`,
      recipe.placeOf([...spec.at, 'dtype'], 'key'),
      'remove dtype to copy them unchanged, or unpack the model first',
    )
  }
  const specs: TensorSpec[] = []
  for (const [name, tensor] of held)
    if (quantized?.names.has(name)) specs.push(...quantizedSpecs(quantized.quantizer, name, tensor.shape))
    else specs.push({ name, dtype: outputDtype(recipe, spec, name, tensor, faults), shape: tensor.shape })
  const layout = layoutCheckpoint(specs, {
    kind: single || adapter ? 'file' : 'folder',
    ...(adapter ? { fileName: OUTPUT.adapterName } : {}),
    metadata: spec.metadata,
    modules: context.checkpoints.get(value.origin)!.modules ?? [],
    ...(spec.shardSize === undefined ? {} : { shardSize: spec.shardSize }),
  })
  const tensors = quantized
    ? planQuantized(spec.from, layout.tensors, held, quantized)
    : layout.tensors.map((placed) => planTensor(placed, held.get(placed.name)!))
  return {
    path: spec.path,
    spec: index,
    keep: true,
    ...(spec.evaluate ? { evaluate: commandOf(spec.evaluate) } : {}),
    layout: single ? 'file' : 'folder',
    from: spec.from,
    files: layout.files,
    indexes: layout.indexes,
    tensors,
    sidecars:
      single || spec.format === 'kohya'
        ? []
        : adapterSidecars(context, spec, value, adapter, kept ? 'kept' : quantized),
    metadata: spec.metadata,
    ...(spec.checksums ? { checksums: true as const } : {}),
  }
}

/** The weights to quantize. Error `bad-value` if there are none, or if the output has no configuration that says so. */
function plannedQuantization(
  { recipe, checkpoints, faults }: OutputContext,
  spec: OutputSpec,
  quantizer: Quantizer,
  value: Value,
  single: boolean,
): QuantizedOutput {
  const base = checkpoints.get(value.origin)!
  const chosen = chooseQuantized(quantizer, value, base)
  const noConfig = single ? 'a single file has no config.json' : `${value.origin} has no config.json`
  const problem =
    single || !base.config || value.adapter
      ? `${noConfig}, which says how to read quantized weights`
      : quantizeProblem(chosen, value)
  if (problem !== undefined)
    faults.error(
      'bad-value',
      problem,
      recipe.placeOf([...spec.at, 'quantize']),
      'remove quantize, or write a folder with a model that has a configuration',
    )
  return chosen
}

function outputDtype(recipe: Recipe, spec: OutputSpec, name: string, tensor: ValueTensor, faults: Faults): Dtype {
  // A scale is not rounded.
  if (!isFloat(tensor.dtype) || (tensor.expr.kind === 'constant' && tensor.expr.value !== 0)) return tensor.dtype
  if (spec.dtype) return spec.dtype
  // A copied tensor keeps its bytes in any dtype. A computed tensor needs a dtype that terge can write.
  if (plainOf(tensor.expr).kind !== 'read' && !isWritable(tensor.dtype)) {
    faults.error(
      'unwritable-dtype',
      `${name} is ${tensor.dtype} in the base, which terge reads but does not write: ${encodingOf(tensor.dtype).refusal}`,
      recipe.placeOf(spec.at, 'key'),
      'choose an output dtype: output: {dtype: bfloat16}',
    )
  }
  return tensor.dtype
}

/** A merged adapter also has the small files of its origin. */
function adapterSidecars(
  context: OutputContext,
  spec: OutputSpec,
  value: Value,
  adapter: AdapterConfig | undefined,
  form: WeightForm,
): Sidecar[] {
  const extracted = value.adapter && !context.checkpoints.get(value.origin)!.adapter
  if (extracted) return extractedSidecars(context.lexicon, context.modelIndex, value, value.adapter)
  const beside = planSidecars(context, spec, value, form)
  if (value.adapter) return [...beside.filter(({ name }) => name !== ADAPTER_CONFIG), adapterSidecar(value.adapter)]
  const lacks = adapter && !beside.some(({ name }) => name === ADAPTER_CONFIG)
  return lacks ? [...beside, adapterSidecar(adapter)] : beside
}

/** `kept`: the weights stay quantized as in the base. Undefined: they are not quantized. */
type WeightForm = 'kept' | QuantizedOutput | undefined

function planSidecars(context: OutputContext, spec: OutputSpec, value: Value, form: WeightForm): Sidecar[] {
  const { recipe, faults, checkpoints, modelIndex, lexicon } = context
  const origin = checkpoints.get(value.origin)!
  const config = configText(spec, value, origin, context, form)
  warnOfLeftOut(value.origin, origin, context)
  const sidecar = (file: SmallFile): Sidecar => asSidecar(modelIndex, file)
  const configs: Sidecar[] = config ? [{ name: 'config.json', kind: 'text', text: config }] : []
  if (!config && origin.config) configs.push(sidecar({ name: 'config.json', model: value.origin }))
  const inside = new Map(origin.modules?.map((module) => [`${module.name}/config.json`, module]))
  const ofModule = (file: Sidecar): Sidecar => {
    const { config, configText: written } = inside.get(file.name) ?? {}
    const text = config && changeJson(written!, config, withDtype(config, spec.dtype))
    return text === undefined ? file : { name: file.name, kind: 'text', text }
  }
  try {
    reportTokenIds(
      lexiconOf(lexicon, value),
      value.origin,
      value.vocabulary !== undefined,
      recipe.placeOf(['tokenizer']),
      faults,
    )
    return [
      ...configs,
      ...[...(origin.texts ?? [])].map(([name, text]): Sidecar => ({ name, kind: 'text', text })).map(ofModule),
      ...sidecarsOf(lexiconOf(lexicon, value), value.origin, context.amendments.get(value.origin)?.tokenizer)
        .filter(({ name }) => form === 'kept' || !origin.quantized || !QUANTIZATION_FILES.some((file) => file === name))
        .map(sidecar)
        .map(ofModule),
    ]
  } catch (error) {
    reportFault(faults, error, recipe.placeOf([recipe.tokenizer ? 'tokenizer' : 'chat_template']))
    return configs
  }
}

/** One warning for all files of the origin that terge does not copy and does not know to be unneeded. */
function warnOfLeftOut(name: string, { leftOut = [] }: Checkpoint, { recipe, faults }: OutputContext): void {
  if (leftOut.length === 0) return
  const list = `${leftOut.slice(0, 5).map(quote).join(', ')}${leftOut.length > 5 ? ', …' : ''}`
  const source = recipe.models.get(name)
  faults.warn(
    'files-left-out',
    `terge does not copy ${plural(leftOut.length, 'unknown file')} of ${quote(name)}: ${list}`,
    source && recipe.placeOf(source.at),
    `copy ${agree(leftOut.length, 'it', 'them')} to the output yourself if the model needs ${agree(leftOut.length, 'it', 'them')}`,
  )
}

/**
 * The base's config with the dtype, layers and vocabulary of the output. Undefined if the file can be copied or does
 * not exist.
 */
function configText(
  { dtype }: OutputSpec,
  value: Value,
  { config, configText: written, quantized, newConfig }: Checkpoint,
  context: OutputContext,
  form: WeightForm,
): string | undefined {
  const { tensors, origin } = value
  if (!config || tensors.size === 0) return undefined
  const stacked = withStacks(
    context.recipe,
    value,
    config,
    (model) => context.checkpoints.get(model)?.config,
    context.faults,
  )
  const grown = amended(withNetwork({ ...stacked, ...value.sizes }, value.network), context.amendments.get(origin))
  const changed: Record<string, unknown> = {
    ...withDtype(withVocabulary(grown, lexiconOf(context.lexicon, value), origin), dtype),
  }
  if (dtype && !DTYPE_KEYS.some((key) => key in changed)) changed.torch_dtype = encodingOf(dtype).torch[0]
  const own = ownHead(tensors, context)
  if (own !== undefined && tiesHead(changed, own)) untie(changed, own)
  // Libraries would dequantize plain numbers again.
  const plain = quantized ? form !== 'kept' : ![...tensors.values()].some((tensor) => mayBePacked(dtype, tensor))
  const unquantized = plain ? withoutQuantization(changed) : changed
  const text = changeJson(written!, config, typeof form === 'object' ? withQuantizer(unquantized, form) : unquantized)
  return text ?? (newConfig ? written : undefined)
}

/**
 * A result whose head is no longer tied. Adds the tensors that the same configuration flag tied: a head's bias that is
 * stored under only one of its two names. Error `untied-embeddings` if encoder and decoder share their embedding:
 * libraries would initialize these again.
 */
function withUntiedParts(context: OutputContext, spec: OutputSpec, value: Value): Value {
  const config = context.checkpoints.get(value.origin)?.config
  const own = config && ownHead(value.tensors, context)
  if (own === undefined || !tiesHead(config, own)) return value
  if (isShared(value.tensors, config))
    context.faults.error(
      'untied-embeddings',
      `the head of the result, ${own}, is no longer tied to its embedding, but tie_word_embeddings: false would untie encoder and decoder as well`,
      context.recipe.placeOf(spec.at, 'key'),
      `merge models that all tie their heads, or exclude the head: filters: {exclude: [${quote(own)}]}`,
    )
  const [, head] = /^(.+)\.decoder\.weight$/.exec(own) ?? []
  const bias = head === undefined ? undefined : value.tensors.get(`${head}.bias`)
  const twin = `${head}.decoder.bias`
  if (!bias || value.tensors.has(twin)) return value
  return { ...value, tensors: new Map([...value.tensors, [twin, bias] as const].sort(([a], [b]) => (a < b ? -1 : 1))) }
}

/** Adds the prefix to a bare model that an adapter gave a head. Libraries read either form, but not a mixture. */
function underPrefix({ amendments }: OutputContext, value: Value): Value {
  const { prefix, added } = amendments.get(value.origin) ?? {}
  if (prefix === undefined || ![...value.tensors.keys()].some((name) => added?.has(name))) return value
  const named = [...value.tensors].map(
    ([name, tensor]) => [added!.has(name) ? name : `${prefix}${name}`, tensor] as const,
  )
  return { ...value, tensors: new Map(named.sort(([a], [b]) => (a < b ? -1 : 1))) }
}

/** An `evaluate` command without its place in the recipe. */
export const commandOf = ({ at: _, ...command }: Evaluate): NonNullable<PlanOutput['evaluate']> => command

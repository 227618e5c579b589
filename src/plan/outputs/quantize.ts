/** Outputs that are quantized: which weights are, where their scales go, and what the configuration says. */
import type { Checkpoint, PlacedTensor, TensorSpec } from '../../checkpoints/types.js'
import { elements } from '../../core/dtypes.js'
import { quote } from '../../core/suggest.js'
import { isFloat } from '../../encodings/index.js'
import type { Expr } from '../../expr/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import { FP8_BLOCK, type Quantizer, scaleShape } from '../../methods/quantize.js'
import { orientations } from '../../networks/orientation.js'
import { EMBEDDING, HEAD } from '../../networks/tied.js'
import type { PlanTensor } from '../types.js'
import { planTensor } from './planTensor.js'

type Config = Readonly<Record<string, unknown>>

/** An output's tensors that are quantized, and the modules that are not. */
export interface QuantizedOutput {
  readonly quantizer: Quantizer
  readonly names: ReadonlySet<string>
  readonly whole: readonly string[]
}

const WEIGHT = '.weight'
/** The end of the names of scales, instead of `.weight`. */
const SCALES: Readonly<Record<Quantizer, string>> = {
  'fp8-block': '.weight_scale_inv',
  'fp8-channel': '.weight_scale',
}
/** Modules that choose experts. Their libraries keep them in full precision. */
const ROUTER = /(^|\.)(gate|router|shared_expert_gate|wg)$/

/** The module of a weight. */
const moduleOf = (name: string): string => name.slice(0, -WEIGHT.length)

/** Chooses the weights to quantize: those that are quantized in the base, or the matrices of linear layers. */
export function chooseQuantized(quantizer: Quantizer, value: Value, base: Checkpoint): QuantizedOutput {
  const oriented = orientations(value.tensors, base.config)
  const chosen = [...value.tensors].filter(([name, tensor]) => {
    if (!name.endsWith(WEIGHT) || tensor.shape.length !== 2 || !isFloat(tensor.dtype)) return false
    // A step such as moe makes weights that the base does not have.
    if (base.quantized && base.tensors.has(name)) return base.quantized.weights.has(name)
    const rests = tensor.shape.some((size) => size === 0 || size % FP8_BLOCK !== 0)
    const module = moduleOf(name)
    const apart = EMBEDDING.test(name) || HEAD.test(name) || ROUTER.test(module) || /norm/i.test(module)
    return !rests && !apart && oriented.of(module) !== 'turned'
  })
  const modules = chosen.map(([name]) => moduleOf(name))
  const names = new Set(chosen.map(([name]) => name))
  const whole = [...value.tensors.keys()]
    .filter((name) => name.endsWith(WEIGHT) && !names.has(name))
    .map(moduleOf)
    .sort()
  // Libraries take the names as the beginnings of others.
  const started = new Set<string>()
  for (const module of modules) for (let end = 1; end <= module.length; end++) started.add(module.slice(0, end))
  const hidden = whole.filter((module) => started.has(module))
  for (const module of modules)
    if (hidden.some((start) => module.startsWith(start))) {
      names.delete(`${module}${WEIGHT}`)
      whole.push(module)
    }
  return { quantizer, names, whole: whole.sort() }
}

/** The stored tensors of a quantized weight: its numbers, and their scales. */
export function quantizedSpecs(quantizer: Quantizer, name: string, shape: readonly number[]): [TensorSpec, TensorSpec] {
  return [
    { name, dtype: 'F8_E4M3', shape },
    { name: scaleName(quantizer, name), dtype: 'F32', shape: scaleShape(quantizer, shape) },
  ]
}

/** The name of the scales of a weight. */
export const scaleName = (quantizer: Quantizer, name: string): string =>
  `${name.slice(0, -WEIGHT.length)}${SCALES[quantizer]}`

/** The expression that quantizes a tensor. */
const quantizedExpr = (quantizer: Quantizer, step: string, { expr }: ValueTensor): Expr => ({
  kind: 'merge',
  step,
  method: quantizer,
  models: [],
  weights: [],
  parameters: {},
  inputs: [expr],
})

/** Why a value can't be quantized; undefined if it can. */
export function quantizeProblem({ names, quantizer }: QuantizedOutput, value: Value): string | undefined {
  if (names.size === 0) return `${value.name} has no weight that ${quantizer} can quantize`
  const taken = [...names].find((name) => value.tensors.has(scaleName(quantizer, name)))
  return taken && `${quote(scaleName(quantizer, taken))} is a tensor of ${value.name} already`
}

/** A configuration with the quantization of the output. */
export function withQuantizer(config: Config, { quantizer, whole }: QuantizedOutput): Config {
  return { ...config, quantization_config: SETTINGS[quantizer](whole) }
}

const SETTINGS: Readonly<Record<Quantizer, (whole: readonly string[]) => Config>> = {
  'fp8-block': (whole) => ({
    activation_scheme: 'dynamic',
    fmt: 'e4m3',
    ignored_layers: whole,
    modules_to_not_convert: whole,
    quant_method: 'fp8',
    weight_block_size: [FP8_BLOCK, FP8_BLOCK],
  }),
  'fp8-channel': (whole) => ({
    config_groups: {
      group_0: {
        input_activations: { dynamic: true, num_bits: 8, strategy: 'token', symmetric: true, type: 'float' },
        output_activations: null,
        targets: ['Linear'],
        weights: { dynamic: false, num_bits: 8, strategy: 'channel', symmetric: true, type: 'float' },
      },
    },
    format: 'float-quantized',
    ignore: whole,
    kv_cache_scheme: null,
    quant_method: 'compressed-tensors',
    quantization_status: 'compressed',
  }),
}

/** The tensors of a quantized output. Scales are a second placement of their weight. */
export function planQuantized(
  step: string,
  placed: readonly PlacedTensor[],
  held: Value['tensors'],
  { quantizer, names }: QuantizedOutput,
): PlanTensor[] {
  const byName = new Map(placed.map((one) => [one.name, one]))
  return placed.flatMap((one): PlanTensor[] => {
    const tensor = held.get(one.name)
    if (!tensor) return []
    if (!names.has(one.name)) return [planTensor(one, tensor)]
    const scales = byName.get(scaleName(quantizer, one.name))!
    const planned = planTensor(one, { ...tensor, expr: quantizedExpr(quantizer, step, tensor) })
    const placements = [...planned.placements, { ...scales, from: 0, count: elements(scales.shape) }]
    return [{ ...planned, placements, quantized: quantizer }]
  })
}

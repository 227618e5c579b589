/** Plans what is made of mixtures: one of the experts of several, and a dense model. */
import { quote } from '../../core/suggest.js'
import type { Expr } from '../../expr/types.js'
import { stackedLike, type Value, type ValueTensor, withNetwork } from '../../expr/values.js'
import { refuseAnyPacked } from '../../networks/packed.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import type { PlanContext } from '../types.js'
import { type Architecture, architectureOf, PARTS, type Part } from './architectures.js'
import { type Mixture, type MixtureLayer, mixtureOf } from './network.js'
import { isMatrix, ofBase, refusing } from './refuse.js'
import { stated } from './stated.js'
import type { DenseStep, MoeAnalysis, PoolStep } from './types.js'
import { concatenated, FUSED, type Joins, joined, reshaped } from './weights.js'

type Config = Readonly<Record<string, unknown>>

interface Read {
  readonly value: Value
  readonly config: Config
  readonly architecture: Architecture
  readonly mixture: Mixture
}

export const planChange = (step: PoolStep | DenseStep, context: PlanContext): Value | undefined => {
  const models = step.form === 'pool' ? step.models : [step.model]
  if (
    refuseAnyPacked(
      context.recipe,
      models.map((name) => context.values.get(name)!),
      step.at,
      context.faults,
    )
  )
    return undefined
  const read = models.map((name) => readMixture(step, name, context))
  if (read.some((one) => !one)) return undefined
  return step.form === 'pool' ? pooled(step, read as Read[], context) : densified(step, read[0]!, context)
}

/** A mixture with its configuration, as earlier steps changed it. */
function readMixture(step: PoolStep | DenseStep, name: string, context: PlanContext): Read | undefined {
  const refuse = refusing(context, step.at)
  const value = context.values.get(name)!
  const own = context.configOf(value.origin)
  const config = own && withNetwork(own, value.network)
  const architecture = architectureOf(config?.model_type)
  if (!config || !architecture)
    return refuse(
      `${quote(name)} is not a mixture that terge knows: its model_type is ${JSON.stringify(config?.model_type ?? null)}`,
      'name Mixtral, Qwen2-MoE, Qwen3-MoE or DeepSeek-MoE models',
    )
  const mixture = mixtureOf(value, architecture)
  if (typeof mixture === 'string')
    return refuse(`${quote(name)} is not a complete ${architecture.title} model: ${mixture}`, 'use a complete model')
  if (Number(config.n_group ?? 1) > 1)
    return refuse(`${quote(name)} chooses experts by groups`, 'name a mixture without n_group')
  return { value, config, architecture, mixture }
}

/** One matrix of one expert: a stored part of a tensor, or a tensor. A string: why it can't be taken alone. */
function matrixOf({ experts, fused }: MixtureLayer, index: number, part: Part): ValueTensor | string {
  if (!fused) return experts![index]![part]
  const whole = part === 'down_proj' ? fused.down : fused.gateUp
  if (whole.expr.kind !== 'read') return 'its experts are in one tensor that a step makes'
  const [, rows = 0, columns = 0] = whole.shape
  const half = part === 'down_proj' ? rows : rows / 2
  const one = { kind: 'slice', of: whole.expr.view, axis: 0, start: index, count: 1 } as const
  const place = { kind: 'slice', of: one, axis: 1, start: part === 'up_proj' ? half : 0, count: half } as const
  const shape = [half, columns]
  return { dtype: whole.dtype, shape, expr: { kind: 'read', view: reshaped(place, shape) }, reason: 'expert' }
}

function pooled(step: PoolStep, all: readonly Read[], context: PlanContext): Value | undefined {
  const refuse = refusing(context, step.at)
  const [first] = all as [Read]
  const { architecture, mixture, value, config } = first
  const name = (index: number): string => quote(step.models[index]!)
  for (const [index, other] of all.entries()) {
    const { mixture: own } = other
    const wrong =
      other.architecture !== architecture
        ? `${name(0)} is a ${architecture.title} model, and ${name(index)} is ${other.architecture.title}`
        : own.layers.map(({ layer }) => layer).join() !== mixture.layers.map(({ layer }) => layer).join()
          ? `${name(index)} has experts in other layers than ${name(0)}`
          : own.hidden !== mixture.hidden || own.width !== mixture.width
            ? `the experts of ${name(0)} have the sizes ${mixture.width} and ${mixture.hidden}, those of ${name(index)} ${own.width} and ${own.hidden}`
            : undefined
    if (wrong !== undefined) return refuse(wrong, 'name mixtures of one kind and size')
  }
  const count = all.reduce((sum, one) => sum + one.mixture.count, 0)
  if (step.perToken && step.perToken.count > count)
    return refuse(
      `experts_per_token is ${step.perToken.count}, but there are ${count} experts`,
      'a token can go through each expert once',
      step.perToken.at,
    )
  if (step.layout === 'fused' && !architecture.fused)
    return refuse(`${architecture.title} has names of single experts only`, 'remove layout: fused')
  const joins: Joins = { step: step.name, list: [] }
  const tensors = besides(first)
  for (const [at, own] of mixture.layers.entries()) {
    const layers = all.map((one) => one.mixture.layers[at]!)
    const block = `${mixture.prefix}.${own.layer}.${architecture.block(step.layout)}`
    for (const [rest, tensor] of own.shared) tensors.set(`${block}.${rest}`, ofBase(tensor))
    for (const rest of own.routers.keys()) {
      const parts = layers.map(({ routers }) => routers.get(rest))
      if (parts.some((part) => !part)) return refuse(`a mixture lacks ${block}.${rest}`, 'name mixtures of one kind')
      tensors.set(
        `${block}.${rest}`,
        stacked(`${block}.${rest}`, parts as ValueTensor[], joins, [count, ...parts[0]!.shape.slice(1)]),
      )
    }
    const matrices = layers.flatMap((layer, model) =>
      Array.from({ length: all[model]!.mixture.count }, (_, index) => (part: Part) => matrixOf(layer, index, part)),
    )
    for (const [name, tensor] of experts(step, architecture, block, matrices, layers, joins)) {
      if (typeof tensor === 'string')
        return refuse(`${name}: ${tensor}`, 'write the layout parts in the step that makes it')
      tensors.set(name, tensor)
    }
  }
  if (joins.list.length > 0)
    context.analyses.push({ kind: 'moe', steps: [step.name], joins: joins.list } as MoeAnalysis)
  const counts = ['num_local_experts', 'num_experts', 'n_routed_experts'].filter((key) => config[key] !== undefined)
  return {
    ...made(step.name, tensors, value),
    network: {
      ...value.network,
      ...Object.fromEntries(counts.map((key) => [key, count])),
      ...(step.perToken ? { num_experts_per_tok: step.perToken.count } : {}),
    },
  }
}

/** The tensors that are neither experts nor routers. */
const besides = ({ value, mixture: { names } }: Read): Map<string, ValueTensor> =>
  new Map([...value.tensors].flatMap(([name, tensor]) => (names.has(name) ? [] : [[name, ofBase(tensor)] as const])))

/** The result of a step, which has the configuration of `like`. */
export const made = (name: string, tensors: ReadonlyMap<string, ValueTensor>, like: Value): Value => ({
  name,
  tensors: new Map([...tensors].sort(([a], [b]) => (a < b ? -1 : 1))),
  origin: like.origin,
  ...stackedLike(like),
})

/** Tensors one after the other along the first axis. */
function stacked(name: string, parts: readonly ValueTensor[], joins: Joins, shape: readonly number[]): ValueTensor {
  const { dtype } = parts[0]!
  const views = parts.flatMap(({ expr, dtype: own }) => (expr.kind === 'read' && own === dtype ? [expr.view] : []))
  if (views.length === parts.length)
    return { dtype, shape, expr: { kind: 'read', view: reshaped(concatenated(views), shape) }, reason: 'router' }
  return joined(
    joins,
    name,
    dtype,
    shape,
    parts.map((part, at) => analysisTensor(`${name}[${at}]`, part)),
  )
}

type Matrix = (part: Part) => ValueTensor | string

function experts(
  step: PoolStep,
  architecture: Architecture,
  block: string,
  matrices: readonly Matrix[],
  layers: readonly MixtureLayer[],
  joins: Joins,
): [string, ValueTensor | string][] {
  if (step.layout === 'parts')
    return PARTS.flatMap((part) =>
      matrices.map((matrix, index): [string, ValueTensor | string] => [
        `${block}.experts.${index}.${architecture.parts[part]}.weight`,
        matrix(part),
      ]),
    )
  return FUSED.map(([rest, parts]): [string, ValueTensor | string] => {
    const name = `${block}.${rest}`
    // Tensors of whole layers are put together as they are.
    const whole = layers.flatMap(({ fused }) => (fused ? [rest.endsWith('down_proj') ? fused.down : fused.gateUp] : []))
    const all = whole.length === layers.length ? whole : matrices.flatMap((matrix) => parts.map(matrix))
    const wrong = all.find((one): one is string => typeof one === 'string')
    if (wrong !== undefined) return [name, wrong]
    const own = matrices[0]!(parts[0]!)
    const [rows = 0, columns = 0] =
      typeof own === 'string'
        ? whole[0]!.shape.slice(1).map((size, at) => (at === 0 ? size / parts.length : size))
        : own.shape
    return [name, stacked(name, all as ValueTensor[], joins, [matrices.length, rows * parts.length, columns])]
  })
}

function densified(step: DenseStep, read: Read, context: PlanContext): Value | undefined {
  const refuse = refusing(context, step.at)
  const { value, config, architecture, mixture } = read
  const { prefix, layers, count } = mixture
  const shared = layers[0]!.shared.size > 0
  const weights = step.weights?.values ?? Array.from({ length: count }, () => 1)
  if (weights.length !== count + (shared ? 1 : 0))
    return refuse(
      shared
        ? `${quote(step.model)} has ${count} experts and a shared expert, and there are ${step.weights ? weights.length : 'no'} weights`
        : `${quote(step.model)} has ${count} experts, and there are ${weights.length} weights`,
      shared
        ? 'write a weight for each expert and a last one for the shared expert; 0 leaves it out'
        : 'write a weight for each expert',
      step.weights?.at,
    )
  if (layers.length !== config.num_hidden_layers)
    return refuse(
      `${quote(step.model)} has experts in ${layers.length} of ${String(config.num_hidden_layers)} layers, and the others have other inner widths`,
      'name a mixture with experts in every layer',
    )
  const tensors = besides(read)
  for (const layer of layers) {
    for (const part of PARTS) {
      const all: (ValueTensor | string | undefined)[] = Array.from({ length: count }, (_, index) =>
        matrixOf(layer, index, part),
      )
      if (shared) all.push(layer.shared.get(`${architecture.sharedName}.${part}.weight`))
      const parts = all.filter((one): one is ValueTensor => typeof one === 'object')
      const [one] = parts
      if (!one || parts.length < all.length)
        return refuse(
          `the ${part} of ${prefix}.${layer.layer} can't be taken apart`,
          'write the layout parts in the step that makes it',
        )
      if (parts.some((part) => !isMatrix(part, one.shape)))
        return refuse(
          `the experts and the shared expert of ${prefix}.${layer.layer} have other sizes`,
          'give the shared expert another model',
        )
      const inputs: readonly Expr[] = parts.map(({ expr }) => expr)
      tensors.set(`${prefix}.${layer.layer}.mlp.${part}.weight`, {
        ...{ dtype: one.dtype, shape: one.shape },
        expr: {
          kind: 'merge',
          step: step.name,
          method: 'linear',
          models: inputs.map(() => step.model),
          weights,
          parameters: { normalize: true },
          inputs,
        },
      })
    }
  }
  const { dense } = architecture
  const silent = stated(config, value)
  return {
    ...made(step.name, tensors, value),
    network: {
      ...value.network,
      ...silent,
      ...dense.change({ ...config, ...silent }),
      architectures: [dense.class],
      model_type: dense.modelType,
    },
  }
}

/** Plans a dense model of a mixture's experts. */
import { quote } from '../../../core/suggest.js'
import type { ValueTensor } from '../../../expr/values.js'
import type { PlanContext } from '../../types.js'
import { type Architecture, PARTS } from '../architectures.js'
import { isMatrix, type Refuse, refusing } from '../refuse.js'
import { stated } from '../stated.js'
import type { DenseStep } from '../types.js'
import { addBiases } from '../weights.js'
import { besides, isNormalized, made, matrixOf, type PlannedMixture, type ReadMixture } from './read.js'

export function planDense(
  step: DenseStep,
  read: ReadMixture<Architecture>,
  context: PlanContext,
): PlannedMixture | undefined {
  const refuse = refusing(context, step.at)
  const { value, config, architecture, mixture } = read
  const { prefix, layers, count } = mixture
  const shared = layers.some((layer) => layer.shared.size > 0)
  const weights = weightsOf(step, count, shared, refuse)
  if (!weights) return undefined
  const all = new Set([...value.tensors.keys()].flatMap((name) => layerIn(name, prefix) ?? [])).size
  if (layers.length !== all)
    return refuse(
      `${quote(step.model)} has experts in ${layers.length} of ${all} layers, and the others have other inner widths`,
      'name a mixture with experts in every layer',
    )
  const tensors = besides(read)
  // An expert without a weight can have any values, also ones that are not finite.
  const used = [...weights.keys()].filter((index) => weights[index] !== 0)
  for (const layer of layers)
    for (const part of PARTS) {
      const found = used.map((index) =>
        index < count ? matrixOf(layer, index, part) : layer.shared.get(`${architecture.sharedName}.${part}.weight`),
      )
      const parts = found.filter((one): one is ValueTensor => typeof one === 'object')
      const [one] = parts
      if (!one || parts.length < found.length)
        return refuse(
          `the ${part} of ${prefix}.${layer.layer} can't be taken apart`,
          'write the layout parts in the step that makes it',
        )
      if (parts.some((part) => !isMatrix(part, one.shape)))
        return refuse(
          `the experts and the shared expert of ${prefix}.${layer.layer} have other sizes`,
          'write 0 as its weight, which leaves it out',
          step.weights?.at,
        )
      tensors.set(`${prefix}.${layer.layer}.mlp.${part}.weight`, {
        ...{ dtype: one.dtype, shape: one.shape },
        expr: {
          kind: 'merge',
          step: step.name,
          method: 'linear',
          models: parts.map(() => step.model),
          weights: used.map((index) => weights[index]!),
          parameters: { normalize: true },
          inputs: parts.map(({ expr }) => expr),
          // The mean of equal experts is the expert, bit for bit.
          precise: true,
        },
      })
    }
  const { dense } = architecture
  const biases = architecture.shared === 'gated' ? addBiases(step.name, prefix, layers.length, value, tensors) : false
  const silent = stated(config, value)
  return {
    value: {
      ...made(step.name, tensors, value),
      network: {
        ...value.network,
        ...silent,
        ...dense.change({ ...config, ...silent }),
        ...windowsOf(config, layers.length),
        architectures: [dense.class],
        model_type: dense.modelType,
      },
    },
    says: {
      ...{ models: [step.model], form: step.form, layout: step.layout, architecture: dense.modelType, weights },
      notes: notesOf(read, weights, shared, biases),
    },
  }
}

/** The weight of each expert, and then of the shared expert if there is one. */
function weightsOf({ model, weights }: DenseStep, count: number, shared: boolean, refuse: Refuse) {
  const values = weights?.values ?? Array.from({ length: count }, () => 1)
  if (values.length === count + (shared ? 1 : 0)) return values
  return refuse(
    shared
      ? `${quote(model)} has ${count} experts and a shared expert, and there are ${weights ? values.length : 'no'} weights`
      : `${quote(model)} has ${count} experts, and there are ${values.length} weights`,
    shared
      ? 'write a weight for each expert and a last one for the shared expert; 0 leaves it out'
      : 'write a weight for each expert',
    weights?.at,
  )
}

const layerIn = (name: string, prefix: string): string | undefined =>
  name.startsWith(`${prefix}.`) ? /^\d+/.exec(name.slice(prefix.length + 1))?.[0] : undefined

/** Qwen3-MoE has windows in all layers or none, and Qwen3 by a list. */
const windowsOf = ({ model_type: type, use_sliding_window: windows }: ReadMixture['config'], layers: number) =>
  type === 'qwen3_moe' && windows === true
    ? { layer_types: Array.from({ length: layers }, () => 'sliding_attention'), max_window_layers: 0 }
    : {}

/** What the dense model does not have of the mixture. */
function notesOf(
  read: ReadMixture<Architecture>,
  weights: readonly number[],
  shared: boolean,
  biases: boolean,
): string[] {
  const name = quote(read.name)
  return [
    `routers are not in the result`,
    ...(shared && weights.at(-1) === 0 ? [`the shared expert of ${name} is not in the result`] : []),
    ...(shared && weights.at(-1) !== 0
      ? ['the shared expert is one of those that are averaged; in the mixture it is added to the others']
      : []),
    ...(isNormalized(read)
      ? []
      : [
          `norm_topk_prob of ${name} is false: its shares add up to less than 1, so that the dense MLPs add more than the experts did`,
        ]),
    ...(biases ? ['biases of q, k and v that the mixture lacks are zeros'] : []),
  ]
}

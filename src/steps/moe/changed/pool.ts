/** Plans one mixture of the experts of several. */
import { quote } from '../../../core/suggest.js'
import type { ValueTensor } from '../../../expr/values.js'
import type { PlanContext } from '../../types.js'
import { PARTS, type Part, type PooledKind } from '../architectures.js'
import type { MixtureLayer } from '../network.js'
import { ofBase, refusing } from '../refuse.js'
import { stated } from '../stated.js'
import type { MoeAnalysis, PoolStep } from '../types.js'
import { concatenated, FUSED, type Joins, joined, reshaped } from '../weights.js'
import { besides, isNormalized, made, matrixOf, type PlannedMixture, type ReadMixture } from './read.js'

/** Keys that change what an expert computes, or what its router's rows mean. */
const SAME = ['hidden_act', 'scoring_func', 'routed_scaling_factor', 'topk_method'] as const
/** Keys that count experts. Configurations have one or two of them. */
const COUNTS = ['num_local_experts', 'num_experts', 'n_routed_experts'] as const

export function planPool(
  step: PoolStep,
  all: readonly ReadMixture[],
  context: PlanContext,
): PlannedMixture | undefined {
  const refuse = refusing(context, step.at)
  const [first] = all as [ReadMixture]
  const { architecture, mixture, value, config } = first
  for (const other of all) {
    const wrong = whyApart(first, other)
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
    for (const [rest, { dtype }] of own.routers) {
      const parts = layers.map(({ routers }) => routers.get(rest))
      const lacks = parts.findIndex((part) => !part)
      if (lacks >= 0) return refuse(`${quote(step.models[lacks]!)} lacks ${block}.${rest}`, 'name mixtures of one kind')
      const shape = [count, ...parts[0]!.shape.slice(1)]
      tensors.set(`${block}.${rest}`, stacked(`${block}.${rest}`, dtype, parts as ValueTensor[], joins, shape))
    }
    const more = layers.flatMap(({ routers }) => [...routers.keys()]).find((rest) => !own.routers.has(rest))
    if (more !== undefined)
      return refuse(`${quote(step.models[0]!)} lacks ${block}.${more}`, 'name mixtures of one kind')
    for (const [name, tensor] of experts(step, architecture, block, all, at, joins)) {
      if (typeof tensor === 'string')
        return refuse(`${name}: ${tensor}`, 'write the layout parts in the step that makes it')
      tensors.set(name, tensor)
    }
  }
  if (joins.list.length > 0)
    context.analyses.push({ kind: 'moe', steps: [step.name], joins: joins.list } as MoeAnalysis)
  const counts = COUNTS.filter((key) => config[key] !== undefined)
  const perToken = step.perToken?.count ?? config.num_experts_per_tok
  const notes = notesOf(all)
  return {
    value: {
      ...made(step.name, tensors, value),
      network: {
        ...value.network,
        // Without such a key, the number would be that of the class.
        ...Object.fromEntries((counts.length > 0 ? counts : [architecture.count]).map((key) => [key, count])),
        ...(step.perToken ? { num_experts_per_tok: step.perToken.count } : {}),
      },
    },
    says: {
      ...{ models: [...new Set(step.models)], form: step.form, layout: step.layout, architecture: first.type },
      pooled: all.map(({ name, mixture }) => ({ model: name, experts: mixture.count })),
      ...(typeof perToken === 'number' ? { experts_per_token: perToken } : {}),
      ...(notes.length > 0 ? { notes } : {}),
    },
  }
}

/** Why the experts of two mixtures do not fit together. */
function whyApart(first: ReadMixture, other: ReadMixture): string | undefined {
  const [a, b] = [first, other].map(({ mixture }) => mixture) as [ReadMixture['mixture'], ReadMixture['mixture']]
  const [one, two] = [first, other].map(({ name }) => quote(name))
  if (other.type !== first.type)
    return `${one} is a ${first.architecture.title} model, and ${two} is ${other.architecture.title}`
  if (a.hidden !== b.hidden || a.width !== b.width)
    return `the experts of ${one} have the sizes ${a.width} and ${a.hidden}, those of ${two} ${b.width} and ${b.hidden}`
  const layers = [a, b].map((mixture) => mixture.layers.map(({ layer }) => layer).join(', '))
  if (layers[0] !== layers[1])
    return `${one} has experts in the layers ${layers[0]}, and ${two} in the layers ${layers[1]}`
  const [mine, theirs] = [first, other].map(({ config, value }) => ({ ...stated(config, value), ...config }))
  const key = SAME.find((name) => (mine![name] ?? null) !== (theirs![name] ?? null))
  return (
    key && `${one} has ${key} ${JSON.stringify(mine![key] ?? null)}, and ${two} ${JSON.stringify(theirs![key] ?? null)}`
  )
}

/** What the result does not have of the mixtures after the first. */
function notesOf([first, ...others]: readonly ReadMixture[]): string[] {
  const kept = quote(first!.name)
  return others.flatMap((other) => {
    const name = quote(other.name)
    if (other.name === first!.name) return []
    return [
      ...(other.mixture.layers.some(({ shared }) => shared.size > 0)
        ? [`the shared expert of ${name} is not in the result; that of ${kept} is`]
        : []),
      ...(isNormalized(other) !== isNormalized(first!)
        ? [
            `norm_topk_prob is that of ${kept}, ${isNormalized(first!)}: experts of ${name} count with other shares than before`,
          ]
        : []),
    ]
  })
}

/** Tensors one after the other along the first axis. */
function stacked(
  name: string,
  dtype: ValueTensor['dtype'],
  parts: readonly ValueTensor[],
  joins: Joins,
  shape: readonly number[],
): ValueTensor {
  const views = parts.flatMap(({ expr, dtype: own }) =>
    expr.kind === 'read' && own === parts[0]!.dtype ? [expr.view] : [],
  )
  if (views.length === parts.length)
    return { dtype, shape, expr: { kind: 'read', view: reshaped(concatenated(views), shape) }, reason: 'router' }
  return joined(joins, name, dtype, shape, parts)
}

/** The experts of a layer, in the dtypes of the first mixture. */
function experts(
  { layout }: PoolStep,
  architecture: PooledKind,
  block: string,
  all: readonly ReadMixture[],
  at: number,
  joins: Joins,
): [string, ValueTensor | string][] {
  const layers = all.map(({ mixture }) => mixture.layers[at]!)
  const dtypeOf = (part: Part) => dtypeIn(layers[0]!, part)
  const matrices = layers.flatMap((layer, model) =>
    Array.from({ length: all[model]!.mixture.count }, (_, index) => (part: Part): ValueTensor | string => {
      const found = matrixOf(layer, index, part)
      return typeof found === 'string' ? found : { ...asExpert(found), dtype: dtypeOf(part) }
    }),
  )
  if (layout === 'parts')
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
    const found =
      whole.length === layers.length
        ? whole
        : layers.flatMap((layer, model) =>
            Array.from({ length: all[model]!.mixture.count }, (_, index) => index).flatMap((index) =>
              parts.map((part) => matrixOf(layer, index, part)),
            ),
          )
    const wrong = found.find((one): one is string => typeof one === 'string')
    if (wrong !== undefined) return [name, wrong]
    const { hidden, width } = all[0]!.mixture
    const sizes = rest.endsWith('down_proj') ? [hidden, width] : [2 * width, hidden]
    const tensor = stacked(name, dtypeOf(parts[0]!), found as ValueTensor[], joins, [matrices.length, ...sizes])
    return [name, asExpert(tensor)]
  })
}

/** A tensor as its own mixture has it. Rules of other steps do not apply here. */
const asExpert = ({ rule: _, reason: __, ...tensor }: ValueTensor): ValueTensor =>
  tensor.expr.kind === 'read' ? { ...tensor, reason: 'expert' } : tensor

const dtypeIn = ({ experts, fused }: MixtureLayer, part: Part): ValueTensor['dtype'] =>
  fused ? (part === 'down_proj' ? fused.down : fused.gateUp).dtype : experts![0]![part].dtype

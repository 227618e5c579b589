/** Plans mixtures: of dense models, and of other mixtures. */
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import { refuseAnyPacked } from '../../networks/packed.js'
import { HEAD } from '../../networks/tied.js'
import { configOfValue } from '../shared/configOfValue.js'
import { warnOfFloat32 } from '../shared/float32.js'
import type { PlanContext, PlannedStep } from '../types.js'
import { type Architecture, architectureOf, PARTS, pooledKindOf } from './architectures.js'
import { type Base, type Config, otherMlps, readBase, windowsIn } from './base.js'
import { planDense } from './changed/dense.js'
import { planPool } from './changed/pool.js'
import { made, type PlannedMixture, readMixture } from './changed/read.js'
import { type Dense, denseOf } from './network.js'
import { mixSaid } from './record.js'
import { ofBase, type Refuse, refusing } from './refuse.js'
import { planRouters } from './routers.js'
import { headWidth, stated } from './stated.js'
import {
  type DenseStep,
  expertsOf,
  type MixStep,
  type MoeAnalysis,
  type MoeSaid,
  type MoeStep,
  type PoolStep,
} from './types.js'
import { addBiases, type ExpertWeights, expertTensor, FUSED, fusedTensor, type Joins, type Making } from './weights.js'

export function planMoe(step: MoeStep, context: PlanContext): PlannedStep<MoeSaid> {
  const planned = step.form === 'pool' || step.form === 'dense' ? planChange(step, context) : planMix(step, context)
  if (!planned) return {}
  warnOfFloat32(context.recipe, step, planned.value.tensors, context.faults)
  return planned
}

function planChange(step: PoolStep | DenseStep, context: PlanContext): PlannedMixture | undefined {
  const { recipe, values, faults } = context
  const models = step.form === 'pool' ? step.models : [step.model]
  const own = models.map((name) => values.get(name)!)
  if (refuseAnyPacked(recipe, own, step.at, faults)) return undefined
  if (step.form === 'dense') {
    const read = readMixture(step, step.model, architectureOf, 'Mixtral, Qwen2-MoE, Qwen3-MoE or DeepSeek-MoE', context)
    return read && planDense(step, read, context)
  }
  const known = 'Mixtral, Qwen2-MoE, Qwen3-MoE, DeepSeek, OLMoE or PhiMoE'
  const read = models.map((name) => readMixture(step, name, pooledKindOf, known, context))
  const complete = read.filter((one) => one !== undefined)
  return complete.length < read.length ? undefined : planPool(step, complete, context)
}

function planMix(step: MixStep, context: PlanContext): PlannedMixture | undefined {
  const { recipe, values, faults } = context
  const base = values.get(step.base)!
  const used = [step.base, ...expertsOf(step).map(({ model }) => model)]
  if (
    refuseAnyPacked(
      recipe,
      [...new Set(used)].map((name) => values.get(name)!),
      step.at,
      faults,
    )
  )
    return undefined
  const refuse = refusing(context, step.at)
  const read = readBase(step, base, refuse, context)
  if (!read) return undefined
  const { dense, config, architecture } = read
  const found = weightsOf(step, read, context)
  if (!found || !fits(step, architecture, base, config, found, refuse)) return undefined
  const seed = step.seed ?? recipe.seed
  const making: Making = { step: step.name, seed, compute: recipe.compute, base: dense }
  const joins: Joins = { step: step.name, list: [] }
  const tensors = new Map<string, ValueTensor>()
  for (const [name, tensor] of base.tensors) if (!name.includes('.mlp.')) tensors.set(name, ofBase(tensor))
  addExperts(step, architecture, making, found, joins, tensors)
  const biases = architecture.shared === 'gated' && addBiases(step.name, dense.prefix, dense.layers, base, tensors)
  const routers = planRouters(step, architecture, making, context, tensors)
  if (routers === 'refused') return undefined
  const { experts, shared } = found
  if (routers || joins.list.length > 0) {
    const analysis: MoeAnalysis = {
      kind: 'moe',
      steps: [step.name],
      joins: joins.list,
      ...(routers ? { routers } : {}),
    }
    context.analyses.push(analysis)
  }
  const perToken = step.perToken?.count ?? Math.min(2, experts.length)
  const facts = {
    experts: experts.length,
    perToken,
    width: experts[0]!.dense.width,
    ...(shared ? { shared: shared.dense.width } : {}),
  }
  const windows = windowsIn(step, architecture, config, dense.layers, context)
  const notes = [
    ...(windows.lost === undefined ? [] : [windows.lost]),
    ...(biases ? [`biases of q, k and v that ${quote(step.base)} lacks are zeros`] : []),
  ]
  return {
    value: {
      ...made(step.name, tensors, base),
      network: {
        ...{ ...base.network, auto_map: undefined, ...stated(config, base), ...windows.change },
        ...{ architectures: [architecture.class], model_type: architecture.name, ...architecture.config(facts) },
      },
    },
    says: mixSaid(step, { architecture: architecture.name, perToken, seed, notes }),
  }
}

interface FoundExperts {
  readonly experts: readonly ExpertWeights[]
  readonly shared?: ExpertWeights
}

/** The MLPs of all experts. They have the layers of the base, and one inner width. */
function weightsOf(step: MixStep, { dense: base, config }: Base, context: PlanContext): FoundExperts | undefined {
  const refuse = refusing(context, step.at)
  const known = new Map<string, Dense | string>()
  const read = (expert: MixStep['experts'][number], who: string): ExpertWeights | undefined => {
    const value = context.values.get(expert.model)!
    const dense = known.get(expert.model) ?? denseOf(value)
    known.set(expert.model, dense)
    const name = quote(expert.model)
    if (typeof dense === 'string')
      return refuse(`${name} is not a dense model with gated MLPs: ${dense}`, 'name dense models as experts', expert.at)
    if (dense.layers !== base.layers)
      return refuse(
        `${name} has ${plural(dense.layers, 'layer')}, but the base has ${base.layers}`,
        'name models with the layers of the base, or cut them by a stack step',
        expert.at,
      )
    if (dense.hidden !== base.hidden)
      return refuse(
        `${name} has the width ${dense.hidden}, but the base has ${base.hidden}`,
        'name models of the width of the base',
        expert.at,
      )
    const wrong = PARTS.find((part) =>
      Array.from({ length: dense.layers }, (_, layer) => layer).some((layer) => !isFloat(dense.of(layer, part).dtype)),
    )
    if (wrong)
      return refuse(`the ${wrong} of ${name} is not of a floating-point dtype`, 'name models with weights', expert.at)
    const other = otherMlps(config, configOfValue(value, context))
    if (other !== undefined) return refuse(`${name} ${other}`, 'name models of the kind of the base', expert.at)
    return { expert, dense, who }
  }
  const experts = step.experts.map((expert, index) => read(expert, `expert ${index}`))
  const shared = step.shared && read(step.shared, 'shared expert')
  if (experts.some((one) => !one) || (step.shared && !shared)) return undefined
  const all = experts as ExpertWeights[]
  const other = all.find(({ dense }) => dense.width !== all[0]!.dense.width)
  if (other)
    return refuse(
      `the experts have other inner widths: ${quote(all[0]!.expert.model)} has ${all[0]!.dense.width}, ${quote(other.expert.model)} has ${other.dense.width}`,
      'name experts of one width',
      other.expert.at,
    )
  return { experts: all, ...(shared ? { shared } : {}) }
}

/** Whether the architecture has a place for everything. */
function fits(
  step: MixStep,
  architecture: Architecture,
  base: Value,
  config: Config,
  { experts, shared }: FoundExperts,
  refuse: Refuse,
): boolean {
  const { title } = architecture
  const hasHead = [...base.tensors.keys()].some((name) => HEAD.test(name))
  const bias = [...base.tensors.keys()].find(
    (name) => /\.self_attn\.\w+\.bias$/.test(name) && !architecture.biases?.test(name),
  )
  if (bias !== undefined)
    refuse(
      `${title} has no place for biases of attention, such as ${bias}`,
      'choose another architecture, or a base without them',
    )
  else if (!hasHead && config.tie_word_embeddings === false)
    refuse(
      `${quote(step.base)} has no lm_head.weight, and its configuration does not tie it to the embedding`,
      'use a complete model as base',
    )
  else if (!architecture.headWidths && (config.head_dim ?? headWidth(config)) !== headWidth(config))
    refuse(
      `${title} has heads of the width ${headWidth(config)}, but ${quote(step.base)} has the head_dim ${config.head_dim}`,
      'choose another architecture',
    )
  else if (shared && architecture.shared === 'none')
    refuse(
      `${title} has no shared expert`,
      'remove shared_expert, or write architecture: qwen2_moe or deepseek',
      step.shared!.at,
    )
  else if (!shared && architecture.shared === 'gated')
    refuse(`${title} has a shared expert`, 'write shared_expert: {model: NAME}; with scale: 0 it adds nothing')
  else if (shared && architecture.shared === 'plain' && (step.shared!.prompts.length > 0 || step.shared!.zeroGate))
    refuse(`the shared expert of ${title} has no gate`, 'remove its prompts and gate', step.shared!.at)
  else if (shared && architecture.shared === 'plain' && shared.dense.width !== experts[0]!.dense.width)
    refuse(
      `the shared expert of ${title} must have the inner width of the experts, ${experts[0]!.dense.width}, not ${shared.dense.width}`,
      'name another model',
      step.shared!.at,
    )
  else if (step.layout === 'fused' && !architecture.fused)
    refuse(`${title} has names of single experts only`, 'remove layout: fused')
  else return true
  return false
}

function addExperts(
  step: MixStep,
  architecture: Architecture,
  making: Making,
  { experts, shared }: FoundExperts,
  joins: Joins,
  tensors: Map<string, ValueTensor>,
): void {
  const { prefix, layers } = making.base
  for (let layer = 0; layer < layers; layer++) {
    const block = `${prefix}.${layer}.${architecture.block(step.layout)}`
    if (step.layout === 'fused')
      for (const [rest, parts] of FUSED) {
        const name = `${block}.${rest}`
        tensors.set(name, fusedTensor(making, experts, layer, parts, name, joins))
      }
    for (const part of PARTS) {
      if (step.layout === 'parts')
        for (const [index, own] of experts.entries())
          tensors.set(
            `${block}.experts.${index}.${architecture.parts[part]}.weight`,
            expertTensor(making, own, layer, part),
          )
      if (shared)
        tensors.set(`${block}.${architecture.sharedName}.${part}.weight`, expertTensor(making, shared, layer, part))
    }
  }
}

/** Plans the rows of routers. */
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import type { ValueTensor } from '../../expr/values.js'
import { EMBEDDING } from '../../networks/tied.js'
import { analysisTensor } from '../shared/analysisTensor.js'
import { cutTexts } from '../shared/texts.js'
import type { PlanContext } from '../types.js'
import type { Architecture } from './architectures.js'
import { isMatrix, type Refuse, refusing } from './refuse.js'
import { type Expert, type MixStep, type MoeAnalysis, type RowSource, tensorsOf, tokensOf } from './types.js'
import { constantOf, type Making, randomRows } from './weights.js'

type Routers = NonNullable<MoeAnalysis['routers']>

/** Adds the routers to `tensors`. Returns the work of an analysis; undefined if there is none. */
export function planRouters(
  step: MixStep,
  architecture: Architecture,
  making: Making,
  context: PlanContext,
  tensors: Map<string, ValueTensor>,
): Routers | 'refused' | undefined {
  const { prefix, layers, hidden } = making.base
  const gated = architecture.shared === 'gated'
  const count = step.experts.length
  const random = step.gate === 'random' || step.gate === 'uniform_random'
  const rows = random ? [] : rowsOf(step, making, context)
  if (!rows) return 'refused'
  const found: Routers['tensors'][number][] = []
  const embedding = step.gate === 'embedding' ? embeddingOf(step, making, rows, context) : undefined
  if (embedding === 'refused') return 'refused'
  const inputs = [...(embedding ? [embedding] : []), ...tensorsOf(rows)].map(({ expr }) => expr)
  const add = (layer: number, name: string, from: number, to: number, who: string, zero: boolean): void => {
    const { dtype } = making.base.of(layer, 'gate_proj')
    const shape = [to - from, hidden]
    if (zero) tensors.set(name, { dtype, shape, expr: constantOf(step.name, shape) })
    else if (random)
      tensors.set(name, { dtype, shape, expr: randomRows(making, step.gate === 'uniform_random', layer, who, shape) })
    else {
      found.push({ tensor: name, layer, from, to })
      tensors.set(name, {
        dtype,
        shape,
        expr: { kind: 'computed', step: step.name, tensor: name, shape, inputs },
        reason: 'router',
      })
    }
  }
  for (let layer = 0; layer < layers; layer++) {
    const block = `${prefix}.${layer}.${architecture.block(step.layout)}`
    add(layer, `${block}.gate.weight`, 0, count, 'router', false)
    const zero = step.shared?.zeroGate === true || (!random && rows[count]?.kind === 'zero')
    if (gated) add(layer, `${block}.shared_expert_gate.weight`, count, count + 1, 'shared gate', zero)
  }
  if (random) return undefined
  return {
    gate: step.gate as Routers['gate'],
    tensors: found,
    layers,
    width: hidden,
    rows,
    ...(embedding ? { embedding } : {}),
  }
}

/** By expert, and then of the shared expert. */
function rowsOf(step: MixStep, making: Making, context: PlanContext): RowSource[] | undefined {
  const shared = step.shared?.zeroGate ? undefined : step.shared
  if (step.gate === 'statistics') return meansOf(step, making, context)
  const listed = [...step.experts, ...(shared && shared.prompts.length > 0 ? [shared] : [])]
  const texts = listed.flatMap(({ prompts, negative }) => [...prompts, ...negative])
  const cut = cutTexts(
    context,
    step,
    step.base,
    texts,
    'write gate: statistics, with a file of hidden states, or gate: random',
  )
  if (!cut) return undefined
  const ids = (texts: readonly string[]) => texts.map((text) => cut.get(text)!)
  const opened = context.tokenizers.files.size > 0
  if (opened && listed.some((one) => isFlat(one, ids, refusing(context, step.at)))) return undefined
  const rows = listed.map(
    (one): RowSource => ({ kind: 'tokens', positive: ids(one.prompts), negative: ids(one.negative) }),
  )
  return [...rows, ...(rows.length > step.experts.length || !step.shared ? [] : [{ kind: 'zero' as const }])]
}

/** Whether the row of an expert would be zeros, whatever the embedding. */
function isFlat(
  { model, at, prompts, negative }: Expert,
  ids: (texts: readonly string[]) => readonly (readonly number[])[],
  refuse: Refuse,
): boolean {
  const tokens = (texts: readonly string[]): number[] =>
    ids(texts)
      .flat()
      .sort((a, b) => a - b)
  const found = tokens(prompts)
  if (found.length > 0 && found.join() !== tokens(negative).join()) return false
  if (found.length === 0) refuse(`the prompts of ${quote(model)} have no tokens`, 'write prompts with some text', at)
  else
    refuse(
      `the prompts and the negative prompts of ${quote(model)} have the same tokens, so that its row would be zeros`,
      'write other prompts',
      at,
    )
  return true
}

function meansOf(step: MixStep, { base: { layers, hidden } }: Making, context: PlanContext): RowSource[] | undefined {
  const { recipe, values, faults } = context
  const { file, at } = step.statistics!
  const { tensors } = values.get(file)!
  const place = recipe.placeOf(at, 'value')
  const hint = 'make the file with the script in docs/mixtures.md, from the base of this mixture'
  const read = (name: string, needed: boolean) => {
    const tensor = tensors.get(name)
    if (tensor && isMatrix(tensor, [layers, hidden])) return analysisTensor(name, tensor)
    if (tensor)
      faults.error(
        'bad-statistics',
        `${name} is ${tensor.dtype}[${tensor.shape.join(', ')}], and should be numbers [${layers}, ${hidden}]: layers and width of the base`,
        place,
        hint,
      )
    else if (needed) faults.error('missing-statistics', `the statistics have no ${name}`, place, hint)
    return tensor || needed ? 'wrong' : undefined
  }
  const { experts, shared } = step
  const ofShared = [...tensors.keys()].some((name) => name.startsWith(`expert.${experts.length}.`))
  const count = experts.length + (shared && !shared.zeroGate && (shared.prompts.length > 0 || ofShared) ? 1 : 0)
  const rows: RowSource[] = []
  for (let index = 0; index < count; index++) {
    const positive = read(`expert.${index}.positive`, true)
    const negative = read(`expert.${index}.negative`, false)
    if (positive === 'wrong' || negative === 'wrong' || !positive) return undefined
    rows.push({ kind: 'means', positive, ...(negative ? { negative } : {}) })
  }
  const most = step.experts.length + (step.shared ? 1 : 0)
  // Other names can be beside them.
  const odd = [...tensors.keys()].find((name) => {
    if (!name.startsWith('expert.')) return false
    const [, expert] = /^expert\.(\d+)\.(?:positive|negative)$/.exec(name) ?? []
    return expert === undefined || Number(expert) >= most
  })
  if (odd !== undefined) {
    faults.error(
      'bad-statistics',
      `the statistics have ${odd}, but expert.J.positive and expert.J.negative of ${plural(step.experts.length, 'expert')}${step.shared ? ' and a shared one' : ''} are used`,
      place,
      hint,
    )
    return undefined
  }
  return count > step.experts.length || !step.shared ? rows : [...rows, { kind: 'zero' }]
}

function embeddingOf(step: MixStep, { base: { hidden } }: Making, rows: readonly RowSource[], context: PlanContext) {
  const { recipe, values } = context
  const base = values.get(step.base)!
  const refuse = refusing(context, step.at)
  const all = [...base.tensors].filter(
    ([name, { shape }]) => EMBEDDING.test(name) && shape.length === 2 && shape[1] === hidden,
  )
  const [found] = all
  if (!found || all.length > 1)
    refuse(`${quote(step.base)} has no single embedding`, 'write gate: statistics or random')
  else if (recipe.tokenizer !== undefined || base.vocabulary)
    refuse(
      'prompts are cut by the tokenizer of the base, and tokenizer gives the result another one',
      'change the vocabulary in another recipe, and use its result as base',
    )
  else if (tokensOf(rows).some((id) => id >= found[1].shape[0]!))
    refuse(
      `the tokenizer of ${quote(base.origin)} has more tokens than its embedding has rows`,
      'use a complete model as base',
    )
  else return analysisTensor(found[0], found[1])
  return 'refused' as const
}

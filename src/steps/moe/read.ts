import { quote } from '../../core/suggest.js'
import { booleanOf, type Cursor, entriesOf, get, isMapping, itemsOf, numberOf, textOf } from '../../language/cursor.js'
import type { Report } from '../../language/report.js'
import type { Reading, StepDraft } from '../types.js'
import {
  type ArchitectureName,
  type Expert,
  expertsOf,
  type Gate,
  type MixStep,
  type MoeStep,
  type Naming,
  type SharedExpert,
} from './types.js'

const FORMS = ['experts', 'upcycle', 'pool', 'dense'] as const
/** The keys that each form takes beside its own. */
const TAKES: Readonly<Record<(typeof FORMS)[number], readonly string[]>> = {
  experts: [
    ...['base', 'gate', 'statistics', 'architecture', 'experts_per_token', 'shared_expert', 'residual_scale'],
    ...['noise_scale', 'seed', 'layout', 'equal_experts'],
  ],
  upcycle: ['gate', 'architecture', 'experts_per_token', 'shared_expert', 'residual_scale', 'seed', 'layout'],
  pool: ['experts_per_token', 'layout'],
  dense: [],
}

export function readMoe({ name, at }: StepDraft, reading: Reading): MoeStep | undefined {
  const { report } = reading.scope
  if (!isMapping(at)) return undefined
  const written = FORMS.filter((form) => get(at, form))
  const [form] = written
  if (form === undefined) {
    const hint = 'write base and experts for a mixture of dense models'
    report.error('missing-key', "moe needs 'experts', 'upcycle', 'pool' or 'dense'", at.path, { part: 'key', hint })
    return undefined
  }
  if (written.length > 1)
    report.error('contradiction', `moe can’t have both ${written[0]} and ${written[1]}`, [...at.path, written[1]!], {
      part: 'key',
      hint: 'write one step for each',
    })
  for (const [key] of entriesOf(at))
    if (!FORMS.some((one) => one === key) && !TAKES[form].includes(key))
      report.error('contradiction', `moe with ${form} has no ${quote(key)}`, [...at.path, key], {
        part: 'key',
        hint: TAKES[form].length > 0 ? `remove it; it takes ${TAKES[form].join(', ')}` : 'remove it',
      })
  const count = get(at, 'experts_per_token')
  const common: Common = {
    ...{ kind: 'moe', name, at: at.path },
    layout: (textOf(get(at, 'layout')) ?? 'parts') as Naming,
    ...(count ? { perToken: { count: numberOf(count) ?? 1, at: count.path } } : {}),
  }
  const own = get(at, form)!
  if (form === 'pool') return { ...common, form, models: itemsOf(own).map(reading.use) }
  if (form === 'dense') {
    const weights = get(own, 'weights')
    const values = itemsOf(weights).map((item) => numberOf(item) ?? 0)
    if (weights && !(values.reduce((sum, value) => sum + value, 0) !== 0))
      report.error('bad-value', 'the weights add up to 0', weights.path, { hint: 'they are divided by their sum' })
    return {
      ...common,
      form,
      model: reading.use(get(own, 'model')),
      ...(weights ? { weights: { values, at: weights.path } } : {}),
    }
  }
  return readMix(common, form, at, reading)
}

type Common = Pick<MixStep, 'kind' | 'name' | 'at' | 'layout' | 'perToken'>

function readMix(common: Common, form: MixStep['form'], at: Cursor, { scope, use }: Reading): MixStep {
  const { report } = scope
  const own = get(at, form)!
  const scale = numberOf(get(at, 'residual_scale')) ?? 1
  const noise = numberOf(get(at, 'noise_scale')) ?? 0
  if (form === 'experts' && !get(at, 'base'))
    report.error('missing-key', "moe needs the key 'base'", at.path, {
      part: 'key',
      hint: 'write base: NAME, the model for everything but the MLPs',
    })
  const experts =
    form === 'upcycle' ? copiesOf(own, scale, use) : itemsOf(own).map((one) => readExpert(one, { scale, noise }, use))
  const sharedAt = get(at, 'shared_expert')
  const statistics = get(at, 'statistics')
  const seed = numberOf(get(at, 'seed'))
  const step: MixStep = {
    ...common,
    form,
    base: form === 'upcycle' ? (experts[0]?.model ?? '') : get(at, 'base') ? use(get(at, 'base')) : '',
    experts,
    ...(sharedAt ? { shared: readShared(sharedAt, use) } : {}),
    gate: gateOf(at, form, experts),
    ...(get(at, 'architecture') ? { architecture: textOf(get(at, 'architecture')) as ArchitectureName } : {}),
    ...(seed === undefined ? {} : { seed }),
    ...(statistics ? { statistics: { of: 'experts', file: textOf(statistics) ?? '', at: statistics.path } } : {}),
    equalExperts: form === 'upcycle' || booleanOf(get(at, 'equal_experts')) === true,
  }
  checkMix(step, at, report)
  return step
}

function gateOf(at: Cursor, form: MixStep['form'], experts: readonly Expert[]): Gate {
  const written = textOf(get(at, 'gate'))
  if (written !== undefined) return written as Gate
  if (get(at, 'statistics')) return 'statistics'
  return form === 'experts' && experts.some(({ prompts }) => prompts.length > 0) ? 'embedding' : 'random'
}

type Use = Reading['use']

const textsOf = (at: Cursor | undefined): string[] => itemsOf(at).map((item) => textOf(item) ?? '')

const readExpert = (at: Cursor, { scale, noise }: Pick<Expert, 'scale' | 'noise'>, use: Use): Expert => ({
  model: use(get(at, 'model')),
  at: at.path,
  prompts: textsOf(get(at, 'prompts')),
  negative: textsOf(get(at, 'negative')),
  scale: numberOf(get(at, 'residual_scale')) ?? scale,
  noise: numberOf(get(at, 'noise_scale')) ?? noise,
})

const readShared = (at: Cursor, use: Use): SharedExpert => ({
  ...readExpert(at, { scale: numberOf(get(at, 'scale')) ?? 1, noise: numberOf(get(at, 'noise')) ?? 0 }, use),
  zeroGate: textOf(get(at, 'gate')) === 'zero',
})

function copiesOf(at: Cursor, scale: number, use: Use): Expert[] {
  const model = use(get(at, 'model'))
  const noise = numberOf(get(at, 'noise')) ?? 0
  const count = Math.min(4096, Math.max(1, numberOf(get(at, 'copies')) ?? 1))
  return Array.from({ length: count }, () => ({ model, at: at.path, prompts: [], negative: [], scale, noise }))
}

/** What text alone shows: prompts, gates and counts that do not go together. */
function checkMix(step: MixStep, at: Cursor, report: Report): void {
  const { experts, gate, perToken, statistics, shared, form } = step
  if (perToken && perToken.count > experts.length)
    report.error(
      'bad-value',
      `experts_per_token is ${perToken.count}, but there are ${experts.length} experts`,
      perToken.at,
      {
        hint: 'a token can go through each expert once',
      },
    )
  const gateAt = get(at, 'gate')?.path ?? at.path
  if (gate === 'statistics' && !statistics)
    report.error('missing-key', 'gate: statistics needs the hidden states of the prompts', gateAt, {
      hint: 'write statistics: FILE.safetensors; docs/mixtures.md has the script that makes it',
    })
  if (gate !== 'statistics' && statistics)
    report.error('contradiction', `gate: ${gate} does not use statistics`, statistics.at, {
      part: 'key',
      hint: 'write gate: statistics, or remove the file',
    })
  if (gate === 'embedding') checkPrompts(step, report, form === 'upcycle' ? at : undefined)
  const sameModel = experts.length > 1 && experts.every(({ model }) => model === experts[0]!.model)
  if (sameModel && !step.equalExperts && (gate === 'embedding' || gate === 'statistics'))
    report.error('contradiction', `all experts are ${quote(experts[0]!.model)}`, [...at.path, 'experts'], {
      part: 'key',
      hint: 'name other models, or write equal_experts: true if the mixture is to be trained',
    })
  for (const { scale, noise, at: place } of expertsOf(step))
    if (!Number.isFinite(Math.fround(scale)) || !Number.isFinite(Math.fround(noise)))
      report.error('bad-value', 'the scale or the noise of an expert is beyond the range of float32', place, {
        hint: 'write a number below 3e38',
      })
  if (shared && shared.negative.length > 0 && shared.prompts.length === 0)
    report.error('missing-key', 'the shared expert has negative prompts only', shared.at, {
      hint: 'write prompts for its gate as well, or remove negative',
    })
  const unused = expertsOf(step).find(({ prompts, negative }) => prompts.length + negative.length > 0)
  if (unused && (gate === 'random' || gate === 'uniform_random'))
    report.warn('unused-key', `gate: ${gate} does not use prompts`, unused.at, {
      hint: 'remove the prompts, or choose a gate that is made of them',
    })
  if (shared?.zeroGate && shared.prompts.length > 0)
    report.error('contradiction', 'the shared expert has prompts, and a gate of zeros', shared.at, {
      hint: 'remove prompts, or gate: zero',
    })
}

function checkPrompts({ experts }: MixStep, report: Report, upcycled: Cursor | undefined): void {
  if (upcycled) {
    report.error('contradiction', 'copies of one model have no prompts', upcycled.path, {
      part: 'key',
      hint: 'write gate: random, or name the experts one by one',
    })
    return
  }
  for (const { prompts, at, model } of experts)
    if (prompts.length === 0)
      report.error('missing-key', `the expert ${quote(model)} has no prompts`, at, {
        hint: 'write prompts: [TEXT, …], or gate: random for all',
      })
  const form = ({ prompts, negative }: Expert): string => JSON.stringify([prompts, negative])
  const [first, second] = experts
  if (first && second && first.prompts.length > 0 && experts.every((one) => form(one) === form(first)))
    report.error(
      'contradiction',
      'all experts have the same prompts: all rows of the router would be equal',
      second.at,
      {
        hint: 'write other prompts for each expert',
      },
    )
}

/** Steps, and the short forms that stand for them. */
import { quote } from '../core/suggest.js'
import {
  booleanOf,
  type Cursor,
  entriesOf,
  get,
  has,
  isMapping,
  itemsOf,
  numberOf,
  oneOrMore,
  textOf,
} from '../language/cursor.js'
import { resolveName, type Scope } from '../language/names.js'
import type { Evaluate } from '../language/types.js'
import type { ExtractStep } from '../steps/extract/types.js'
import type { Step } from '../steps/index.js'
import type { InterpolateStep } from '../steps/interpolate/types.js'
import { type Base, readFilters, readMerge } from '../steps/merge/read.js'
import type { MergeStep } from '../steps/merge/types.js'
import { inlineSpec } from '../steps/rebasin/readSpec.js'
import type { RebasinStep } from '../steps/rebasin/types.js'
import type { RepairStep } from '../steps/repair/types.js'
import { stackStep } from '../steps/stack/read.js'
import { STEP_KINDS } from './schema.js'

interface Draft {
  readonly name: string
  readonly kind: (typeof STEP_KINDS)[number]
  readonly at: Cursor
  /** In a joint alignment: its own name, and the place among its models of the one that this step moves; 0 for their mean. */
  readonly joint?: { readonly name: string; readonly place: number }
  /** Models that steps before it in the short form have replaced, when this one reads. */
  readonly replaced: ReadonlyMap<string, string>
}

/** Names of steps, and how to read each once all names are known. */
export function draftSteps(root: Cursor, scope: Omit<Scope, 'steps' | 'replaced'>): Draft[] {
  const short = ['rebasin', 'merge', 'repair'].filter((key) => has(root, key))
  const first = short[0]
  const steps = get(root, 'steps')
  if (steps && first !== undefined) {
    const message = `${quote(first)} is the short form and 'steps' the long one; a recipe has one of them`
    const hint = `move ${first} into steps, as NAME: {${first}: …}`
    scope.report.error('contradiction', message, [first], { part: 'key', hint })
  }
  return steps ? longForm(steps, scope) : shortForm(root, scope)
}

/** Steps nest where each uses the one before, and whoever walks them does so by recursion. */
const MOST_STEPS = 1000

function longForm(steps: Cursor, { models, report }: Omit<Scope, 'steps' | 'replaced'>): Draft[] {
  const entries = entriesOf(steps)
  const written = new Set(entries.map(([name]) => name))
  const made = new Set<string>()
  if (entries.length > MOST_STEPS)
    report.error('too-large', `a recipe may have ${MOST_STEPS} steps at most, not ${entries.length}`, steps.path, {
      part: 'key',
    })
  const drafts = entries.slice(0, MOST_STEPS).flatMap(([name, at]): Draft[] => {
    const taken = models.has(name)
    if (taken) {
      const hint = 'give the step a name of its own'
      report.error('name-taken', `${quote(name)} is a model already`, at.path, { part: 'key', hint })
    }
    if (name.trim() === '' || /[\u0000-\u001f\u007f]/.test(name))
      report.error('bad-value', `${quote(name)} is no name for a step`, at.path, { part: 'key' })
    const kind = STEP_KINDS.find((key) => has(at, key))
    const inner = kind && get(at, kind)
    if (!kind || !inner) return []
    const draft: Draft = { name: taken ? nameOfTaken(name) : name, kind, at: inner, replaced: new Map() }
    if (kind !== 'rebasin' || !has(inner, 'models')) return [draft]
    const own = jointDrafts(draft)
    for (const { name, joint } of own) {
      const who = models.has(name) ? 'model' : written.has(name) || made.has(name) ? 'step' : undefined
      if (who === undefined) continue
      const message = `${quote(name)} is what this alignment makes of a model, and the name of a ${who} already`
      const hint = `give the ${who} or the alignment another name`
      report.error('name-taken', message, [...inner.path, 'models', joint!.place], { hint })
    }
    for (const { name } of own) made.add(name)
    return [...own, { ...draft, joint: { name: draft.name, place: 0 } }]
  })
  return drafts.map((draft) =>
    made.has(draft.name) && !draft.joint?.place ? { ...draft, name: nameOfTaken(draft.name) } : draft,
  )
}

/** Of a step whose name is another's: so that uses of that are none of the step. */
const nameOfTaken = (name: string): string => `${name} (step)`

/** A joint alignment is a step a model that moves, NAME.MODEL; the first stays. In the long form NAME itself is their mean. */
function jointDrafts(draft: Draft): Draft[] {
  const models = itemsOf(get(draft.at, 'models')).map(textOf)
  return models.flatMap((model, place) =>
    model === undefined || place === 0
      ? []
      : [{ ...draft, name: `${draft.name}.${model}`, joint: { name: draft.name, place } }],
  )
}

function shortForm(root: Cursor, { models }: Omit<Scope, 'steps' | 'replaced'>): Draft[] {
  const drafts: Draft[] = []
  const taken = (text: string): boolean => models.has(text) || drafts.some((draft) => draft.name === text)
  const free = (name: string, isTaken = taken): string => {
    let number = 2
    if (!isTaken(name)) return name
    while (isTaken(`${name}-${number}`)) number++
    return `${name}-${number}`
  }
  let replaced: ReadonlyMap<string, string> = new Map()
  for (const at of oneOrMore(get(root, 'rebasin'))) {
    const model = textOf(get(at, 'model'))
    const made = (name: string): Draft[] => {
      const draft: Draft = { name, kind: 'rebasin', at, replaced }
      return has(at, 'models') ? jointDrafts(draft) : [draft]
    }
    const own = made(
      free(model === undefined ? 'rebasin' : `rebasin-${model}`, (text) => made(text).some(({ name }) => taken(name))),
    )
    drafts.push(...own)
    const places = itemsOf(get(at, 'models')).map(textOf)
    const moved = own.map(({ joint }) => (joint ? places[joint.place] : model))
    replaced = new Map([
      ...replaced,
      ...moved.flatMap((old, i) => (old === undefined ? [] : [[old, own[i]!.name] as const])),
    ])
  }
  const merge = get(root, 'merge')
  if (merge) drafts.push({ name: free('merge'), kind: 'merge', at: merge, replaced })
  const repair = get(root, 'repair')
  if (repair) drafts.push({ name: free('repair'), kind: 'repair', at: repair, replaced })
  return drafts
}

/** A step, and where it names each model or step that it uses. */
export interface LinkedStep {
  readonly step: Step
  readonly uses: readonly { readonly name: string; readonly at: Cursor }[]
}

export function readStep(draft: Draft, before: Draft | undefined, root: Cursor, all: Scope): LinkedStep | undefined {
  const scope = { ...all, replaced: draft.replaced }
  const uses: { name: string; at: Cursor }[] = []
  const use = (at: Cursor | undefined): string => {
    const found = resolveName(at, scope)
    if (at && found && found.name !== '') uses.push({ name: found.name, at })
    return found?.name ?? ''
  }
  const step = READERS[draft.kind](draft, {
    root,
    scope,
    use,
    before: before?.kind === 'merge' ? before.name : undefined,
  })
  if (!step) return undefined
  if (step.kind === 'repair' && !has(draft.at, 'model') && step.model !== '')
    uses.push({ name: step.model, at: draft.at })
  if (step.kind === 'merge') {
    // Names in a merge are told where they are read; what counts here is who is used, and where it is named first.
    const lists = [draft.at, ...itemsOf(get(draft.at, 'rules'))].flatMap((at) => itemsOf(get(at, 'models')))
    const base = get(draft.at, 'base') ?? get(root, 'base')
    const named = [...lists, ...(base ? [base] : [])]
    const places = new Map(named.map((item) => [textOf(item), item] as const).reverse())
    const settings = [step.settings, ...step.rules.map((rule) => rule.settings)]
    for (const name of new Set([step.base, ...settings.flatMap(({ models }) => models)]))
      if (name !== '') uses.push({ name, at: places.get(name) ?? draft.at })
  }
  return { step, uses }
}

interface Reading {
  readonly root: Cursor
  readonly scope: Scope
  readonly use: (at: Cursor | undefined) => string
  /** The merge that a repair of the short form mends. */
  readonly before: string | undefined
}
type Reader = (draft: Draft, reading: Reading) => Step | undefined

const READERS: Readonly<Record<Draft['kind'], Reader>> = {
  merge: readMergeStep,
  rebasin: readRebasin,
  repair: readRepair,
  interpolate: readInterpolate,
  stack: ({ name, at }, { scope, use }) => stackStep(name, at, scope.report, use),
  extract: readExtract,
}

function readMergeStep({ name, at }: Draft, { root, scope }: Reading): MergeStep {
  const long = has(root, 'steps')
  for (const key of ['base', 'filters'])
    if (!long && has(root, key) && has(at, key)) {
      const message = `${quote(key)} stands in the recipe and in merge`
      scope.report.error('contradiction', message, [...at.path, key], { part: 'key', hint: 'leave one of them out' })
    }
  const own = get(at, 'base') ?? get(root, 'base')
  const given: Base = {
    name: own ? (resolveName(own, scope)?.name ?? '') : firstModel(scope),
    at: own?.path ?? [],
    written: own !== undefined,
  }
  return {
    kind: 'merge',
    name,
    at: at.path,
    ...readMerge(at, given, scope),
    baseWritten: given.written,
    filters: readFilters(get(at, 'filters') ?? get(root, 'filters'), scope.report),
    onMissing: (textOf(get(at, 'on_missing')) ?? 'copy') as MergeStep['onMissing'],
    onMismatch: (textOf(get(at, 'on_mismatch')) ?? 'copy') as MergeStep['onMismatch'],
  }
}

function firstModel(scope: Scope): string {
  const [first] = scope.models.keys()
  return first === undefined ? '' : (scope.replaced.get(first) ?? first)
}

function readRebasin({ name, at, joint: part }: Draft, { scope, use }: Reading): RebasinStep | MergeStep {
  const { report } = scope
  const joint = get(at, 'models')
  const method = (textOf(get(at, 'method')) ?? 'weight-matching') as RebasinStep['method']
  for (const key of ['model', 'onto'])
    if (joint && has(at, key)) {
      const hint = 'models are aligned jointly, onto the first of them'
      report.error('contradiction', `rebasin has both models and ${key}`, [...at.path, key], { part: 'key', hint })
    } else if (!joint && !has(at, key) && isMapping(at))
      report.error('missing-key', `rebasin needs the key ${quote(key)}`, at.path, { part: 'key' })
  if (isMapping(at) && joint && method === 'weight-matching') {
    const where = get(at, 'method')?.path ?? joint.path
    const hint = 'use method: merge-many or c2m3'
    report.error('contradiction', 'weight-matching aligns one model, not several jointly', where, { hint })
  } else if (!joint && method !== 'weight-matching') {
    const hint = 'write models: [a, b, c]'
    report.error('contradiction', `${method} aligns several models jointly`, [...at.path, 'method'], { hint })
  }
  const models = joint ? itemsOf(joint).map(use) : [use(get(at, 'model'))]
  const onto = joint ? (models[0] ?? '') : use(get(at, 'onto'))
  if (!joint && onto !== '' && models[0] === onto)
    report.error('contradiction', `rebasin aligns ${quote(onto)} onto itself`, [...at.path, 'onto'])
  const twice = joint ? models.findIndex((name, index) => name !== '' && models.indexOf(name) < index) : -1
  if (joint && twice >= 0)
    report.error('contradiction', `rebasin aligns ${quote(models[twice]!)} with itself`, [...joint.path, twice])
  if (joint && part?.place === 0) {
    const names = [
      onto,
      ...itemsOf(joint)
        .slice(1)
        .map((item) => `${name}.${textOf(item)}`),
    ]
    return meanOf(name, at, names)
  }
  return {
    kind: 'rebasin',
    name,
    at: at.path,
    method,
    model: models[part?.place ?? 0] ?? '',
    ...(joint && part ? { joint: { name: part.name, models } } : {}),
    onto,
    spec: readSpec(get(at, 'spec'), report),
    symmetry: textOf(get(at, 'symmetry')) === 'orthogonal' ? 'orthogonal' : 'permutation',
    seed: numberOf(get(at, 'seed')) ?? 0,
    maxIterations: numberOf(get(at, 'max_iterations')) ?? 100,
  }
}

/** What a joint alignment stands for as one model: the plain average of the aligned ones. */
const meanOf = (name: string, at: Cursor, models: readonly string[]): MergeStep => ({
  kind: 'merge',
  name,
  at: at.path,
  base: models[0] ?? '',
  baseWritten: false,
  filters: { include: [], exclude: [] },
  settings: {
    method: 'linear',
    at: at.path,
    models,
    weights: models.map(() => [1]),
    weightsAt: at.path,
    parameters: new Map(),
  },
  rules: [],
  onMissing: 'copy',
  onMismatch: 'copy',
})

function readSpec(at: Cursor | undefined, report: Scope['report']): RebasinStep['spec'] {
  const text = textOf(at)
  if (at && isMapping(at)) return inlineSpec(at.node, at.path, report)
  if (text === undefined || text === 'auto') return 'auto'
  return /[./\\]/.test(text) ? { file: text } : { family: text }
}

function readRepair({ name, at }: Draft, { scope, use, before }: Reading): RepairStep {
  const model = get(at, 'model')
  if (!model && before === undefined && isMapping(at)) {
    const hint = has({ node: at.node, path: [] }, 'batch_norm') ? 'write model: NAME of the merge to repair' : undefined
    scope.report.error('missing-key', "repair needs the key 'model'", at.path, { part: 'key', hint })
  }
  return { kind: 'repair', name, at: at.path, model: model ? use(model) : (before ?? ''), batchNorm: 'correlation' }
}

export function readEvaluate(at: Cursor | undefined): Evaluate | undefined {
  const texts = (key: string) =>
    itemsOf(get(at, key))
      .map(textOf)
      .filter((word) => word !== undefined)
  const [env, timeout] = [texts('env'), numberOf(get(at, 'timeout'))]
  return (
    at && {
      command: texts('command'),
      ...(env.length > 0 ? { env } : {}),
      ...(timeout === undefined ? {} : { timeout }),
      at: at.path,
    }
  )
}

function readInterpolate({ name, at }: Draft, { scope, use }: Reading): InterpolateStep {
  const points = get(at, 'points')
  const list = get(at, 'at')
  if (points && list) {
    const message = 'interpolate has both points and at'
    const hint = 'points spreads values evenly, at lists them; leave one out'
    scope.report.error('contradiction', message, list.path, { part: 'key', hint })
  } else if (!points && !list && isMapping(at)) {
    const hint = 'write points: 11, or at: [0, 0.5, 1]'
    scope.report.error('missing-key', "interpolate needs 'points' or 'at'", at.path, { part: 'key', hint })
  }
  const count = numberOf(points) ?? 0
  const numbers = itemsOf(list).map(numberOf)
  const twice = numbers.findIndex((t, index) => t !== undefined && numbers.indexOf(t) < index)
  const written = numbers.map((t) => t ?? 0)
  if (list && twice >= 0)
    scope.report.error('bad-value', `interpolate has the point ${written[twice]} twice`, [...list.path, twice])
  const evaluate = readEvaluate(get(at, 'evaluate'))
  return {
    kind: 'interpolate',
    name,
    at: at.path,
    from: use(get(at, 'from')),
    to: use(get(at, 'to')),
    // Quotients of whole numbers, so that 0.1 is the nearest double and both ends are exact.
    points: list ? written : Array.from({ length: Math.min(count, 10001) }, (_, i) => i / Math.max(1, count - 1)),
    method: textOf(get(at, 'method')) === 'slerp' ? 'slerp' : 'linear',
    keep: booleanOf(get(at, 'keep')) ?? true,
    ...(evaluate ? { evaluate } : {}),
  }
}

function readExtract({ name, at }: Draft, { scope, use }: Reading): ExtractStep {
  const lora = get(at, 'lora')
  const [from, base] = [use(get(lora, 'from')), use(get(lora, 'base'))]
  if (from !== '' && from === base) {
    const hint = 'name the tuned model and the model that it was made from'
    const message = `the difference of ${quote(from)} from itself is nothing`
    scope.report.error('contradiction', message, [...at.path, 'lora', 'from'], { hint })
  }
  const rank = numberOf(get(lora, 'rank')) ?? 1
  return {
    kind: 'extract',
    name,
    at: at.path,
    from,
    base,
    rank,
    alpha: numberOf(get(lora, 'alpha')) ?? rank,
    filters: readFilters(lora, scope.report),
    modulesToSave: booleanOf(get(lora, 'modules_to_save')) ?? false,
    loraBias: booleanOf(get(lora, 'lora_bias')) ?? false,
    method: (textOf(get(lora, 'method')) ?? 'auto') as ExtractStep['method'],
    oversampling: numberOf(get(lora, 'oversampling')) ?? 16,
    iterations: numberOf(get(lora, 'iterations')) ?? 4,
  }
}

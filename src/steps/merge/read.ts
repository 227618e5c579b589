/** Reads `merge` and its rules: models, weights, parameters, and what rules inherit. */

import { compilePattern } from '../../core/patterns.js'
import { didYouMean, nearest, quote } from '../../core/suggest.js'
import { agree, plural } from '../../core/words.js'
import { DTYPE_NAMES } from '../../encodings/index.js'
import { type Cursor, entriesOf, get, isMapping, itemsOf, numberOf, oneOrMore, textOf } from '../../language/cursor.js'
import { type Participant, resolveName, type Scope } from '../../language/names.js'
import type { Report } from '../../language/report.js'
import type { Filters, Gradient, LocatedPattern, Path } from '../../language/types.js'
import { lookupMethod, METHOD_NAMES, whichBase, withInner } from '../../methods/registry.js'
import type { Method } from '../../methods/types.js'
import { readGradient } from './blocks.js'
import { checkFormula, formedMethod } from './formula/formed.js'
import { findParticipant, type Parameters, readParameters } from './parameters.js'
import { isShape, readShape } from './trajectory.js'
import type { MergeSettings, MergeStep } from './types.js'

type Weights =
  | { readonly kind: 'list'; readonly values: readonly (number | undefined)[]; readonly at: Path }
  | { readonly kind: 'map'; readonly values: ReadonlyMap<string, Gradient>; readonly at: Path }

/** Settings before they are resolved. `participants` still contains the base of a task-vector method. */
interface Draft {
  readonly method: Method | undefined
  readonly methodAt: Path
  /** Undefined if the models are unknown: an unknown method, and no `models` in the recipe. */
  readonly participants: readonly Participant[] | undefined
  /** The place for errors about the choice of models: the list if there is one, otherwise the method. */
  readonly choiceAt: Path
  readonly modelsWritten: boolean
  /** Whether a rule keeps the method and the models of the merge. Their errors are already reported for the merge. */
  readonly repeats: boolean
  readonly weights: Weights | undefined
  readonly parameters: Parameters
  readonly wrong: ReadonlySet<string>
}

export interface Base {
  /** The name of a model or step. Empty if unknown. */
  readonly name: string
  readonly at: Path
  /** Without `base` in the recipe, the first model. It then only gives names and shapes. */
  readonly written: boolean
}

/** Whether the method requires the recipe to name a base. */
const comparesWithBase = (method: Method | undefined): boolean =>
  method?.base === 'required' || method?.base === 'listed'

/** The base for a method that uses its values. A default base is not used for that. */
const baseFor = (method: Method | undefined, base: Base): Base =>
  base.written || !comparesWithBase(method) ? base : { ...base, name: '' }

export function readPatterns(at: Cursor | undefined, report: Report): LocatedPattern[] {
  return oneOrMore(at).flatMap((item) => {
    const text = textOf(item)
    // The structure check has already reported an empty list.
    if (text === undefined || text.trim() === '') return []
    const pattern = compilePattern(text)
    if (pattern.kind !== 'fault') return [{ pattern, at: item.path }]
    report.error('bad-pattern', pattern.message, item.path, { within: pattern })
    return []
  })
}

export const readFilters = (at: Cursor | undefined, report: Report): Filters => ({
  include: readPatterns(get(at, 'include'), report),
  exclude: readPatterns(get(at, 'exclude'), report),
})

/** `base`: the given one. Undefined if the method needs one and the recipe has none. */
export function readMerge(
  at: Cursor,
  given: Base,
  scope: Scope,
): Pick<MergeStep, 'settings' | 'rules' | 'base' | 'dtype' | 'rank' | 'energy'> {
  const merge = draft(at, undefined, given, scope)
  const rules = itemsOf(get(at, 'rules')).map((rule) => ({
    match: readPatterns(get(rule, 'match'), scope.report),
    settings: settle(draft(rule, merge, given, scope), rule, given, scope),
  }))
  const dtype = DTYPE_NAMES[textOf(get(at, 'dtype')) ?? '']
  const base = baseFor(merge.method, given).name || (areAdapters(merge, scope) ? merge.participants![0]!.name : '')
  const limit = get(at, 'rank')
  const rank = textOf(limit) === 'full' ? ('full' as const) : numberOf(limit)
  const energy = numberOf(get(at, 'energy'))
  return {
    ...{ settings: settle(merge, at, given, scope), rules, base },
    ...(dtype ? { dtype } : {}),
    ...(rank === undefined ? {} : { rank }),
    ...(energy === undefined ? {} : { energy }),
  }
}

/** Whether all merged models are known to be adapters: their task vectors are what they change. */
const areAdapters = ({ participants = [] }: Draft, { adapters }: Scope): boolean =>
  participants.length > 0 && participants.every(({ name }) => adapters?.has(name) === true)

/** Reports an unknown method (`unknown-method`), and returns the method that was probably meant. */
function readMethod(at: Cursor | undefined, report: Report): Method | undefined {
  const name = textOf(at)
  if (at === undefined || name === undefined || name.trim() === '') return undefined
  const method = lookupMethod(name)
  if (method) return method
  const hint = didYouMean(name, METHOD_NAMES, 'methods')
  report.error('unknown-method', `there is no merge method ${quote(name)}`, at.path, { hint })
  return lookupMethod(nearest(name, METHOD_NAMES, 1)[0] ?? '')
}

/** A method with the inner one that is written, or that a rule has from its merge. */
function innerOf(method: Method, written: Cursor | undefined, merge: Draft | undefined): Method {
  const same = merge?.method?.name === method.name ? merge : undefined
  return !written && same?.method ? same.method : withInner(method, textOf(written))
}

/** A method as its parameters make it. */
function madeOf(method: Method, parameters: Cursor | undefined, merge: Draft | undefined): Method {
  if (!method.open) return innerOf(method, get(parameters, 'inner'), merge)
  return formedMethod(method, parameters, isSame(method, merge?.method) ? merge?.parameters : undefined)
}

/** Whether a rule has the method of its merge. A formula makes another method of the same name. */
const isSame = (own: Method | undefined, other: Method | undefined): boolean =>
  own !== undefined && (own === other || (own.open !== undefined && own.name === other?.name))

function draft(at: Cursor, merge: Draft | undefined, given: Base, scope: Scope): Draft {
  const { report } = scope
  const methodAt = get(at, 'method')
  const named = methodAt || !merge ? readMethod(methodAt, report) : merge.method
  const method = named && madeOf(named, get(at, 'parameters'), merge)
  const base = baseFor(method, given)
  // A rule with another method starts from the defaults of that method. It still inherits `models`.
  const kept = merge && (!methodAt || isSame(method, merge.method)) ? merge : undefined

  const models = get(at, 'models')
  const written = models && readModelsList(models, scope)
  const participants = written ?? (merge ? merge.participants : defaultParticipants(method, base, scope))
  const own = method && participants && withoutBase(method, participants, base)

  const weights = readWeights(get(at, 'weights'), method, participants, own, report)
  const { parameters, wrong } = method
    ? readParameters(get(at, 'parameters'), method, own, report)
    : { parameters: new Map(), wrong: new Set<string>() }
  return {
    method,
    methodAt: methodAt?.path ?? merge?.methodAt ?? at.path,
    participants,
    choiceAt: models?.path ?? methodAt?.path ?? at.path,
    modelsWritten: models !== undefined || (merge?.modelsWritten ?? false),
    repeats: kept !== undefined && models === undefined,
    weights: kept ? overlay(weights, kept, written !== undefined) : weights,
    parameters: kept ? new Map([...kept.parameters, ...parameters]) : parameters,
    wrong: kept ? new Set([...kept.wrong, ...wrong]) : wrong,
  }
}

function readModelsList(at: Cursor, scope: Scope): Participant[] | undefined {
  if (at.node.kind !== 'list') return undefined
  const found: Participant[] = []
  for (const item of itemsOf(at)) {
    const participant = resolveName(item, scope) ?? { written: '', name: '' }
    if (participant.name !== '' && found.some(({ name }) => name === participant.name)) {
      const message = `${quote(participant.written)} is listed twice`
      scope.report.error('duplicate-model', message, item.path, { hint: 'list it once, with the sum of its weights' })
    }
    // It stays in the list, so that the counts of models and weights cause no further errors.
    found.push(participant)
  }
  return found
}

function defaultParticipants(method: Method | undefined, base: Base, scope: Scope): Participant[] | undefined {
  if (method === undefined) return undefined
  const all = [...scope.models.keys()].map((name) => ({ written: name, name: scope.replaced.get(name) ?? name }))
  return withoutBase(method, all, base)
}

/** The base of a task-vector method is not a merged model, listed or not. */
const withoutBase = (method: Method, all: readonly Participant[], base: Base): Participant[] =>
  all.filter(({ name }) => method.base !== 'required' || name !== base.name)

function readWeights(
  at: Cursor | undefined,
  method: Method | undefined,
  listed: readonly Participant[] | undefined,
  own: readonly Participant[] | undefined,
  report: Report,
): Weights | undefined {
  if (at === undefined) return undefined
  if (method && !method.weights) {
    const hint = method.open
      ? 'use w in the formula, or remove the weights'
      : method.parameters.some(({ name }) => name === 't')
        ? 'use its parameter t'
        : undefined
    report.error('no-weights', `${method.name} has no weights`, at.path, { part: 'key', hint })
    return undefined
  }
  if (isMapping(at) && isShape(at)) {
    const shape = readShape(at, own?.length ?? 0, report)
    if (!shape || !listed || !own) return undefined
    return { kind: 'list', values: listed.map((model) => shape[own.indexOf(model)]), at: at.path }
  }
  if (isMapping(at)) {
    const values = new Map<string, Gradient>()
    for (const [key, item] of entriesOf(at)) {
      const participant = listed && findParticipant(key, item, listed, report)
      const gradient = readGradient(item, report)
      if (participant && gradient) values.set(participant.written, gradient)
      if (participant && own && !own.includes(participant)) warnBase(method, participant, item, report)
    }
    return { kind: 'map', values, at: at.path }
  }
  if (at.node.kind !== 'list' || at.node.items.length === 0) return undefined
  const items = itemsOf(at)
  // For a model that is listed twice (already reported), it is unknown whether it has one weight or two.
  const twice = listed !== undefined && new Set(listed.map(({ name }) => name)).size < listed.length
  if (listed && items.length !== listed.length) {
    if (twice) return undefined
    const names = listed.map(({ written }) => written).join(', ')
    const message = `${plural(items.length, 'weight')} ${agree(items.length, 'is', 'are')} given for ${plural(listed.length, 'model')} (${names})`
    report.error('weight-count', message, at.path, { hint: 'give one weight per model, or a mapping by name' })
    return undefined
  }
  return { kind: 'list', values: items.map(numberOf), at: at.path }
}

const warnBase = (method: Method | undefined, { written }: Participant, at: Cursor, report: Report): void =>
  report.warn('base-weight', `${method?.name} ignores the weight of the base ${quote(written)}`, at.path, {
    part: 'key',
    hint: 'remove it: a task-vector method always starts from the whole base',
  })

/**
 * The weights of a rule override those of the merge: mappings by name, lists as a whole. Models that the rule omits
 * have no weight.
 */
function overlay(own: Weights | undefined, merge: Draft, otherModels: boolean): Weights | undefined {
  const below = merge.weights
  if (own?.kind === 'list' || !below) return own ?? below
  if (!own && !otherModels) return below
  const named =
    below.kind === 'map'
      ? below.values
      : new Map(below.values.map((value, i) => [merge.participants?.[i]?.written ?? '', [value ?? 1]]))
  return { kind: 'map', values: new Map([...named, ...(own?.values ?? [])]), at: own?.at ?? below.at }
}

/** Checks the settings as a whole, and puts the weights in the order of the models. */
function settle(draft: Draft, at: Cursor, given: Base, scope: Scope): MergeSettings {
  const { report } = scope
  const { method, participants = [], weights } = draft
  const base = baseFor(method, given)
  const own = method ? withoutBase(method, participants, base) : participants
  // The requirements of a misspelt method are only a guess. Only the misspelling is reported.
  const chosen = textOf(get(at, 'method'))
  const guessed = chosen !== undefined && lookupMethod(chosen) === undefined
  const needsBase = comparesWithBase(method) && !(method?.base === 'required' && areAdapters(draft, scope))
  if (method && !guessed && !given.written && needsBase && !draft.repeats && !method.open)
    refuseWithoutBase(method, at, draft, scope)
  if (method?.open) {
    const baseHint = given.written ? undefined : baseExample(method, draft, scope)
    const models = draft.participants && own.length
    checkFormula(method, draft.parameters, get(at, 'parameters'), { models, baseHint }, report)
  }
  if (method && !guessed && draft.participants && !draft.repeats) {
    checkCount(method, own, draft, report)
    if (method.base === 'listed' && base.name !== '' && !own.some(({ name }) => name === base.name)) {
      const message = `${method.name} needs its base ${quote(base.name)} in models`
      report.error('base-not-listed', message, draft.choiceAt, { hint: `add ${base.written} to models` })
    }
    for (const { name, default: value } of method.parameters) {
      if (value !== undefined || draft.parameters.has(name) || draft.wrong.has(name)) continue
      const parameters = get(at, 'parameters')
      if (parameters && !isMapping(parameters)) continue
      const message = `${method.name} requires the parameter ${quote(name)}`
      const place = parameters?.path ?? draft.methodAt
      report.error('missing-parameter', message, place, { hint: `write parameters: {${name}: …}` })
    }
  }
  const weightOf = ({ written }: Participant): Gradient => {
    if (weights?.kind === 'map') return weights.values.get(written) ?? [1]
    return [weights?.values[participants.findIndex((other) => other.written === written)] ?? 1]
  }
  const names = new Set(own.map(({ name }) => name))
  return {
    method: method?.name ?? '',
    at: at.path,
    models: [...names],
    weights: own.map(weightOf),
    weightsAt: weights?.at ?? draft.methodAt,
    parameters: new Map([...draft.parameters].map(([key, entry]) => [key, only(entry, names)])),
  }
}

/**
 * Reported at the method. A rule that keeps the method of the merge would have the same error. Error: `missing-base`.
 */
function refuseWithoutBase(method: Method, at: Cursor, draft: Draft, scope: Scope): void {
  const chosen = get(at, 'method')
  if (!chosen) return
  scope.report.error(
    'missing-base',
    `${method.name} requires a base model, but the recipe does not name one`,
    chosen.path,
    { hint: baseExample(method, draft, scope) },
  )
}

/** The likely base is a model that is not listed, unless the method requires a listed one. */
function baseExample(method: Method, { participants, modelsWritten }: Draft, scope: Scope): string {
  const listed = new Set(modelsWritten ? participants?.map(({ name }) => name) : [])
  const likely = [...scope.models.keys()].find((name) => method.base === 'listed' || !listed.has(name))
  const example = likely === undefined ? '' : ` (such as base: ${likely})`
  return `write base: NAME, ${whichBase(method)}${example}`
}

/** Per-model values of the merged models only. A rule may have inherited others. */
function only<E extends Parameters extends ReadonlyMap<string, infer V> ? V : never>(entry: E, names: Set<string>): E {
  if (entry.value.kind !== 'per-model') return entry
  const values = new Map([...entry.value.values].filter(([name]) => names.has(name)))
  return { ...entry, value: { ...entry.value, values } }
}

function checkCount(method: Method, own: readonly Participant[], draft: Draft, report: Report): void {
  const { least, most } = method.models
  if (own.length >= least && own.length <= (most ?? Infinity)) return
  const apart = method.base === 'required' ? ' in addition to the base' : ''
  const wanted = least === most ? `exactly ${least}` : own.length < least ? `at least ${least}` : `at most ${most}`
  const models = agree((own.length < least ? least : most) ?? least, 'model', 'models')
  const names = own.length === 0 ? '' : ` (${own.map(({ written }) => written).join(', ')})`
  const message = `${method.name} needs ${wanted} ${models}${apart}, not ${own.length}${names}`
  const hint = draft.modelsWritten ? undefined : 'write models: [NAME, …] next to method'
  report.error('model-count', message, draft.choiceAt, { hint })
}

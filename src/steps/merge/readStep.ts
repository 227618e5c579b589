import { quote } from '../../core/suggest.js'
import { type Cursor, get, has, itemsOf, textOf } from '../../language/cursor.js'
import { resolveName, type Scope } from '../../language/names.js'
import type { Reading, StepDraft } from '../types.js'
import { type Base, readFilters, readMerge } from './read.js'
import type { MergeStep } from './types.js'

export function readMergeStep({ name, at }: StepDraft, { root, scope, uses }: Reading): MergeStep {
  const long = has(root, 'steps')
  for (const key of ['base', 'filters'])
    if (!long && has(root, key) && has(at, key)) {
      const message = `${quote(key)} is set both in the recipe and in merge`
      scope.report.error('contradiction', message, [...at.path, key], { part: 'key', hint: 'remove one of them' })
    }
  const own = get(at, 'base') ?? get(root, 'base')
  const given: Base = {
    name: own ? (resolveName(own, scope)?.name ?? '') : defaultBase(at, scope),
    at: own?.path ?? [],
    written: own !== undefined,
  }
  const step: MergeStep = {
    kind: 'merge',
    name,
    at: at.path,
    ...readMerge(at, given, scope),
    baseWritten: given.written,
    filters: readFilters(get(at, 'filters') ?? get(root, 'filters'), scope.report),
    onMissing: (textOf(get(at, 'on_missing')) ?? 'copy') as MergeStep['onMissing'],
    onMismatch: (textOf(get(at, 'on_mismatch')) ?? 'copy') as MergeStep['onMismatch'],
  }
  // Names are checked where they are read. This only records which models and steps are used, and the first place of
  // each.
  const lists = [at, ...itemsOf(get(at, 'rules'))].flatMap((one) => itemsOf(get(one, 'models')))
  const named = [...lists, ...(own ? [own] : [])]
  const places = new Map(named.map((item) => [textOf(item), item] as const).reverse())
  for (const name of new Set(mergeUses(step))) if (name !== '') uses(name, places.get(name) ?? at)
  return step
}

/** The base and the merged models. */
export const mergeUses = ({ base, settings, rules }: MergeStep): readonly string[] => [
  base,
  ...[settings, ...rules.map((rule) => rule.settings)].flatMap(({ models }) => models),
]

/** The first model of the recipe. A mixture that is merged has other tensors: then it is that one. */
function defaultBase(at: Cursor, scope: Scope): string {
  const merged = textOf(itemsOf(get(at, 'models'))[0])
  if (merged !== undefined && scope.renewed?.has(merged)) return merged
  const [first] = scope.models.keys()
  return first === undefined ? '' : (scope.replaced.get(first) ?? first)
}

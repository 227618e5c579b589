/**
 * In mergekit, each parameter has its own filters. In a recipe, the first rule that matches a tensor sets everything.
 * So tensors are grouped by the values that all filters give them, and rules lead each tensor to its group: one rule
 * per filter if that is enough, and rules with names where filters overlap.
 */
import { withLayer } from '../../../networks/layerNames.js'

export interface Rule<Group> {
  readonly match: readonly string[]
  readonly group: Group
}

export interface Grouping<Group> {
  /** Of the tensors that no rule matches. */
  readonly otherwise: Group
  readonly rules: readonly Rule<Group>[]
}

interface Draft<Group> {
  readonly match: readonly string[]
  readonly group: Group
  readonly has: (name: string) => boolean
}

/** A filter as a pattern that matches anywhere in the name. */
const filterPattern = (filter: string): string =>
  `/${filter.replace(/[\\^$.*+?()[\]{}|/-]/g, (c) => (c === '-' || c === '/' ? c : `\\${c}`))}/`

/**
 * `filters`: in order. `names`: all tensors, with the group of each in `groupOf`. If `complete` is false, the names
 * are only examples of unknown tensors, and rules that match none of them are kept.
 */
export function groupByRules<Group extends object>(
  filters: readonly string[],
  names: readonly string[],
  groupOf: (name: string) => Group,
  complete: boolean,
): Grouping<Group> {
  const groups = new Map(names.map((name) => [name, groupOf(name)]))
  const rest = names.filter((name) => !filters.some((filter) => name.includes(filter)))
  const otherwise = mostOf((rest.length > 0 ? rest : names).map((name) => groups.get(name)!))
  const drafts: Draft<Group>[] = []
  const taken = new Set<string>()
  for (const filter of filters) {
    const own = names.filter((name) => !taken.has(name) && name.includes(filter))
    if (own.length === 0) continue
    for (const name of own) taken.add(name)
    const group = mostOf(own.map((name) => groups.get(name)!))
    drafts.push({ match: [filterPattern(filter)], group, has: (name) => name.includes(filter) })
  }
  const reached = (rules: readonly Draft<Group>[], name: string): Group =>
    rules.find(({ has }) => has(name))?.group ?? otherwise
  const astray = names.filter((name) => reached(drafts, name) !== groups.get(name))
  let rules = [...byName(astray, names, groups), ...drafts]
  if (complete)
    for (let i = rules.length - 1; i >= 0; i--) {
      const fewer = rules.filter((_, at) => at !== i)
      if (names.every((name) => reached(fewer, name) === groups.get(name))) rules = fewer
    }
  return { otherwise, rules: joined(rules) }
}

/** The largest group. The first of several equal ones. */
function mostOf<Group extends object>(groups: readonly Group[]): Group {
  const counts = new Map<Group, number>()
  for (const group of groups) counts.set(group, (counts.get(group) ?? 0) + 1)
  let best = groups[0]!
  for (const [group, count] of counts) if (count > counts.get(best)!) best = group
  return best
}

/** Rules that list tensors by name. A star replaces the layer number if all layers are in the same group. */
function byName<Group extends object>(
  astray: readonly string[],
  names: readonly string[],
  groups: ReadonlyMap<string, Group>,
): Draft<Group>[] {
  const families = new Map<string, string[]>()
  for (const name of names) {
    const family = withLayer(name, '*')
    families.set(family, [...(families.get(family) ?? []), name])
  }
  const patterns = new Map<Group, Map<string, readonly string[]>>()
  for (const name of astray) {
    const group = groups.get(name)!
    const family = families.get(withLayer(name, '*'))!
    const whole = family.length > 1 && family.every((other) => groups.get(other) === group)
    const found = patterns.get(group) ?? new Map<string, readonly string[]>()
    patterns.set(group, found.set(whole ? withLayer(name, '*') : name, whole ? family : [name]))
  }
  return [...patterns].map(([group, found]) => {
    const all = new Set([...found.values()].flat())
    return { match: [...found.keys()], group, has: (name) => all.has(name) }
  })
}

/** Joins neighbours with the same settings. */
function joined<Group extends object>(rules: readonly Draft<Group>[]): Rule<Group>[] {
  const result: Rule<Group>[] = []
  for (const { match, group } of rules) {
    const before = result.at(-1)
    if (before?.group === group) result[result.length - 1] = { match: [...before.match, ...match], group }
    else result.push({ match, group })
  }
  return result
}

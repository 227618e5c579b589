/** Changes to an inferred spec: groups and tensors that are added or replaced, groups that are tied, and what keeps its order. */
import { emptyTable } from '../../core/collections/ownValue.js'
import { type Diagnostic, Fault } from '../../core/diagnostics.js'
import { compilePattern } from '../../core/patterns.js'
import { didYouMean, quote } from '../../core/suggest.js'
import type { AxisText, Shapes, SpecPlaces, SpecText } from '../spec.js'

type Groups = NonNullable<SpecText['groups']>
type Complain = (at: readonly (string | number)[], message: string, hint?: string) => void

/** Why a group or tensor stays that `keep` names. */
const KEPT = 'the recipe keeps it in order'

/**
 * The written form of an inferred spec with the changes of `text`: first its groups and tensors, then ties, then what it keeps.
 * Error: `spec-misfit`, with names that the spec does not have and ties of groups that differ.
 */
export function extendSpec(inferred: SpecText, text: SpecText, shapes: Shapes, placeOf?: SpecPlaces): SpecText {
  const errors: Diagnostic[] = []
  const complain: Complain = (at, message, hint) => {
    const place = placeOf?.(at)
    errors.push({
      ...{ severity: 'error', code: 'spec-misfit', message },
      ...(place ? { place } : {}),
      ...(hint === undefined ? {} : { hint }),
    })
  }
  const groups = { ...inferred.groups, ...text.groups }
  const tensors = { ...inferred.tensors, ...text.tensors }
  const frozen = new Map<string, string>()
  const names = tiedNames(text.tie ?? [], { groups, tensors, shapes, frozen, complain })
  const kept = { ...inferred.kept, ...text.kept }
  for (const [index, pattern] of (text.keep ?? []).entries()) {
    const found = compilePattern(pattern)
    if (found.kind === 'fault') complain(['keep', index], `${quote(pattern)}: ${found.message}`)
    else {
      const own = Object.keys(groups).filter((name) => found.matches(name))
      const touched = Object.keys(tensors).filter((name) => found.matches(name))
      for (const name of touched) kept[name] ??= KEPT
      for (const name of [...own, ...touched.flatMap((tensor) => groupsIn(tensors[tensor]!))])
        frozen.set(names.get(name) ?? name, KEPT)
      if (own.length + touched.length === 0 && ![...shapes.keys()].some((name) => found.matches(name)))
        complain(['keep', index], `no group and no tensor matches ${quote(pattern)}`, 'run terge inspect MODEL --spec')
    }
  }
  if (errors.length > 0) throw new Fault(errors)
  return changed(groups, tensors, kept, names, frozen)
}

/** Gives tied groups one name, and tensors without a group of their own no group. */
function changed(
  groups: Groups,
  tensors: SpecText['tensors'],
  kept: Record<string, string>,
  names: ReadonlyMap<string, string>,
  frozen: ReadonlyMap<string, string>,
): SpecText {
  const sizes = new Map(Object.entries(groups).map(([name, group]) => [name, sizeOf(group)]))
  const nameOf = (name: string): string => names.get(name) ?? name
  const outer = (name: string): string | undefined => {
    const group = groups[name]
    return typeof group === 'object' && group.inside !== undefined ? nameOf(group.inside) : undefined
  }
  const stays = (name: string): boolean => frozen.has(nameOf(name)) || frozen.has(outer(name) ?? '')
  const unit = (one: string): string => (!sizes.has(one) ? one : stays(one) ? String(sizes.get(one)) : nameOf(one))
  const run = (text: string): string =>
    text
      .split('*')
      .map((one) => unit(one.trim()))
      .join('*')
  const axis = (text: AxisText): AxisText => {
    if (text === null) return null
    const runs = (typeof text === 'string' ? [text] : text).map(run)
    if (runs.every((one) => /^[\d*]+$/.test(one))) return null
    return typeof text === 'string' ? runs[0]! : runs
  }
  const rows = emptyTable<readonly AxisText[]>()
  for (const [name, axes] of Object.entries(tensors)) rows[name] = axes.map(axis)
  const left = Object.entries(groups).flatMap(([name, group]): [string, Groups[string]][] => {
    if (stays(name) || nameOf(name) !== name) return []
    const inside = outer(name)
    return [[name, inside === undefined ? group : { size: sizeOf(group), inside }]]
  })
  const reasons = [...frozen].filter(([name]) => sizes.has(name))
  return { groups: Object.fromEntries(left), tensors: rows, kept: { ...Object.fromEntries(reasons), ...kept } }
}

const sizeOf = (group: Groups[string]): number => (typeof group === 'number' ? group : group.size)

const groupsIn = (axes: readonly AxisText[]): string[] =>
  axes
    .flatMap((axis) => (axis === null ? [] : typeof axis === 'string' ? [axis] : axis))
    .flatMap((run) => run.split('*'))

interface Ties {
  readonly groups: Groups
  readonly tensors: SpecText['tensors']
  readonly shapes: Shapes
  /** Groups that stay because they are tied to an axis that does, with the reason. */
  readonly frozen: Map<string, string>
  readonly complain: Complain
}

/** By tied group: the first one, whose name all of them get. */
function tiedNames(ties: readonly (readonly string[])[], all: Ties): ReadonlyMap<string, string> {
  const names = new Map<string, string>()
  const rootOf = (name: string): string => names.get(name) ?? name
  for (const [index, members] of ties.entries()) {
    const found = members.map((member, place) => memberOf(member, ['tie', index, place], all))
    const groups = [...new Set(found.flatMap((one) => (one?.group === undefined ? [] : [rootOf(one.group)])))]
    const stays = found.find((one) => one && one.group === undefined)
    const [first] = found
    const other = found.findIndex((one) => one && first && one.size !== first.size)
    if (other >= 0)
      all.complain(
        ['tie', index, other],
        `${members[0]} has ${first!.size} units and ${members[other]} ${found[other]!.size}: they can't share a permutation`,
      )
    const [root, ...others] = groups
    if (root === undefined) continue
    for (const [name] of Object.entries(all.groups)) if (others.includes(rootOf(name))) names.set(name, root)
    if (stays) all.frozen.set(root, `tied to ${stays.name}, which keeps its order`)
    for (const name of others) if (all.frozen.has(name)) all.frozen.set(root, all.frozen.get(name)!)
  }
  return names
}

/** A member of a tie: a group, or an axis such as `fc1.weight[0]`. */
function memberOf(
  member: string,
  at: readonly (string | number)[],
  { groups, tensors, shapes, complain }: Ties,
): { readonly name: string; readonly size: number; readonly group?: string } | undefined {
  if (Object.hasOwn(groups, member)) {
    const group = groups[member]!
    if (typeof group === 'number') return { name: member, size: group, group: member }
    complain(at, `${member} is inside ${group.inside}: only whole groups can be tied`)
    return undefined
  }
  const [, tensor = '', axis = ''] = /^(.*)\[(\d+)\]$/.exec(member) ?? []
  const size = shapes.get(tensor)?.shape[Number(axis)]
  if (size === undefined) {
    const hint = didYouMean(member, Object.keys(groups), 'groups') ?? 'write a group, or an axis such as fc1.weight[0]'
    complain(at, `${quote(member)} is neither a group of the spec nor an axis of a tensor`, hint)
    return undefined
  }
  const own = Object.hasOwn(tensors, tensor) ? (tensors[tensor]![Number(axis)] ?? null) : null
  if (own === null) return { name: member, size }
  if (typeof own === 'string' && typeof groups[own] === 'number') return { name: member, size, group: own }
  complain(
    at,
    `${member} is ${typeof own === 'string' ? own : own.join(' + ')}: only axes of one whole group can be tied`,
  )
  return undefined
}

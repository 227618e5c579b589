/**
 * Patterns of paths in a recipe: each is replaced by the checkpoints that it matches, before the recipe is read. So everything after this
 * sees a recipe that lists each checkpoint by name.
 */
import { hasStar, parsePathPattern } from '../../core/names/pathPattern.js'
import { quote } from '../../core/suggest.js'
import { counted } from '../../core/words.js'
import type { Report } from '../../language/report.js'
import {
  childOf,
  type Entry,
  type MapNode,
  makeBroken,
  makeList,
  makeMap,
  makeScalar,
  type Node,
  replaceChild,
  toPlain,
} from '../../language/tree.js'
import type { Path } from '../../language/types.js'
import { linkTarget } from '../../storage/local/places.js'
import { findMatches, type Looking } from './find.js'
import { warnOfOrder } from './order.js'
import type { Group, Groups } from './types.js'

export interface Expanded {
  readonly root: MapNode
  readonly groups: Groups
  /** Whether a pattern names an unknown number of models, because it is wrong or matches nothing. */
  readonly open: boolean
}

export interface ExpandOptions extends Looking {
  /** False: a pattern that matches nothing is one model, because the models are elsewhere. */
  readonly must: boolean
}

/** Errors: those of `findMatches`, `bad-pattern`, `contradiction`, `name-taken`. Warnings: `skipped-match`, `unclear-order`. */
export function expandPatterns(root: MapNode, options: ExpandOptions, report: Report): Expanded {
  const models = childOf(root, 'models')
  if (models?.kind !== 'map') return { root, groups: new Map(), open: false }
  const work = new Expansion(options, report)
  work.readModels(models)
  const lists = ['merge', 'zip', 'rebasin', 'steps'].flatMap((key) => {
    const node = childOf(root, key)
    return node ? [[key, work.withLists(node, [key])] as const] : []
  })
  if (!work.changed) return { root, groups: work.groups, open: work.open }
  const found = lists.reduce<Node>((at, [key, node]) => replaceChild(at, key, node), root)
  const whole = replaceChild(found, 'models', makeMap(models.span, work.entries)) as MapNode
  warnOfOrder(whole, work.groups, report)
  return { root: whole, groups: work.groups, open: work.open }
}

const textOf = (node: Node | undefined): string | undefined =>
  node?.kind === 'scalar' && typeof node.value === 'string' ? node.value : undefined

/** The path of a model's entry, as written. */
const pathOf = (node: Node): string | undefined => textOf(node.kind === 'map' ? childOf(node, 'path') : node)

const isElsewhere = (written: string): boolean => /^(hf:|s3:\/\/)/.test(written)

class Expansion {
  readonly groups = new Map<string, Group>()
  readonly entries = new Map<string, Entry>()
  changed = false
  open = false
  /** Names of models by where they are and how they are read. */
  private readonly known = new Map<string, string>()
  /** Patterns that match nothing. */
  private readonly kept = new Set<string>()

  constructor(
    private readonly options: ExpandOptions,
    private readonly report: Report,
  ) {}

  readModels(models: MapNode): void {
    const isPattern = ({ value }: Entry): boolean => this.isPattern(pathOf(value) ?? textOf(childOf(value, 'hub')))
    for (const [name, entry] of models.entries) {
      const written = pathOf(entry.value)
      if (written !== undefined && !isPattern(entry)) this.known.set(this.keyOf(written, entry.value), name)
    }
    for (const [name, entry] of models.entries)
      if (isPattern(entry)) this.readGroup(name, entry, models)
      else this.entries.set(name, entry)
  }

  /** A path with a star that exists is that path. */
  private isPattern(written: string | undefined): boolean {
    if (written === undefined || !hasStar(written)) return false
    const { place, resolve, listed } = this.options
    if (listed?.includes(written)) return false
    return isElsewhere(written) || linkTarget(place(resolve(written))) === undefined
  }

  /** Where a model is, and how it is read. */
  private keyOf(reference: string, node: Node): string {
    const rest = node.kind === 'map' ? { ...(toPlain(node) as object), path: undefined } : {}
    return JSON.stringify([this.options.resolve(reference), rest])
  }

  private readGroup(name: string, entry: Entry, models: MapNode): void {
    const { value } = entry
    const at = ['models', name]
    const where = value.kind === 'map' ? [...at, childOf(value, 'path') ? 'path' : 'hub'] : at
    const written = pathOf(value) ?? textOf(childOf(value, 'hub'))!
    this.changed = true
    const made = this.refusedWith(value, at)
      ? undefined
      : this.find(written, where, childOf(value, 'hub') !== undefined)
    if (!made) {
      this.entries.set(name, this.isKept(written) ? entry : { ...entry, value: withoutPath(value) })
      return
    }
    const names = made.matches.map(({ reference, name: matched }) => {
      const own =
        value.kind === 'map'
          ? replaceChild(value, 'path', scalar(childOf(value, 'path')!, reference))
          : scalar(value, reference)
      return this.named(`${name}/${matched}`, reference, { key: entry.key, value: own }, models, at)
    })
    this.groups.set(name, { pattern: made.pattern, at, models: names })
  }

  /** Whether the pattern stays as one model, since its checkpoints are elsewhere. */
  private isKept(written: string): boolean {
    return !this.options.must && this.kept.has(written)
  }

  /** Keys of a model that mean one file, and cannot be those of several. Error: `contradiction`. */
  private refusedWith(value: Node, at: Path): boolean {
    const key = ['sha256', 'lora', 'statistics'].find((key) => childOf(value, key))
    if (key === undefined) return false
    this.open = true
    this.report.error('contradiction', `${key} belongs to one model, and a pattern names several`, [...at, key], {
      part: 'key',
      hint: `write one entry for each model that has ${key}`,
    })
    return true
  }

  /** The matches of a pattern. Undefined after an error, and for a pattern that is kept. */
  private find(written: string, at: Path, hub: boolean) {
    const { report, options } = this
    const fail = (...error: Parameters<Report['error']>): undefined => {
      this.open = true
      report.error(...error)
    }
    if (hub || isElsewhere(written)) {
      const where = written.startsWith('s3://') ? 'in a store' : 'on the hub'
      return fail(
        'bad-value',
        `${quote(written)} is ${where}, and patterns name checkpoints on this machine only`,
        at,
        {
          hint: 'write one entry for each model',
        },
      )
    }
    const pattern = parsePathPattern(written)
    if ('problem' in pattern)
      return fail('bad-pattern', `${quote(written)} ${pattern.problem}`, at, { hint: pattern.hint })
    const { matches, skipped, problem } = findMatches(pattern, options)
    const none = problem?.code === 'no-checkpoints' || (!problem && matches.length === 0)
    if (none && (!options.must || options.listed)) {
      this.open = true
      this.kept.add(written)
      return undefined
    }
    if (problem) return fail(problem.code, problem.message, at, { hint: problem.hint })
    const [one] = skipped
    if (one) {
      const more = skipped.length > 1 ? `, and ${counted(skipped.length - 1, 'more match', 'more matches')}` : ''
      const message = `${quote(written)} skips ${one.reference}: ${one.why}${more}`
      report.warn('skipped-match', message, at, { hint: 'write a narrower pattern, so that nothing is skipped' })
    }
    return { pattern, matches }
  }

  /** The name of a checkpoint: the one that it has already, or a new one. Error: `name-taken`. */
  private named(name: string, reference: string, entry: Entry, models: MapNode, at: Path): string {
    const key = this.keyOf(reference, entry.value)
    const known = this.known.get(key)
    if (known !== undefined) return known
    if (models.entries.has(name))
      this.report.error(
        'name-taken',
        `the pattern makes a model named ${quote(name)}, but a model already has this name`,
        at,
        {
          part: 'key',
          hint: 'rename that model',
        },
      )
    this.known.set(key, name)
    this.entries.set(name, entry)
    return name
  }

  /** The tree with patterns and names of groups in lists of models replaced. */
  withLists(node: Node, at: Path): Node {
    if (node.kind === 'scalar') return node
    if (node.kind === 'list') {
      const items = node.items.map((item, index) => this.withLists(item, [...at, index]))
      return items.some((item, index) => item !== node.items[index]) ? makeList(node.span, items) : node
    }
    let found: Node = node
    for (const [key, { value }] of node.entries) {
      if (FREE_KEYS.has(key)) continue
      const inner =
        key === 'models' && value.kind === 'list'
          ? this.withMembers(value.span, value.items, [...at, key])
          : this.withLists(value, [...at, key])
      if (inner && inner !== value) found = replaceChild(found, key, inner)
    }
    return found
  }

  private withMembers(span: Node['span'], items: readonly Node[], at: Path): Node | undefined {
    const all = items.map((item, index) => {
      const written = textOf(item)
      if (written === undefined || this.entries.has(written)) return [item]
      const group =
        this.groups.get(written) ?? (this.isPattern(written) ? this.listed(written, item, [...at, index]) : undefined)
      return group ? group.models.map((name) => scalar(item, name)) : [item]
    })
    return all.every((own, index) => own[0] === items[index]) ? undefined : makeList(span, all.flat())
  }

  /** A pattern that stands in a list of models. */
  private listed(written: string, item: Node, at: Path): Group | undefined {
    this.changed = true
    const same = [...this.groups.values()].find(({ pattern }) => pattern.text === written)
    if (same) return same
    const made = this.find(written, at, false)
    if (!made) {
      // The error is reported. Its name is that of a model, so that nothing else is wrong with it.
      this.entries.set(written, { key: item.span, value: this.isKept(written) ? item : makeBroken(item.span) })
      return undefined
    }
    const taken = makeMap(item.span, this.entries)
    const models = made.matches.map(({ reference }) =>
      this.named(
        reference.replace(/^(\.\/)+/, ''),
        reference,
        { key: item.span, value: scalar(item, reference) },
        taken,
        at,
      ),
    )
    const group = { pattern: made.pattern, at, models }
    this.groups.set(written, group)
    return group
  }
}

/** Mappings whose keys are words of the user: `models` is one of those there. */
const FREE_KEYS: ReadonlySet<string> = new Set(['spec', 'parameters', 'metadata', 'search'])

const scalar = ({ span }: Node, text: string): Node => makeScalar(span, text, text)

/** An entry whose path is wrong, as reported. */
const withoutPath = (value: Node): Node =>
  value.kind === 'map' && childOf(value, 'path')
    ? replaceChild(value, 'path', makeBroken(childOf(value, 'path')!.span))
    : makeBroken(value.span)

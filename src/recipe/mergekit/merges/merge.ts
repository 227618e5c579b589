/** Converts one merge of a mergekit configuration (all models, or one slice) to a `merge` of a recipe. */

import { ownValue } from '../../../core/collections/ownValue.js'
import { quote } from '../../../core/suggest.js'
import { type MapNode, type Node, type Span, toPlain } from '../../../language/tree.js'
import { nameAt, type Stacks, siteOf, stacksOf } from '../../../networks/layerNames.js'
import type { Complaints } from '../complaints.js'
import { type Comments, list, mapping, text } from '../nodes.js'
import { type Atom, atomOf, collapse, evaluate, filtersOf, type Matches } from '../settings.js'
import type { MergekitMethod, Parameter } from './methods.js'
import { groupByRules } from './rules.js'

/** A model in a merge. */
export interface Participant {
  /** The name in the recipe. */
  readonly name: string
  readonly written: string
  readonly parameters: MapNode | undefined
  /**
   * The offset from the layers of the merge to the layers of this model. Filters match the names in the model's own
   * files.
   */
  readonly shift: number
  readonly isBase: boolean
  readonly at: Span
}

export interface MergeInput {
  readonly method: string
  readonly known: MergekitMethod
  readonly methodAt: Span
  readonly participants: readonly Participant[]
  /** The `base` of the merge. Absent if the first model is the base. */
  readonly base: { readonly name: string; readonly at: Span } | undefined
  /** The parameters of the slice, the module and the document, as far as there are any. */
  readonly levels: readonly MapNode[]
  /** The tensors of the merge. Absent if the models are not available. */
  readonly names: readonly string[] | undefined
  /** The prefix of the stack that is cut. Absent: the first number of a name is the layer. */
  readonly stack?: string
  /**
   * The offset from the layers of the merge to those of the output. Filters of the document match the names of the
   * output.
   */
  readonly shift: number
  readonly complain: Complaints
  readonly comments: Comments
  /** Filters that match some tensor name. */
  readonly met: Set<string>
  /** Merge only the rows that all models have, if the numbers of rows differ. */
  readonly crop: boolean
}

/** All mergekit settings of one tensor: by parameter name, for each model or once. */
interface Group {
  readonly weights: readonly (Atom | undefined)[] | undefined
  readonly parameters: ReadonlyMap<string, readonly (Atom | undefined)[]>
}

export function buildMerge(input: MergeInput): MapNode {
  const { method, methodAt, participants, base, names, comments, complain, known } = input
  const filters = filtersIn(input)
  const groupFor = sharedGroups(input)
  for (const name of names ?? []) for (const filter of filters) if (seen(input, name, filter)) input.met.add(filter)
  // Without names, each filter is represented by a tensor that only it matches.
  const { otherwise, rules } = groupByRules(filters, names ?? ['', ...filters], groupFor, names !== undefined)
  const full = render(otherwise, input)
  const merge = mapping(
    [
      ['method', text(method, methodAt)],
      ['base', base && text(base.name, base.at)],
      [
        'models',
        list(
          participants.map((one) => text(one.name, one.at)),
          methodAt,
        ),
      ],
      ['weights', full.weights],
      ['parameters', parametersNode(full.parameters, methodAt)],
      ['on_mismatch', input.crop ? text('crop', methodAt) : undefined],
      [
        'rules',
        rules.length === 0
          ? undefined
          : list(
              rules.map(({ match, group }) => ruleNode(input, match, group, otherwise)),
              methodAt,
            ),
      ],
    ],
    methodAt,
  )
  if (known.shared.some(({ name }) => name === 'rescale') && full.parameters.has('rescale'))
    comments.set(full.parameters.get('rescale')!, 'mergekit rescales so that each task vector keeps its L1 norm')
  if (names === undefined && filters.length > 1 && cascades(input).size > 1)
    complain.warn(
      'unknown-names',
      'filters of several parameters may overlap; without the models, terge does not know which tensors they match',
      methodAt,
      'run import again where the models are available',
    )
  return merge
}

/** Settings by tensor name. Names with the same settings get the same object, so that rules can be compared. */
function sharedGroups(input: MergeInput): (name: string) => Group {
  const groups = new Map<string, Group>()
  const stacks = stacksOf(input.names ?? [])
  return (name) => {
    const group = groupOf(input, name, stacks)
    const key = JSON.stringify([
      group.weights?.map(jsonOf),
      ...[...group.parameters].map(([p, all]) => [p, all.map(jsonOf)]),
    ])
    const before = groups.get(key)
    if (!before) groups.set(key, group)
    return before ?? group
  }
}

/** A rule: only what differs from the settings of the other tensors. */
function ruleNode(input: MergeInput, match: readonly string[], group: Group, otherwise: Group): Node {
  const { participants, methodAt } = input
  const below = render(otherwise, input, true)
  const own = render(group, input, true)
  const differing = [...own.parameters].filter(([name, node]) => plain(node) !== plain(below.parameters.get(name)))
  // A mapping of weights in a rule overrides the weights of the merge name by name.
  const changed = participants.filter((_, i) => jsonOf(group.weights?.[i]) !== jsonOf(otherwise.weights?.[i]))
  const weights = changed.length === 0 ? undefined : weightsNode(changed, group, input)
  const at = weights?.span ?? differing[0]?.[1].span ?? methodAt
  return mapping(
    [
      [
        'match',
        match.length === 1
          ? text(match[0]!, at)
          : list(
              match.map((pattern) => text(pattern, at)),
              at,
            ),
      ],
      ['weights', weights],
      ['parameters', parametersNode(new Map(differing), at)],
    ],
    at,
  )
}

const plain = (node: Node | undefined): string | undefined => node && JSON.stringify(toPlain(node))

const jsonOf = (atom: Atom | undefined): string | null => atom?.json ?? null

const parametersNode = (parameters: ReadonlyMap<string, Node>, at: Span): Node | undefined =>
  parameters.size === 0 ? undefined : mapping([...parameters], at)

/** The places where a parameter can be set, the most specific first. */
const levelsOf = ({ levels }: MergeInput, name: string, own?: MapNode): Node[] =>
  [...(own ? [own] : []), ...levels].flatMap((level) => level.entries.get(name)?.value ?? [])

/** All filters that affect this merge, in order, without duplicates. */
function filtersIn(input: MergeInput): string[] {
  const all = [...cascades(input).values()].flat()
  const found = all.flatMap(filtersOf).sort((a, b) => a.node.span.start - b.node.span.start)
  return [...new Set(found.map(({ filter }) => filter))]
}

/** The settings with filters, by the text of their filters. With more than one entry, filters can overlap. */
function cascades(input: MergeInput): Map<string, Node[]> {
  const { known, participants } = input
  const all = [
    ...known.shared.map(({ name }) => levelsOf(input, name)),
    ...known.perModel.flatMap(({ name }) => participants.map((one) => levelsOf(input, name, one.parameters))),
  ]
  const kinds = new Map<string, Node[]>()
  for (const nodes of all) {
    const filters = nodes.flatMap(filtersOf).map(({ filter }) => filter)
    if (filters.length === 0) continue
    const key = JSON.stringify(filters)
    kinds.set(key, [...(kinds.get(key) ?? []), ...nodes])
  }
  return kinds
}

/** The tensor's name after its layer number is shifted. Only layers of the stack that is cut are shifted. */
function shifted({ stack }: MergeInput, name: string, by: number): string {
  const site = by === 0 ? undefined : siteOf(name, stack)
  return site ? nameAt(site.prefix, site.layer + by, site.rest) : name
}

/** A filter matches if it matches one of the names under which mergekit would look. */
const seen = (input: MergeInput, name: string, filter: string): boolean =>
  [input.shift, ...input.participants.map((one) => one.shift)].some((by) => shifted(input, name, by).includes(filter))

function groupOf(input: MergeInput, name: string, stacks: Stacks): Group {
  const { known, participants, shift, names } = input
  const found = stacks.of(name)
  // For a single layer, mergekit uses the last value of a gradient.
  const single =
    names !== undefined && (found ? found.stack.depth === 1 : stacks.list.every(({ depth }) => depth === 1))
  const inLayer = found !== undefined
  const atom = (parameter: Parameter, by: number, one?: Participant): Atom | undefined => {
    const full = shifted(input, name, by)
    const matches: Matches = (filter) => full.includes(filter)
    for (const level of levelsOf(input, parameter.name, one?.parameters)) {
      const value = evaluate(level, matches)
      if (value === undefined) continue
      const found = atomOf(value, parameter, input.complain)
      return found && single ? collapse(found, inLayer) : found
    }
    if (parameter.default === undefined && !(one?.isBase ?? false)) missing(input, parameter, name, one)
    return undefined
  }
  const parameters = new Map<string, readonly (Atom | undefined)[]>()
  let weights: (Atom | undefined)[] | undefined
  for (const parameter of known.shared) if (parameter.recipe) parameters.set(parameter.name, [atom(parameter, shift)])
  for (const parameter of known.perModel) {
    const values = participants.map((one) => atom(parameter, one.shift, one))
    if (parameter.recipe === 'weights') weights = values
    else parameters.set(parameter.name, values)
  }
  return { weights, parameters }
}

function missing(input: MergeInput, parameter: Parameter, name: string, one: Participant | undefined): void {
  const { method, methodAt, complain, names } = input
  const some = levelsOf(input, parameter.name, one?.parameters)
  // Without names, it is unknown whether there is a tensor that no filter matches.
  if (some.length > 0 && names === undefined) return
  const whom = one ? ` for ${quote(one.written)}` : ''
  const where = some.length > 0 ? `; none of its filters matches ${name}` : ''
  const hint =
    some.length > 0
      ? 'end its list with an entry {value: …} without a filter'
      : `write parameters: {${parameter.name}: …}${one ? ' next to the model' : ''}`
  complain.error(
    'missing-parameter',
    `${method} needs ${parameter.name}${whom}${where}`,
    some[0]?.span ?? one?.at ?? methodAt,
    hint,
  )
}

const weightsNode = (of: readonly Participant[], { weights }: Group, { participants, methodAt }: MergeInput): Node =>
  mapping(
    of.map((one) => [one.name, weights?.[participants.indexOf(one)]?.node]),
    methodAt,
  )

interface Rendered {
  readonly weights: Node | undefined
  readonly parameters: ReadonlyMap<string, Node>
}

/** A group as keys of a recipe. `explicit`: write the defaults too, because the group overrides other settings. */
function render(group: Group, input: MergeInput, explicit = false): Rendered {
  const { known, participants, methodAt } = input
  const fallback = ({ default: value }: Parameter): Node | undefined =>
    value === undefined ? undefined : text(value, methodAt)
  const parameters = new Map<string, Node>()
  for (const parameter of known.shared) {
    const value = group.parameters.get(parameter.name)?.[0]?.node
    const special = ownValue(SPECIAL, parameter.name)
    const node = value ?? (explicit || special ? fallback(parameter) : undefined)
    const said = special ? special(node, { group, written: value !== undefined || explicit, at: methodAt }) : node
    if (parameter.recipe && said) parameters.set(parameter.recipe, said)
  }
  for (const parameter of known.perModel) {
    const values = group.parameters.get(parameter.name)
    if (!values || !parameter.recipe) continue
    const nodes = values.map((value) => value?.node ?? (explicit ? fallback(parameter) : undefined))
    const same = values.every((value) => jsonOf(value) === jsonOf(values[0]))
    const node = same
      ? nodes[0]
      : mapping(
          participants.map((one, i) => [one.name, nodes[i]]),
          methodAt,
        )
    if (node) parameters.set(parameter.recipe, node)
  }
  return {
    weights: group.weights && weightsNode(participants, group, input),
    parameters,
  }
}

interface SpecialContext {
  readonly group: Group
  /** Whether the parameter is in the configuration, or must be written in any case. */
  readonly written: boolean
  readonly at: Span
}

const isTrue = (node: Node | undefined): boolean => node?.kind === 'scalar' && node.value === true

/** Parameters whose values mean something else in a recipe. `node`: the value, including mergekit's default. */
const SPECIAL: Readonly<Record<string, (node: Node | undefined, context: SpecialContext) => Node | undefined>> = {
  // mergekit's default differs from terge's, so true is always written.
  rescale: (node, { written, at }) => (isTrue(node) ? text('l1', node?.span ?? at) : written ? node : undefined),
  // mergekit's row_wise works on columns, and has no effect with flatten.
  nuslerp_row_wise: (node, { group, at }) => {
    const flatten = group.parameters.get('nuslerp_flatten')?.[0]
    return flatten?.json === 'false' ? text(!isTrue(node), node?.span ?? at) : undefined
  },
  nuslerp_flatten: (node, { written }) => (written ? node : undefined),
}

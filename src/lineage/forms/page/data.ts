import { distinct } from '../../../core/collections/distinct.js'
import { naturalOrder } from '../../../core/collections/naturalOrder.js'
import { ABSENT_REASONS, COPY_REASONS } from '../../../core/reasons.js'
import { sortedKeys } from '../../serialize.js'
import type { Lineage, LineageMerge, LineagePart, LineageSource, LineageTensor } from '../../types.js'
import { rounded, roundedJson } from './numbers.js'
import {
  COLOUR_COUNT,
  type Lines,
  type PageData,
  type ParametersData,
  type PartData,
  type RowData,
  type SourceData,
} from './pageData.js'
import type { Rules } from './rules.js'

/** Colours of names: models in the recipe's order, then steps, then methods by name. */
export interface Colours {
  readonly ofName: (name: string) => number
  readonly ofMethod: (method: string) => number
}

export function coloursOf(lineage: Lineage): Colours & { readonly names: readonly string[] } {
  const models = Object.entries(lineage.models).sort(([, a], [, b]) => a.index - b.index)
  const names = [...models.map(([name]) => name), ...sortedKeys(lineage.steps)]
  const methods = [...new Set(Object.values(lineage.tensors).map(({ method }) => method))].sort()
  const places = new Map(names.map((name, index) => [name, index % COLOUR_COUNT]))
  const byMethod = new Map(methods.filter((one) => one !== 'copy').map((one, index) => [one, index % COLOUR_COUNT]))
  return {
    names,
    ofName: (name) => places.get(name) ?? 0,
    // Copied tensors are grey.
    ofMethod: (method) => (method === 'copy' ? COLOUR_COUNT : (byMethod.get(method) ?? 0)),
  }
}

/** Characters of the ways to make tensors. Beyond, the page leaves out those of steps on the way. */
const LARGEST = 11e6

/** Values of the lineage, each stored once. */
class Pools {
  readonly names = distinct<string>((name) => name)
  readonly methods = distinct<string>((method) => method)
  readonly parameterNames = distinct<readonly string[]>(JSON.stringify)
  readonly parameters = distinct<string>((line) => line)
  readonly merges = distinct<string>((line) => line)

  constructor(
    names: readonly string[],
    private readonly nested: boolean,
  ) {
    for (const name of names) this.names.index(name)
  }

  private source({ model, tensor, weight, of }: LineageSource, name: string): SourceData {
    const own = this.names.index(model)
    const other = tensor === name ? 0 : tensor
    const share = weight === null ? null : rounded(weight)
    if (of && this.nested) return [own, other, share, this.merge(of, name)]
    return share === null ? (other === 0 ? [own] : [own, other]) : [own, other, share]
  }

  private parametersOf(parameters: LineageMerge['parameters']): number {
    const entries = Object.entries(parameters)
    const line: ParametersData = [
      this.parameterNames.index(entries.map(([key]) => key)),
      ...entries.map(([, value]) => value),
    ]
    return this.parameters.index(roundedJson(line))
  }

  /** The number of a way to make a tensor. */
  merge(
    { method, parameters, sources, base, cropped, parts }: LineageMerge & Partial<LineageTensor>,
    name: string,
  ): number {
    const last = [
      base ? this.source(base, name) : 0,
      cropped ?? 0,
      parts && this.nested ? parts.map((part) => this.part(part, name)) : 0,
    ] as const
    const used = last.findLastIndex((one) => one !== 0) + 1
    const line = [
      this.methods.index(method),
      this.parametersOf(parameters),
      sources.map((source) => this.source(source, name)),
      ...last.slice(0, used),
    ]
    return this.merges.index(JSON.stringify(line))
  }

  private part(part: LineagePart, name: string): PartData {
    return [this.names.index(part.model), part.tensor === name ? 0 : part.tensor, this.merge(part, name)]
  }
}

const ALGORITHM = /^[\w-]+:/

/** How many characters two names have in common at their start. */
function sharedLength(a: string, b: string): number {
  let at = 0
  while (at < a.length && a[at] === b[at]) at++
  // Not between the two halves of a character.
  return at > 0 && /[\ud800-\udbff]/.test(a[at - 1]!) ? at - 1 : at
}

interface Data {
  readonly data: PageData
  readonly lines: Lines
}

/** What the script needs; with less detail if it is too large. */
export function pageData(lineage: Lineage, colours: ReturnType<typeof coloursOf>, rules: Rules): Data {
  const whole = dataOf(lineage, colours, rules, true)
  const size = [...whole.lines.merges, ...whole.lines.parameters].reduce((sum, line) => sum + line.length, 0)
  return size > LARGEST ? dataOf(lineage, colours, rules, false) : whole
}

function dataOf(lineage: Lineage, colours: ReturnType<typeof coloursOf>, rules: Rules, nested: boolean): Data {
  const pools = new Pools(colours.names, nested)
  const dtypes = distinct<string>((dtype) => dtype)
  const shapes = distinct<readonly number[]>(String)
  const reasons = distinct<keyof typeof COPY_REASONS>((reason) => reason)
  const absents = distinct<NonNullable<LineageTensor['absent']>>(JSON.stringify)
  const notes = distinct<readonly string[]>(JSON.stringify)
  const ruleSets = distinct<readonly number[]>(String)
  const names = Object.keys(lineage.tensors).sort(naturalOrder)
  const tensors = names.map((name) => lineage.tensors[name]!)
  const algorithm = ALGORITHM.exec(tensors.find(({ digest }) => digest !== null)?.digest ?? '')?.[0] ?? ''
  const shared = names.map((name, index) => (index === 0 ? 0 : sharedLength(names[index - 1]!, name)))
  const each = <T>(of: (tensor: LineageTensor, name: string) => T): T[] => tensors.map((one, i) => of(one, names[i]!))
  const rows: RowData = {
    shared,
    names: names.map((name, index) => name.slice(shared[index])),
    methods: each(({ method }) => pools.methods.index(method)),
    merges: each((tensor, name) => pools.merge(tensor, name)),
    dtypes: each(({ dtype }) => dtypes.index(dtype)),
    shapes: each(({ shape }) => shapes.index(shape)),
    reasons: each(({ reason }) => (reason === undefined ? -1 : reasons.index(reason))),
    absents: each(({ absent }) => (absent ? absents.index(absent) : -1)),
    notes: each((tensor) => (tensor.notes ? notes.index(tensor.notes) : -1)),
    nonFinite: each(({ non_finite: count }) => count ?? 0),
    rules: each((tensor, name) => ruleSets.index(rules.of(name, tensor))),
    digests: each(({ digest }) =>
      digest === null ? 0 : digest.startsWith(algorithm) ? digest.slice(algorithm.length) : digest,
    ),
  }
  const data: PageData = {
    names: pools.names.list,
    methods: pools.methods.list,
    nameColours: pools.names.list.map(colours.ofName),
    methodColours: pools.methods.list.map(colours.ofMethod),
    parameterNames: pools.parameterNames.list,
    dtypes: dtypes.list,
    shapes: shapes.list,
    reasons: reasons.list.map((code) => ({ code, text: COPY_REASONS[code] })),
    absents: absents.list.map((absent) =>
      absent.map(({ model, reason }) => ({ model, reason: ABSENT_REASONS[reason] })),
    ),
    notes: notes.list,
    rules: rules.list,
    ruleSets: ruleSets.list,
    algorithm,
    shortened: !nested,
    rows,
  }
  return { data, lines: { merges: pools.merges.list, parameters: pools.parameters.list } }
}

/** mergekit's documents as a recipe: each a merge, or merges of slices and a stack of them. */
import { layerCount, layerOf, withLayer } from '../../core/layerNames.js'
import { didYouMean, quote } from '../../core/suggest.js'
import { lookupMethod } from '../../methods/registry.js'
import { type MapNode, makeScalar, type Node, type Span } from '../tree.js'
import type { Complaints } from './complaints.js'
import { buildMerge, type Participant } from './merge.js'
import { ACCEPTED, ALONE, MERGEKIT_METHODS, type MergekitMethod, SCALED } from './methods.js'
import type { Known, ModelBook } from './models.js'
import { type Comments, list, mapping, text } from './nodes.js'
import { atomOf, evaluate, filtersOf } from './settings.js'
import type { Config, Reference, Slice, Source } from './types.js'

export interface Work {
  readonly models: ModelBook
  readonly complain: Complaints
  readonly comments: Comments
  /** The recipe's steps, in order of writing. */
  readonly steps: Map<string, Node>
  /** Steps that cut layers out of a model, by model and range. */
  readonly parts: Map<string, Known>
}

/** Adds a document's steps under that name; gives what its result is called and holds. */
export function convertDocument(config: Config, name: string, work: Work): Known {
  const { complain } = work
  const known = MERGEKIT_METHODS[config.method.text] ?? ownMethod(config.method.text)
  if (!known) {
    const names = Object.keys(MERGEKIT_METHODS)
    const message = `there is no merge method ${quote(config.method.text)}`
    complain.error('unknown-method', message, config.method.at, didYouMean(config.method.text, names, 'methods'))
    return { name, names: undefined }
  }
  checkParameters(config, known, complain)
  const met = new Set<string>()
  const made = config.sliced ? sliced(config, known, name, met, work) : whole(config, known, name, met, work)
  if (made.names) tellUnmet(config, met, made.names, complain)
  return made
}

/** A method that mergekit lacks, under terge's own names for its parameters. */
function ownMethod(name: string): MergekitMethod | undefined {
  const method = lookupMethod(name)
  if (!method) return undefined
  const parameters = method.parameters.map(({ name, type, perModel, default: value }) => ({
    name,
    recipe: name,
    type: type === 'boolean' ? ('boolean' as const) : ('number' as const),
    perModel: perModel ?? false,
    default: typeof value === 'string' ? 0 : (value ?? undefined),
  }))
  const keep = ({ perModel: _, default: value, ...rest }: (typeof parameters)[number]) => ({
    ...rest,
    ...(value === undefined ? {} : { default: value }),
  })
  const weight = { name: 'weight', recipe: 'weights', type: 'number' as const, default: 1 }
  return {
    base: method.base === 'none' ? 'plain' : method.base === 'required' ? 'task' : method.base,
    perModel: [...(method.weights ? [weight] : []), ...parameters.filter((one) => one.perModel).map(keep)],
    shared: parameters.filter((one) => !one.perModel).map(keep),
  }
}

/** A configuration of whole models. */
function whole(config: Config, known: MergekitMethod, name: string, met: Set<string>, work: Work): Known {
  const { complain, models } = work
  const slice = config.slices[0]
  if (!slice || slice.sources.length === 0) return { name, names: undefined }
  const given = config.base
  const sources = [...slice.sources]
  // mergekit lets a base that is not listed take part, at the end.
  if (given && !sources.some(({ model }) => model.text === given.text))
    sources.push({ model: given, rangeAt: given.at, at: given.at })
  const chosen = choose(config, slice, sources, given, known, complain)
  if (!chosen) return { name, names: undefined }
  const found = new Map(sources.map((source) => [source, models.find(source.model)]))
  const template = found.get(chosen.template)!
  const merge = buildMerge({
    ...asked(config, slice, known, chosen.participants.length, complain),
    methodAt: config.method.at,
    participants: chosen.participants.map((source) => participant(source, found.get(source)!, 0, given)),
    base: { name: template.name, at: given?.at ?? chosen.template.at },
    levels: config.parameters,
    names: template.names,
    shift: 0,
    complain,
    comments: work.comments,
    met,
  })
  work.steps.set(name, mapping([['merge', merge]], config.at))
  return { name, names: template.names }
}

const participant = (source: Source, { name }: Known, shift: number, base: Reference | undefined): Participant => ({
  name,
  written: source.model.text,
  parameters: source.parameters,
  shift,
  isBase: source.model.text === base?.text,
  at: source.at,
})

interface Chosen {
  readonly participants: readonly Source[]
  /** Whose names, shapes and configuration the result has. */
  readonly template: Source
}

/** Who takes part, in which order, and who lends the form; told where the method can't do with them. */
function choose(
  config: Config,
  slice: Slice,
  sources: readonly Source[],
  given: Reference | undefined,
  known: MergekitMethod,
  complain: Complaints,
): Chosen | undefined {
  const method = config.method.text
  const base = given && sources.find(({ model }) => model.text === given.text)
  const others = sources.filter((source) => source !== base)
  if (!base && known.base !== 'plain' && (given || known.base !== 'optional')) {
    const message = given
      ? `${method} needs the base ${quote(given.text)} among the sources of this slice`
      : `${method} needs a base_model`
    complain.error(
      'missing-base',
      message,
      given ? slice.at : config.method.at,
      given ? 'add it as a source' : 'write base_model: MODEL',
    )
    return undefined
  }
  switch (known.base) {
    case 'task':
      return { participants: others, template: base! }
    case 'listed':
    case 'first':
      return { participants: [base!, ...others], template: base! }
    case 'optional': {
      if (!base) return { participants: sources, template: sources[0]! }
      if (method === 'nuslerp' && config.slices.some(({ sources }) => sources.includes(base)) && !config.sliced) {
        const hint = 'leave base_model out, or leave it out of the models'
        complain.error('base-listed', 'the base of nuslerp can not be one of the two models', base.at, hint)
      }
      return { participants: others, template: base }
    }
    case 'plain': {
      const weightless = (source: Source): boolean =>
        known.perModel.some(({ name, default: value }) => value === undefined && !valueFor(config, slice, source, name))
      const silent = base && (weightless(base) || (method === 'passthrough' && others.length > 0)) ? base : undefined
      if (silent) {
        const message = `${method} gives the base ${quote(silent.model.text)} no weight: it lends its form and takes no part`
        complain.warn(
          'base-aside',
          message,
          silent.at,
          'mergekit refuses this; list the base with a weight, or leave it out',
        )
      }
      const participants = sources.filter((source) => source !== silent)
      return { participants, template: base ?? participants[0]! }
    }
  }
}

const valueFor = (config: Config, slice: Slice, source: Source, name: string): boolean =>
  [source.parameters, slice.parameters, ...config.parameters].some((level) => level?.entries.has(name))

/** A configuration of slices: each is merged for itself, with its own gradients, and put on the ones before. */
function sliced(config: Config, known: MergekitMethod, name: string, met: Set<string>, work: Work): Known {
  const { complain, models, steps } = work
  const pieces: { node: Node; known: Known; from: number; layers: number }[] = []
  let height = 0
  for (const [index, slice] of config.slices.entries()) {
    const layers = lengthOf(slice, complain)
    if (layers === undefined) continue
    const single = config.slices.length === 1
    const [only, ...more] = slice.sources
    const plain = more.length === 0 && staysAsItIs(config, slice, only!, known, complain)
    if (plain) {
      const found = models.find(only!.model)
      pieces.push({ node: piece(found.name, only!.range!, only!), known: found, from: only!.range![0], layers })
    } else {
      const own = single ? name : models.free(`${name}_${index + 1}`)
      const made = mergeSlice(config, known, slice, { name: own, height, single }, met, work)
      if (!made) continue
      if (single) return made
      pieces.push({ node: piece(made.name, [0, layers], slice.sources[0]!), known: made, from: 0, layers })
    }
    height += layers
  }
  if (pieces.length === 0) return { name, names: undefined }
  steps.set(
    name,
    mapping(
      [
        [
          'stack',
          list(
            pieces.map(({ node }) => node),
            config.at,
          ),
        ],
      ],
      config.at,
    ),
  )
  const sound = pieces.flatMap(({ known: { names }, from, layers }) => (names ? [{ names, from, layers }] : []))
  return { name, names: sound.length > 0 && sound.length === pieces.length ? stackedNames(sound) : undefined }
}

/** A slice of one source that comes out as it went in. */
function staysAsItIs(config: Config, slice: Slice, only: Source, known: MergekitMethod, complain: Complaints): boolean {
  if (config.method.text === 'passthrough') return !valueFor(config, slice, only, 'scale')
  if (known.base === 'task') return only.model.text === (slice.base ?? config.base)?.text
  return ALONE.includes(config.method.text) && asked(config, slice, known, 1, complain).known !== SCALED
}

/** The method as the recipe has it: of one model alone there is nothing to merge. */
function asked(
  config: Config,
  slice: Slice,
  known: MergekitMethod,
  participants: number,
  complain: Complaints,
): { method: string; known: MergekitMethod } {
  const method = config.method.text
  if (participants > 1 || !ALONE.includes(method)) return { method, known }
  const nothing = { method: 'passthrough', known: { ...SCALED, perModel: [] } }
  if (method !== 'linear') return nothing
  const [level] = [slice.parameters, ...config.parameters].flatMap(
    (level) => level?.entries.get('normalize')?.value ?? [],
  )
  if (!level) return nothing
  const value = atomOf(evaluate(level, () => false) ?? level, { name: 'normalize', type: 'boolean' }, complain)
  return value?.json === 'false' ? { method: 'passthrough', known: SCALED } : nothing
}

const number = (value: number, at: Span): Node => makeScalar(at, value, String(value))

const piece = (name: string, [from, to]: readonly [number, number], { at, rangeAt }: Source): MapNode =>
  mapping(
    [
      ['model', text(name, at)],
      ['layers', list([number(from, rangeAt), number(to, rangeAt)], rangeAt)],
    ],
    at,
  )

/** As many layers as each of its sources has. */
function lengthOf({ sources, at }: Slice, complain: Complaints): number | undefined {
  const lengths = sources.map(({ range }) => range![1] - range![0])
  const different = sources.find((_, index) => lengths[index] !== lengths[0])
  if (!different) return lengths[0]
  const message = `the sources of a slice must have as many layers each; these have ${[...new Set(lengths)].join(' and ')}`
  complain.error('slice-lengths', message, different.rangeAt ?? at)
  return undefined
}

interface Place {
  readonly name: string
  /** Layers of the output below this slice. */
  readonly height: number
  readonly single: boolean
}

function mergeSlice(
  config: Config,
  known: MergekitMethod,
  slice: Slice,
  { name, height, single }: Place,
  met: Set<string>,
  work: Work,
): Known | undefined {
  const { complain, models, steps } = work
  const given = slice.base ?? config.base
  const chosen = choose(config, slice, slice.sources, given, known, complain)
  if (!chosen) return undefined
  const found = slice.sources.map(({ model }) => models.find(model))
  // Where all sources are whole models there is nothing to cut out.
  const uncut = single && found.every(({ names }, i) => isWhole(names, slice.sources[i]!.range!))
  const parts = new Map(slice.sources.map((source, i) => [source, uncut ? found[i]! : part(source, found[i]!, work)]))
  const template = parts.get(chosen.template)!
  const merge = buildMerge({
    ...asked(config, slice, known, chosen.participants.length, complain),
    methodAt: config.method.at,
    participants: chosen.participants.map((source) => participant(source, parts.get(source)!, source.range![0], given)),
    base: { name: template.name, at: chosen.template.at },
    levels: [...(slice.parameters ? [slice.parameters] : []), ...config.parameters],
    names: template.names,
    shift: height,
    complain,
    comments: work.comments,
    met,
  })
  steps.set(name, mapping([['merge', merge]], slice.at))
  return { name, names: template.names }
}

const isWhole = (names: readonly string[] | undefined, [from, to]: readonly [number, number]): boolean =>
  names !== undefined && from === 0 && to === layerCount(names)

/** Layers of one model as a step of their own, renumbered from 0. */
function part(source: Source, known: Known, { models, steps, parts }: Work): Known {
  const [from, to] = source.range!
  const key = `${known.name}\0${from}\0${to}`
  const before = parts.get(key)
  if (before) return before
  const name = models.free(`${known.name}_${from}_${to}`)
  steps.set(name, mapping([['stack', list([piece(known.name, [from, to], source)], source.rangeAt)]], source.rangeAt))
  const made = { name, names: known.names && stackedNames([{ names: known.names, from, layers: to - from }]) }
  parts.set(key, made)
  return made
}

/** Names of a stack's tensors. */
function stackedNames(pieces: readonly { names: readonly string[]; from: number; layers: number }[]): string[] {
  const found = new Set<string>()
  for (const { names } of [pieces[0]!, pieces.at(-1)!])
    for (const name of names) if (layerOf(name) === undefined) found.add(name)
  let height = 0
  for (const { names, from, layers } of pieces) {
    for (const name of names) {
      const layer = layerOf(name)
      if (layer !== undefined && layer >= from && layer < from + layers)
        found.add(withLayer(name, height + layer - from))
    }
    height += layers
  }
  return [...found].sort()
}

/** Parameters that the method does not read, at that place or at all. */
function checkParameters(config: Config, { perModel, shared }: MergekitMethod, complain: Complaints): void {
  const method = config.method.text
  const wide = [...shared, ...perModel].filter(({ recipe }) => recipe).map(({ name }) => name)
  const check = (level: MapNode | undefined, names: readonly string[], one: boolean): void => {
    for (const [name, { key }] of level?.entries ?? []) {
      if (names.includes(name) || ACCEPTED.includes(name)) continue
      const elsewhere = one && wide.includes(name)
      const message = elsewhere
        ? `${method} reads ${quote(name)} for the whole merge; mergekit ignores it at one model`
        : `${method} has no parameter ${quote(name)}; mergekit ignores it`
      const hint = elsewhere
        ? 'move it to the parameters of the slice or of the whole'
        : didYouMean(name, names, 'parameters')
      complain.ignored('ignored-parameter', message, key, hint)
    }
  }
  for (const level of config.parameters) check(level, wide, false)
  for (const slice of config.slices) {
    check(slice.parameters, wide, false)
    for (const source of slice.sources) {
      const base = (slice.base ?? config.base)?.text === source.model.text
      // Users repeat the base among the models, often with parameters that don't count there.
      if (!base)
        check(
          source.parameters,
          perModel.map(({ name }) => name),
          true,
        )
    }
  }
}

/** Filters that let no tensor through: mostly misspelt, or of another architecture. */
function tellUnmet(config: Config, met: ReadonlySet<string>, names: readonly string[], complain: Complaints): void {
  const levels = [
    ...config.parameters,
    ...config.slices.flatMap(({ parameters, sources }) => [parameters, ...sources.map((one) => one.parameters)]),
  ]
  for (const level of levels)
    for (const { value } of level?.entries.values() ?? [])
      for (const { filter, node } of filtersOf(value)) {
        if (met.has(filter)) continue
        const parts = new Set(names.flatMap((name) => name.split('.')))
        const message = `no tensor's name holds ${quote(filter)}; mergekit ignores the filter`
        complain.ignored('ignored-filter', message, node.span, didYouMean(filter, parts, 'parts of names'))
      }
}

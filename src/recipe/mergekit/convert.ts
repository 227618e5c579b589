/** Converts mergekit's documents: each is one merge, or merges of slices and a stack of them. */

import { ownValue } from '../../core/collections/ownValue.js'
import { didYouMean, quote } from '../../core/suggest.js'
import type { MapNode, Node } from '../../language/tree.js'
import { lookupMethod } from '../../methods/registry.js'
import type { Complaints } from './complaints.js'
import { buildMerge } from './merges/merge.js'
import { ACCEPTED, MERGEKIT_METHODS, type MergekitMethod } from './merges/methods.js'
import { convertModules } from './merges/modules.js'
import { asked, choose, participant } from './merges/participants.js'
import { sliced } from './merges/sliced.js'
import type { Known } from './models.js'
import { mapping } from './nodes.js'
import { filtersOf } from './settings.js'
import type { Config } from './types.js'
import { crops, type Work } from './work.js'

/** Adds the steps of a document under this name. Returns the name and the tensors of its result. */
export function convertDocument(config: Config, name: string, work: Work): Known {
  const { complain } = work
  const known = ownValue(MERGEKIT_METHODS, config.method.text) ?? ownMethod(config.method.text)
  if (!known) {
    const names = Object.keys(MERGEKIT_METHODS)
    const message = `there is no merge method ${quote(config.method.text)}`
    complain.error('unknown-method', message, config.method.at, didYouMean(config.method.text, names, 'methods'))
    return { name, names: undefined }
  }
  checkParameters(config, known, complain)
  const met = new Set<string>()
  const convert = (part: Config, made: string, of?: string): Known =>
    part.sliced
      ? sliced(part, known, { name: made, ...(of === undefined ? {} : { of }) }, met, work)
      : whole(part, known, made, met, work)
  const made = config.modules ? convertModules(config, name, convert, work) : convert(config, name)
  if (made.names) warnUnmet(config, known, met, made.names, complain)
  return made
}

/** A method that mergekit does not have, with terge's parameter names. */
function ownMethod(name: string): MergekitMethod | undefined {
  const method = lookupMethod(name)
  // A formula is no number, as its parameters are there.
  if (!method || method.open) return undefined
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
  // In mergekit, a base that is not listed is merged too, as the last model.
  if (given && !sources.some(({ model }) => model.text === given.text))
    sources.push({ model: given, rangeAt: given.at, at: given.at })
  const chosen = choose(config, slice, sources, given, known, complain)
  if (!chosen) return { name, names: undefined }
  const found = new Map(sources.map((source) => [source, models.find(source.model)]))
  const template = found.get(chosen.template)!
  // If no model is merged into the base, the result is the base.
  const participants = chosen.participants.length > 0 ? chosen.participants : [chosen.template]
  const merge = buildMerge({
    ...asked(config, slice, known, chosen.participants.length, complain),
    methodAt: config.method.at,
    participants: participants.map((source) => participant(source, found.get(source)!, 0, given)),
    base: { name: template.name, at: given?.at ?? chosen.template.at },
    levels: config.parameters,
    names: template.names,
    shift: 0,
    complain,
    comments: work.comments,
    met,
    crop: crops([...found.values()], work),
  })
  work.steps.set(name, mapping([['merge', merge]], config.at))
  return { ...template, name }
}

/** Warns of parameters that the method does not read, or not at that place. */
function checkParameters(config: Config, { perModel, shared }: MergekitMethod, complain: Complaints): void {
  const method = config.method.text
  const wide = [...shared, ...perModel].filter(({ recipe }) => recipe).map(({ name }) => name)
  const check = (level: MapNode | undefined, names: readonly string[], one: boolean): void => {
    for (const [name, { key }] of level?.entries ?? []) {
      if (names.includes(name) || ACCEPTED.includes(name)) continue
      const elsewhere = one && wide.includes(name)
      const message = elsewhere
        ? `${method} has one ${quote(name)} for the whole merge; mergekit ignores it on a single model`
        : `${method} has no parameter ${quote(name)}; mergekit ignores it`
      const hint = elsewhere
        ? 'move it to the parameters of the slice or of the document'
        : didYouMean(name, names, 'parameters')
      complain.ignored('ignored-parameter', message, key, hint)
    }
  }
  for (const level of config.parameters) check(level, wide, false)
  for (const slice of config.slices) {
    check(slice.parameters, wide, false)
    for (const source of slice.sources) {
      const base = (slice.base ?? config.base)?.text === source.model.text
      // Users often list the base as a model, with parameters that have no effect there.
      if (!base)
        check(
          source.parameters,
          perModel.map(({ name }) => name),
          true,
        )
    }
  }
}

/** Warns of filters that match no tensor: mostly misspelt, or for another architecture. */
function warnUnmet(
  config: Config,
  { perModel, shared }: MergekitMethod,
  met: ReadonlySet<string>,
  names: readonly string[],
  complain: Complaints,
): void {
  // Ignored parameters have a warning already. Their filters need none.
  const own = new Set(perModel.map(({ name }) => name))
  const wide = new Set([...own, ...shared.filter(({ recipe }) => recipe).map(({ name }) => name)])
  const read = (level: MapNode | undefined, known: ReadonlySet<string>): Node[] =>
    [...(level?.entries ?? [])].flatMap(([name, { value }]) => (known.has(name) ? [value] : []))
  const settings = [
    ...config.parameters.flatMap((level) => read(level, wide)),
    ...config.slices.flatMap(({ parameters, sources }) => [
      ...read(parameters, wide),
      ...sources.flatMap((one) => read(one.parameters, own)),
    ]),
  ]
  for (const value of settings)
    for (const { filter, node } of filtersOf(value)) {
      if (met.has(filter)) continue
      const parts = new Set(names.flatMap((name) => name.split('.')))
      const message = `no tensor name contains ${quote(filter)}; mergekit ignores the filter`
      complain.ignored('ignored-filter', message, node.span, didYouMean(filter, parts, 'parts of names'))
    }
}

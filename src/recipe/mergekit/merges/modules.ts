/** `modules` of a mergekit configuration: parts of a model that are merged separately and joined in one result. */

import { didYouMean, quote } from '../../../core/suggest.js'
import type { Node } from '../../../language/tree.js'
import { type Stack, siteOf, stackAt, stacksOf } from '../../../networks/layerNames.js'
import { belongsTo, mainStack, roleOf, sideOf } from '../../../networks/stackRoles.js'
import type { Known } from '../models.js'
import { list, mapping, text } from '../nodes.js'
import type { Config, Module } from '../types.js'
import type { Work } from '../work.js'
import { piece, stackNode } from './sliced.js'

/** Adds the steps for the configuration of one part. `of`: the stack that its slices cut. */
type Convert = (part: Config, name: string, of?: string) => Known

/** A module, located in the tensor names of a model. */
interface Region {
  readonly module: Module
  /** Absent for a module without layers, such as a projector or a shared embedding. */
  readonly stack?: Stack
}

/** mergekit's name for the whole of a model that has one stack of layers. */
const WHOLE = ['default', '']

export function convertModules(config: Config, name: string, convert: Convert, work: Work): Known {
  const { complain, models } = work
  const { modules = [] } = config
  const partOf = (module: Module): Config => {
    const { modules: _, ...rest } = config
    return { ...rest, ...partial(module), parameters: [...module.parameters, ...config.parameters] }
  }
  const first = modules[0]!
  const reference = config.base ?? first.slices[0]?.sources[0]?.model
  const names = reference && models.find(reference).names
  const alone = modules.length === 1 && (WHOLE.includes(first.name.text) || !names)
  if (alone) return convert(partOf(first), name)
  if (!names) return provisional()
  const regions = modules.flatMap((module) => regionOf(module, names, work) ?? [])
  if (regions.length < modules.length) return { name, names: undefined }
  warnUnlisted(config, regions, names, work)
  let joined: Known | undefined
  for (const [index, region] of regions.entries()) {
    const { module, stack } = region
    const own = regions.length === 1 ? name : models.free(`${name}_${module.name.text.replace(/[^\w.-]/g, '_')}`)
    const part = partOf(module)
    // A module without layers is merged as a whole. Its ranges have no effect.
    const made = stack
      ? convert(part, own, module.sliced ? stack.prefix : undefined)
      : convert({ ...part, sliced: false }, own)
    if (complain.broken()) return { name, names: undefined }
    const target = index === regions.length - 1 ? name : models.free(`${name}_joined_${index}`)
    joined = joined
      ? join(joined, { ...made, names: made.names ?? names }, { region, regions, names }, target, work)
      : made
  }
  return joined ?? { name, names: undefined }

  /** For a first pass without tensor names, which only collects the models. */
  function provisional(): Known {
    complain.warn(
      'unknown-module',
      'without the models, terge does not know which tensors belong to which module',
      first.name.at,
      'run import again where the models are available',
    )
    const made = modules.map((module, index) => convert(partOf(module), models.free(`${name}_${index + 1}`)).name)
    const { at } = first.name
    const participants = list(
      made.map((one) => text(one, at)),
      at,
    )
    const merge = mapping(
      [
        ['method', text('linear', at)],
        ['base', text(made[0]!, at)],
        ['models', participants],
      ],
      at,
    )
    work.steps.set(name, mapping([['merge', merge]], at))
    return { name, names: undefined }
  }
}

const partial = ({ sliced, slices }: Module): Pick<Config, 'sliced' | 'slices'> => ({ sliced, slices })

/** The words that mergekit uses for modules, and the stack that each refers to. */
function regionOf(module: Module, names: readonly string[], { complain }: Work): Region | undefined {
  const { text: written, at } = module.name
  const { list: stacks } = stacksOf(names)
  const named = stacks.find(({ prefix }) => prefix === written) ?? stackAt(names, written)
  const beginning = stacks.filter(({ prefix }) => written !== '' && `${prefix}.`.startsWith(`${written}.`))
  const found =
    named ??
    (beginning.length === 1 ? beginning[0] : undefined) ??
    (/^(text_decoder|text_model|language_model|llm)$/.test(written) || WHOLE.includes(written)
      ? mainStack(stacks)
      : /^(vision|visual|image)/.test(written)
        ? deepest(stacks.filter(({ prefix }) => roleOf(prefix) === 'vision'))
        : /^(audio|speech)/.test(written)
          ? deepest(stacks.filter(({ prefix }) => roleOf(prefix) === 'audio'))
          : written === 'encoder' || written === 'decoder'
            ? deepest(stacks.filter(({ prefix }) => sideOf(prefix) === written))
            : undefined)
  if (found) return { module, stack: found }
  if (!module.sliced || module.slices.every(isEmpty)) if (looseNames(written, names).length > 0) return { module }
  const candidates = stacks.map(({ prefix }) => prefix)
  const message = `the models have no module ${quote(written)}`
  const listed = candidates.length > 0 ? `its stacks of layers are ${candidates.join(', ')}` : undefined
  complain.error('unknown-module', message, at, didYouMean(written, candidates, 'modules') ?? listed)
  return undefined
}

const isEmpty = ({ sources }: Module['slices'][number]): boolean =>
  sources.every(({ range }) => range !== undefined && range[0] === range[1])

const deepest = (stacks: readonly Stack[]): Stack | undefined =>
  stacks.reduce<Stack | undefined>((best, one) => (best && best.depth >= one.depth ? best : one), undefined)

/** The tensors of a module without layers: those under its name, or with its words in their names. */
function looseNames(written: string, names: readonly string[]): string[] {
  const under = names.filter((name) => `.${name}`.includes(`.${written}.`))
  if (under.length > 0) return under
  const word = /project|connector|merger|align/.test(written)
    ? /(^|[._])(projector|connector|merger|aligner|deepstack_merger_list)([._]|$)/
    : undefined
  return word ? names.filter((name) => word.test(name)) : []
}

/** The tensor names of a model outside layers that belong to a module. */
function ownNames({ module, stack }: Region, regions: readonly Region[], names: readonly string[]): string[] {
  if (!stack) return looseNames(module.name.text, names)
  const { list: stacks } = stacksOf(names)
  const taken = new Set(regions.flatMap((other) => (other.stack ? [] : looseNames(other.module.name.text, names))))
  return names.filter((name) => !siteOf(name, stack.prefix) && !taken.has(name) && isNear(name, stack, stacks))
}

const isNear = (name: string, stack: Stack, stacks: readonly Stack[]): boolean =>
  !stacks.some((other) => other !== stack && siteOf(name, other.prefix)) && belongsTo(name, stack, stacks)

interface Part {
  readonly region: Region
  readonly regions: readonly Region[]
  /** The model that gives the result its names and shapes. */
  readonly names: readonly string[]
}

/** Joins a module with the modules before it: its layers by a stack, all other tensors by copying. */
function join(below: Known, made: Known, part: Part, name: string, work: Work): Known {
  const { models, steps } = work
  const { region, regions } = part
  const { module, stack } = region
  const { at } = module.name
  const names = made.names ?? []
  const base = stack && module.sliced ? stacked() : below
  const outside = ownNames(region, regions, part.names)
  const patterns = [...(stack && !module.sliced ? [`${stack.prefix}.**`] : []), ...outside]
  if (patterns.length === 0) {
    work.complain.error(
      'unknown-module',
      `the module ${quote(module.name.text)} has no tensors of its own`,
      at,
      'remove it, or name a module with tensors',
    )
    return base
  }
  const filters = mapping(
    [
      [
        'include',
        list(
          patterns.map((pattern) => text(pattern, at)),
          at,
        ),
      ],
    ],
    at,
  )
  const merge = mapping(
    [
      ['method', text('passthrough', at)],
      ['base', text(base.name, at)],
      ['models', list([text(made.name, at)], at)],
      ['filters', filters],
    ],
    at,
  )
  steps.set(name, mapping([['merge', merge]], at))
  return { name, names: base.names }

  function stacked(): Known {
    const depth = stackAt(names, stack!.prefix)?.depth ?? 0
    const step = models.free(`${name}_layers`)
    const span = { model: { text: '', path: '', at }, rangeAt: at, at }
    const pieces: Node[] = [piece(below.name, [0, 0], span), piece(made.name, [0, depth], span)]
    steps.set(step, stackNode(pieces, stack!.prefix, at))
    const kept = (below.names ?? []).filter((one) => !siteOf(one, stack!.prefix))
    const layers = names.filter((one) => siteOf(one, stack!.prefix))
    return { name: step, names: [...new Set([...kept, ...layers])].sort() }
  }
}

/**
 * mergekit omits tensors that no module lists. The result would then be an incomplete model, so terge copies them and
 * warns: `unlisted-module`.
 */
function warnUnlisted(config: Config, regions: readonly Region[], names: readonly string[], { complain }: Work): void {
  const { list: stacks } = stacksOf(names)
  const left = stacks.filter(
    ({ prefix }) => roleOf(prefix) !== 'helper' && !regions.some(({ stack }) => stack?.prefix === prefix),
  )
  if (left.length === 0) return
  const message = `no module lists ${left.map(({ prefix }) => prefix).join(', ')}: terge copies them from the base of the first module`
  complain.warn('unlisted-module', message, config.at, 'mergekit omits them from the result')
}

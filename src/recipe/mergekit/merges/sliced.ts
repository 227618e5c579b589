/** Slices of a mergekit configuration: each is merged separately, then they are stacked. */

import { quote } from '../../../core/suggest.js'
import { type MapNode, makeScalar, type Node, type Span } from '../../../language/tree.js'
import { nameAt, siteOf, stackAt, stacksOf } from '../../../networks/layerNames.js'
import { mainStack } from '../../../networks/stackRoles.js'
import type { Complaints } from '../complaints.js'
import type { Known } from '../models.js'
import { list, mapping, text } from '../nodes.js'
import type { Config, Slice, Source } from '../types.js'
import { crops, type Work } from '../work.js'
import { buildMerge } from './merge.js'
import { ALONE, type MergekitMethod, SCALED } from './methods.js'
import { asked, choose, participant, valueFor } from './participants.js'

interface Target {
  /** The name of the step. */
  readonly name: string
  /** The prefix of the stack that is cut. Absent if the recipe does not need it. */
  readonly of?: string
}

/** The stack that is cut, if it is certain. Otherwise planning reports an error. */
const stackIn = (names: readonly string[] | undefined, of: string | undefined): string | undefined =>
  of ?? (names && mainStack(stacksOf(names).list)?.prefix)

/** A configuration with slices: each is merged separately, with its own gradients, then they are stacked. */
export function sliced(
  config: Config,
  known: MergekitMethod,
  { name, of }: Target,
  met: Set<string>,
  work: Work,
): Known {
  const { complain, models, steps } = work
  warnOfDonor(config, complain)
  const pieces: { node: Node; known: Known; from: number; layers: number }[] = []
  let height = 0
  for (const [index, slice] of config.slices.entries()) {
    const layers = lengthOf(slice, complain)
    if (layers === undefined) continue
    const single = config.slices.length === 1
    const [only, ...more] = slice.sources
    const plain = more.length === 0 && !isRounded(config) && staysAsItIs(config, slice, only!, known, complain)
    if (plain) {
      const found = models.find(only!.model)
      pieces.push({ node: piece(found.name, only!.range!, only!), known: found, from: only!.range![0], layers })
    } else {
      const own = single ? name : models.free(`${name}_${index + 1}`)
      const made = mergeSlice(config, known, slice, { name: own, of, height, single }, met, work)
      if (!made) continue
      if (single) return made
      pieces.push({ node: piece(made.name, [0, layers], slice.sources[0]!), known: made, from: 0, layers })
    }
    height += layers
  }
  if (pieces.length === 0) return { name, names: undefined }
  const nodes = pieces.map(({ node }) => node)
  steps.set(name, stackNode(nodes, of, config.at))
  const sound = pieces.flatMap(({ known: { names }, from, layers }) => (names ? [{ names, from, layers }] : []))
  return { name, names: sound.length > 0 && sound.length === pieces.length ? stackedNames(sound, of) : undefined }
}

/**
 * A stack has the configuration and tokenizer of the model of its first slice. mergekit copies those of base_model.
 * Warning: `base-aside`.
 */
function warnOfDonor({ base, slices, modules, tokenizer, tokenizerSource }: Config, complain: Complaints): void {
  const first = slices[0]?.sources.map(({ model }) => model.text) ?? []
  if (!base || modules || slices.length < 2 || first.length === 0 || first.includes(base.text)) return
  const own = tokenizer || tokenizerSource
  const whose = own ? 'the configuration comes' : 'configuration and tokenizer come'
  const hint = own ? 'compare the config.json of both' : `write tokenizer_source: ${base.text} to use its tokenizer`
  const message = `${whose} from ${quote(first[0]!)} in the first slice; mergekit takes them from the base ${quote(base.text)}`
  complain.warn('base-aside', message, base.at, hint)
}

/** A step that stacks slices. */
export function stackNode(pieces: readonly Node[], of: string | undefined, at: Span): MapNode {
  const slices = list([...pieces], at)
  const stack =
    of === undefined
      ? slices
      : mapping(
          [
            ['of', text(of, at)],
            ['slices', slices],
          ],
          at,
        )
  return mapping([['stack', stack]], at)
}

const number = (value: number, at: Span): Node => makeScalar(at, value, String(value))

export const piece = (
  name: string,
  [from, to]: readonly [number, number],
  { at, rangeAt }: Pick<Source, 'at' | 'rangeAt'>,
): MapNode =>
  mapping(
    [
      ['model', text(name, at)],
      ['layers', list([number(from, rangeAt), number(to, rangeAt)], rangeAt)],
    ],
    at,
  )

/** A named document with a dtype also rounds tensors that it passes through. */
const isRounded = ({ name, dtype, method }: Config): boolean =>
  name !== undefined && dtype !== undefined && method.text === 'passthrough'

/** A slice with one source that the method does not change. */
function staysAsItIs(config: Config, slice: Slice, only: Source, known: MergekitMethod, complain: Complaints): boolean {
  if (config.method.text === 'passthrough') return !valueFor(config, slice, only, 'scale')
  if (known.base === 'task' || config.method.text === 'nearswap')
    return only.model.text === (slice.base ?? config.base)?.text
  return ALONE.includes(config.method.text) && asked(config, slice, known, 1, complain).known !== SCALED
}

/** The number of layers, which all sources share. */
function lengthOf({ sources, at }: Slice, complain: Complaints): number | undefined {
  const lengths = sources.map(({ range }) => range![1] - range![0])
  const different = sources.find((_, index) => lengths[index] !== lengths[0])
  if (!different) return lengths[0]
  const message = `all sources of a slice must have the same number of layers; these have ${[...new Set(lengths)].join(' and ')}`
  complain.error(
    'slice-lengths',
    message,
    different.rangeAt ?? at,
    'correct layer_range so that all sources have the same number of layers',
  )
  return undefined
}

interface Place {
  readonly name: string
  readonly of: string | undefined
  /** The number of output layers below this slice. */
  readonly height: number
  readonly single: boolean
}

function mergeSlice(
  config: Config,
  known: MergekitMethod,
  slice: Slice,
  { name, of, height, single }: Place,
  met: Set<string>,
  work: Work,
): Known | undefined {
  const { complain, models, steps } = work
  const given = slice.base ?? config.base
  const chosen = choose(config, slice, slice.sources, given, known, complain)
  if (!chosen) return undefined
  const found = slice.sources.map(({ model }) => models.find(model))
  // If all sources are whole models, there is nothing to cut.
  const uncut = single && found.every(({ names }, i) => isWhole(names, slice.sources[i]!.range!, of))
  const parts = new Map(
    slice.sources.map((source, i) => [source, uncut ? found[i]! : part(source, found[i]!, of, work)]),
  )
  const template = parts.get(chosen.template)!
  const merge = buildMerge({
    ...asked(config, slice, known, chosen.participants.length, complain),
    methodAt: config.method.at,
    participants: chosen.participants.map((source) => participant(source, parts.get(source)!, source.range![0], given)),
    base: { name: template.name, at: chosen.template.at },
    levels: [...(slice.parameters ? [slice.parameters] : []), ...config.parameters],
    names: template.names,
    shift: height,
    ...stackOf(template.names, of),
    complain,
    comments: work.comments,
    met,
    crop: crops(found, work),
  })
  steps.set(name, mapping([['merge', merge]], slice.at))
  return { ...template, name }
}

const stackOf = (names: readonly string[] | undefined, of: string | undefined): { readonly stack?: string } => {
  const stack = stackIn(names, of)
  return stack === undefined ? {} : { stack }
}

function isWhole(
  names: readonly string[] | undefined,
  [from, to]: readonly [number, number],
  of: string | undefined,
): boolean {
  const stack = names && stackIn(names, of)
  return names !== undefined && stack !== undefined && from === 0 && to === stackAt(names, stack)?.depth
}

/** A step with some layers of one model, renumbered from 0. */
function part(source: Source, known: Known, of: string | undefined, { models, steps, parts }: Work): Known {
  const [from, to] = source.range!
  const key = `${known.name}\0${from}\0${to}\0${of ?? ''}`
  const before = parts.get(key)
  if (before) return before
  const name = models.free(`${known.name}_${from}_${to}`)
  steps.set(name, stackNode([piece(known.name, [from, to], source)], of, source.rangeAt))
  const made = {
    ...known,
    name,
    names: known.names && stackedNames([{ names: known.names, from, layers: to - from }], of),
  }
  parts.set(key, made)
  return made
}

/** The tensor names of a stack. */
function stackedNames(
  pieces: readonly { names: readonly string[]; from: number; layers: number }[],
  of: string | undefined,
): string[] | undefined {
  const stack = stackIn(pieces[0]!.names, of)
  if (stack === undefined) return undefined
  const found = new Set<string>()
  for (const { names } of [pieces[0]!, pieces.at(-1)!])
    for (const name of names) if (!siteOf(name, stack)) found.add(name)
  let height = 0
  for (const { names, from, layers } of pieces) {
    for (const name of names) {
      const site = siteOf(name, stack)
      if (site && site.layer >= from && site.layer < from + layers)
        found.add(nameAt(stack, height + site.layer - from, site.rest))
    }
    height += layers
  }
  return [...found].sort()
}

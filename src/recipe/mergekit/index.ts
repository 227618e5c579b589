/**
 * Converts a mergekit configuration to a recipe. The recipe is a tree whose nodes keep their places in the user's
 * file, so that later errors point into that file.
 */
import type { Diagnostic } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { childOf, type MapNode, type Node } from '../../language/tree.js'
import { type Complaints, makeComplaints } from './complaints.js'
import { convertDocument } from './convert.js'
import { convertMixture, hasMixtureKeys, isMixture } from './mixture.js'
import { modelBook } from './models.js'
import { type Comments, mapping, text } from './nodes.js'
import { knownKeys, readConfig } from './read.js'
import { type Places, readReference } from './reference.js'
import type { Config } from './types.js'
import type { Work } from './work.js'

export type { Places } from './reference.js'

/** Options of mergekit's command line. */
export interface Options {
  readonly seed?: Node | undefined
  readonly shardSize?: Node | undefined
}

export interface Conversion {
  /** The recipe. Absent after errors, unless only `strict` makes them errors. */
  readonly root?: MapNode
  readonly comments: Comments
  readonly diagnostics: readonly Diagnostic[]
}

/** The output path if the command line gives none. A configuration has no path. */
const OUTPUT = './merged'

/** Keys of mergekit that no recipe has. A file with one of them is meant for mergekit, even if its main key is misspelled. */
const MARKS = ['base_model', 'slices', 'gate_mode', 'tokenizer_source']

export const isMergekit = (root: Node): boolean =>
  root.kind === 'map' &&
  (root.entries.has('merge_method') || (!root.entries.has('terge') && MARKS.some((key) => root.entries.has(key))))

/** Converts all documents of a file. The document without a name, or the last one, is the output. */
export function convertMergekit(
  documents: readonly Node[],
  places: Places,
  strict: boolean,
  options: Options = {},
): Conversion {
  const complain = makeComplaints(strict)
  const comments: Comments = new Map()
  const [only] = documents
  if (only?.kind === 'map' && documents.length === 1 && isMixture(only)) {
    const root = hasMixtureKeys(only, complain)
      ? convertMixture(only, places, complain, comments, { ...options, path: OUTPUT })
      : undefined
    return { ...(root ? { root } : {}), comments, diagnostics: complain.list }
  }
  const read = documents.map((document) => readConfig(document, complain))
  const configs = read.filter((config): config is Config => config !== undefined)
  const final = configs.find(({ name }) => !name) ?? configs.at(-1)
  if (!final || complain.broken()) return { comments, diagnostics: complain.list }
  const named = new Map<string, Config>()
  for (const config of configs) {
    const name = config.name?.text ?? ''
    if (named.has(name)) {
      const message = name === '' ? 'two documents have no name' : `two documents have the name ${quote(name)}`
      complain.error('name-taken', message, config.name?.at ?? config.at, 'give each document its own name: NAME')
    }
    named.set(name, config)
  }
  const models = modelBook(
    [...[...named.keys()].filter((name) => name !== ''), ...tokenizerWords(final)],
    places,
    complain,
  )
  const followsTokens = (final.tokenizer ?? final.tokenizerSource) !== undefined
  const work: Work = { models, complain, comments, followsTokens, named, steps: new Map(), parts: new Map() }
  for (const config of configs) if (config !== final) checkNamed(config, final, named, complain)
  const names = new Map<Config, string>()
  const open: Config[] = []
  const convert = (config: Config): void => {
    if (names.has(config)) return
    if (open.includes(config)) {
      const hops = [...open.slice(open.indexOf(config)), config].map(({ name }) => name?.text ?? 'the last').join(' → ')
      complain.error(
        'cycle',
        `documents depend on each other in a cycle: ${hops}`,
        config.at,
        'change one of these documents so that it uses none of the others',
      )
      return
    }
    open.push(config)
    // The name of another document refers to its result, wherever that document is in the file.
    for (const { text } of referencesOf(config)) {
      const other = text === '' ? undefined : named.get(text)
      if (other) convert(other)
    }
    open.pop()
    if (complain.broken()) return
    const name = config.name?.text ?? models.free('merged')
    names.set(config, name)
    const before = new Set(work.steps.keys())
    models.addStep(config.name?.text ?? '', convertDocument(config, name, work))
    if (config !== final) roundSteps(config, before, work)
  }
  for (const config of configs) if (!complain.broken()) convert(config)
  if (complain.broken()) return { comments, diagnostics: complain.list }
  const root = assemble(final, names.get(final)!, configs.length === 1, work, options)
  return { ...(complain.broken() ? {} : { root }), comments, diagnostics: complain.list }
}

/**
 * Reports named documents with a tokenizer of their own, since a recipe has one tokenizer. It is allowed if this
 * document and the last one use the tokenizer of the same base: then all rows follow that tokenizer anyway. Error:
 * `document-tokenizer`.
 */
function checkNamed(config: Config, final: Config, named: ReadonlyMap<string, Config>, complain: Complaints): void {
  const said = config.tokenizer ?? config.tokenizerSource
  if (!said) return
  const isBase = ({ tokenizer, tokenizerSource }: Config): boolean => {
    const node = tokenizerSource ?? tokenizer
    return node?.kind === 'scalar' && node.value === 'base'
  }
  if (isBase(config) && isBase(final) && rootOf(config, named) === rootOf(final, named)) return
  const name = config.name?.text ?? ''
  complain.error(
    'document-tokenizer',
    `the document ${quote(name)} has its own tokenizer, but a recipe has one tokenizer for all steps`,
    said.span,
    `run ${quote(name)} by itself first and use its output folder in the other documents, or write tokenizer_source: base in all of them`,
  )
}

const baseOf = ({ base, slices, modules }: Config): string =>
  (base ?? (slices[0] ?? modules?.[0]?.slices[0])?.sources[0]?.model)?.text ?? ''

/** A document, the document that is its base, and so on. */
function basesOf(config: Config, named: ReadonlyMap<string, Config>): Config[] {
  const below = (of: Config): Config | undefined => (baseOf(of) === '' ? undefined : named.get(baseOf(of)))
  const found = [config]
  for (let at = below(config); at && !found.includes(at); at = below(at)) found.push(at)
  return found
}

/** The model at the end of a document's chain of bases. */
const rootOf = (config: Config, named: ReadonlyMap<string, Config>): string => baseOf(basesOf(config, named).at(-1)!)

/** A result has the files of its base, including the chat template. */
const templateOf = (config: Config, named: ReadonlyMap<string, Config>): Node | undefined =>
  basesOf(config, named).find(({ chatTemplate }) => chatTemplate)?.chatTemplate

/** In mergekit, the result of a named document is a file in its dtype before other documents use it. */
function roundSteps(config: Config, before: ReadonlySet<string>, work: Work): void {
  const dtype = dtypeNode(config, work)
  if (!dtype) return
  for (const [name, step] of work.steps) {
    const merge = before.has(name) ? undefined : childOf(step, 'merge')
    if (merge?.kind !== 'map') continue
    const entries = [...merge.entries].map(([key, { value }]) => [key, value] as const)
    work.steps.set(name, mapping([['merge', mapping([...entries, ['dtype', dtype]], merge.span)]], step.span))
  }
}

const referencesOf = ({ base, slices }: Config): { text: string }[] => [
  ...(base ? [base] : []),
  ...slices.flatMap((slice) => [...(slice.base ? [slice.base] : []), ...slice.sources.map(({ model }) => model)]),
]

function assemble(final: Config, name: string, alone: boolean, work: Work, { seed, shardSize }: Options): MapNode {
  const { steps, models, comments } = work
  const { at, method } = final
  const [only] = steps.values()
  const merge = alone && steps.size === 1 && only ? childOf(only, 'merge') : undefined
  const dtype = dtypeNode(final, work)
  const tokenizer = tokenizerNode(final, work)
  const output = mapping(
    [
      ['path', text(OUTPUT, at)],
      ['from', merge || steps.size === 1 ? undefined : text(name, at)],
      ['dtype', dtype],
      ['shard_size', shardSize],
    ],
    at,
  )
  const target = output.entries.size === 1 ? output.entries.get('path')!.value : output
  comments.set(target, 'mergekit takes the path from the command line')
  const double = dtype?.kind === 'scalar' && dtype.value === 'float64'
  const short = merge?.kind === 'map' ? merge : undefined
  // Without a base in the configuration, the recipe's default applies: the first model.
  const written = final.base ?? final.slices.find(({ base }) => base)
  const base = short && written ? childOf(short, 'base') : undefined
  return mapping(
    [
      ['terge', text(1, at)],
      ['models', mapping(models.entries(), at)],
      ['base', base],
      [
        'merge',
        short &&
          mapping(
            [...short.entries].flatMap(([key, { value }]) => (key === 'base' ? [] : [[key, value] as const])),
            method.at,
          ),
      ],
      ['steps', short ? undefined : mapping([...steps], at)],
      ['seed', seed],
      ['compute', double ? text('float64', dtype.span) : undefined],
      ['tokenizer', tokenizer],
      ['chat_template', templateOf(final, work.named)],
      ['output', target],
    ],
    at,
  )
}

/** mergekit also reads tensors in this dtype. A recipe computes in float32 and rounds once. */
function dtypeNode({ dtype }: Config, { complain }: Work): Node | undefined {
  if (dtype === undefined) return undefined
  if (dtype.kind !== 'scalar' || typeof dtype.value !== 'string') {
    complain.error('bad-type', "'dtype' must be a string", dtype.span, 'write a dtype such as bfloat16')
    return undefined
  }
  return text(dtype.value.replace(/^torch\./, ''), dtype.span)
}

/** If a tokenizer or token comes from a model, the model's name must not be a keyword of that place. */
function tokenizerWords({ tokenizer, tokenizerSource }: Config): string[] {
  const words = ['base', 'union']
  const isWord = (node: Node | undefined): boolean =>
    node === undefined || (node.kind === 'scalar' && words.includes(String(node.value)))
  const byWord =
    tokenizer?.kind === 'map'
      ? isWord(childOf(tokenizer, 'source')) && !childOf(tokenizer, 'tokens')
      : isWord(tokenizerSource ?? tokenizer)
  return byWord ? [] : words
}

const TOKENIZER_KEYS = ['source', 'tokens', 'pad_to_multiple_of']

const isNull = (node: Node): boolean => node.kind === 'scalar' && node.value === null

function tokenizerNode({ tokenizer, tokenizerSource }: Config, work: Work): Node | undefined {
  const { complain, models } = work
  const whole = tokenizerSource ?? tokenizer
  if (!whole) return undefined
  if (tokenizer?.kind === 'map') knownKeys(tokenizer, TOKENIZER_KEYS, complain)
  const source = tokenizer?.kind === 'map' ? (childOf(tokenizer, 'source') ?? text('union', tokenizer.span)) : whole
  const plain = source.kind === 'scalar' && (source.value === 'base' || source.value === 'union')
  const reference = plain ? undefined : readReference(source, complain)
  const meant = reference ? text(models.find(reference).name, source.span) : source
  const entries = tokenizer?.kind === 'map' ? [...tokenizer.entries] : []
  const more = entries.filter(([key, { value }]) => key !== 'source' && TOKENIZER_KEYS.includes(key) && !isNull(value))
  if (more.length === 0) return meant
  const converted = more.map(([key, { value }]) => [key, key === 'tokens' ? tokensNode(value, work) : value] as const)
  return mapping([['source', meant], ...converted], whole.span)
}

/** Sources of single tokens, with the model names of the recipe. */
function tokensNode(tokens: Node, { complain, models }: Work): Node {
  const model = (at: Node): Node => {
    const reference = readReference(at, complain)
    return reference ? text(models.find(reference).name, at.span) : at
  }
  const changed = (at: Node, key: string, known: readonly string[], change: (at: Node) => Node): Node => {
    if (at.kind !== 'map') return model(at)
    knownKeys(at, known, complain)
    const entries = [...at.entries].filter(([name]) => known.includes(name))
    return mapping(
      entries.map(([name, { value }]) => [name, name === key ? change(value) : value] as const),
      at.span,
    )
  }
  if (tokens.kind !== 'map') return tokens
  const source = (at: Node): Node => changed(at, 'model', ['kind', 'model', 'token', 'token_id'], model)
  const choices = [...tokens.entries].map(
    ([token, { value }]) => [token, changed(value, 'source', ['source', 'force'], source)] as const,
  )
  return mapping(choices, tokens.span)
}

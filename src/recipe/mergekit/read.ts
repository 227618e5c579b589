/** Reads a document of a mergekit configuration and checks its keys and types. */
import { didYouMean, nearest, quote } from '../../core/suggest.js'
import { childOf, type MapNode, type Node, type Span } from '../../language/tree.js'
import type { Complaints } from './complaints.js'
import { readReference } from './reference.js'
import { checkSetting } from './settings.js'
import type { Config, Module, Reference, Slice, Source } from './types.js'

const TOP = [
  ...['name', 'merge_method', 'models', 'slices', 'modules', 'base_model', 'parameters', 'dtype', 'out_dtype'],
  ...['tokenizer_source', 'tokenizer', 'chat_template'],
]

/** Undefined if the errors leave too little to check the rest. */
export function readConfig(root: Node, complain: Complaints): Config | undefined {
  if (root.kind !== 'map') {
    complain.error(
      'bad-type',
      'a mergekit configuration must be a mapping',
      root.span,
      'start with merge_method: METHOD',
    )
    return undefined
  }
  const method = childOf(root, 'merge_method')
  if (method?.kind !== 'scalar' || typeof method.value !== 'string') {
    needKey(root, 'merge_method', 'write merge_method: linear, or another method', complain)
    return undefined
  }
  knownKeys(root, TOP, complain)
  const from = findSlices(root, complain)
  if (!from) return undefined
  const name = childOf(root, 'name')
  const base = reference(childOf(root, 'base_model'), complain)
  const parameters = parametersOf(root, complain)
  const [source, tokenizer] = [given(root, 'tokenizer_source'), given(root, 'tokenizer')]
  if (source && tokenizer) {
    const message = 'the configuration has both tokenizer_source and tokenizer'
    complain.error('contradiction', message, tokenizer.span, 'remove one of them')
  }
  const dtype = said(root, 'out_dtype') ?? said(root, 'dtype')
  const template = said(root, 'chat_template')
  return {
    ...(name?.kind === 'scalar' && name.value !== null ? { name: { text: name.source, at: name.span } } : {}),
    method: { text: method.value, at: method.span },
    ...(base ? { base } : {}),
    sliced: from.sliced,
    slices: from.slices,
    ...(from.modules ? { modules: from.modules } : {}),
    parameters,
    ...(dtype ? { dtype } : {}),
    ...(tokenizer ? { tokenizer } : {}),
    ...(source ? { tokenizerSource: source } : {}),
    ...(template ? { chatTemplate: template } : {}),
    at: method.span,
  }
}

/** A key with an empty value counts as absent. */
export function given(at: MapNode, key: string): Node | undefined {
  const node = childOf(at, key)
  return node?.kind === 'scalar' && node.value === null ? undefined : node
}

/** An empty string counts as absent too. */
function said(at: MapNode, key: string): Node | undefined {
  const node = given(at, key)
  return node?.kind === 'scalar' && node.value === '' ? undefined : node
}

export function knownKeys(at: MapNode, known: readonly string[], complain: Complaints): void {
  for (const [key, entry] of at.entries) {
    if (known.includes(key)) continue
    const message = `mergekit has no key ${quote(key)} here and ignores it`
    complain.ignored('ignored-key', message, entry.key, didYouMean(key, known, 'valid here'))
  }
}

/** Error: `missing-key`, at a key that may be meant. */
export function needKey(root: MapNode, key: string, hint: string, complain: Complaints): void {
  const found = childOf(root, key)
  if (found && !(found.kind === 'scalar' && typeof found.value !== 'string')) return
  const [near] = found ? [] : nearest(key, root.entries.keys(), 1)
  const at = near === undefined ? (found ?? root).span : root.entries.get(near)!.key
  const meant = near === undefined ? hint : `did you mean ${quote(key)} where it has ${quote(near)}?`
  complain.error('missing-key', `this document needs the key ${quote(key)}`, at, meant)
}

const reference = (node: Node | undefined, complain: Complaints): Reference | undefined =>
  node === undefined || (node.kind === 'scalar' && node.value === null) ? undefined : readReference(node, complain)

function parametersOf(at: MapNode, complain: Complaints): MapNode[] {
  const found = given(at, 'parameters')
  if (!found) return []
  if (found.kind !== 'map') {
    complain.error('bad-type', "'parameters' must be a mapping", found.span, 'write parameters: {NAME: VALUE}')
    return []
  }
  for (const { value } of found.entries.values()) checkSetting(value, complain)
  return [found]
}

interface Slices {
  readonly sliced: boolean
  readonly slices: readonly Slice[]
  readonly modules?: readonly Module[]
}

function findSlices(root: MapNode, complain: Complaints): Slices | undefined {
  const keys = ['models', 'slices', 'modules'].filter((key) => given(root, key))
  const [key] = keys
  if (key === undefined || keys.length > 1) {
    const message = key === undefined ? 'the configuration lists no models' : `${keys.join(' and ')} can’t be combined`
    const span = key === undefined ? root.entries.get('merge_method')!.key : given(root, keys[1]!)!.span
    complain.error(key === undefined ? 'missing-key' : 'contradiction', message, span, 'write one of models and slices')
    return undefined
  }
  const found = given(root, key)!
  if (key !== 'modules') return { sliced: key === 'slices', slices: listed(found, key, complain) }
  if (found.kind !== 'map' || found.entries.size === 0) {
    complain.error('bad-type', "'modules' must be a mapping", found.span, 'write modules: {NAME: {slices: […]}}')
    return undefined
  }
  const modules = [...found.entries].flatMap(([name, { key, value }]) => readModule(name, key, value, complain) ?? [])
  if (modules.length < found.entries.size) return undefined
  const slices = modules.flatMap((module) => module.slices)
  return { sliced: modules.some(({ sliced }) => sliced), slices, modules }
}

function readModule(name: string, key: Span, value: Node, complain: Complaints): Module | undefined {
  if (value.kind !== 'map') {
    complain.error('bad-type', 'a module must be a mapping', value.span, 'write slices or models in it')
    return undefined
  }
  knownKeys(value, ['name', 'slices', 'models', 'parameters'], complain)
  const inner = ['slices', 'models'].filter((one) => given(value, one))
  const [one] = inner
  if (one === undefined || inner.length > 1) {
    const message = one === undefined ? 'the module lists no models' : 'slices and models can’t be combined'
    complain.error(one === undefined ? 'missing-key' : 'contradiction', message, key, 'write slices in it')
    return undefined
  }
  const slices = listed(given(value, one)!, one, complain)
  return { name: { text: name, at: key }, sliced: one === 'slices', slices, parameters: parametersOf(value, complain) }
}

function listed(found: Node, key: string, complain: Complaints): Slice[] {
  if (found.kind !== 'list' || found.items.length === 0) {
    complain.error(
      'bad-type',
      `${quote(key)} must be a list`,
      found.span,
      key === 'slices' ? 'write - sources: […] for each slice' : 'write - model: PATH for each model',
    )
    return []
  }
  if (key === 'slices') return found.items.flatMap((item) => readSlice(item, complain) ?? [])
  const sources = found.items.flatMap((item) => readSource(item, false, complain) ?? [])
  return [{ sources: eachOnce(sources, complain), at: found.span }]
}

function readSlice(node: Node, complain: Complaints): Slice | undefined {
  const sources = node.kind === 'map' ? given(node, 'sources') : undefined
  if (node.kind !== 'map' || sources?.kind !== 'list' || sources.items.length === 0) {
    complain.error(
      'bad-type',
      "a slice must be a mapping with a list of 'sources'",
      (sources ?? node).span,
      'write - sources: [{model: PATH, layer_range: [0, 24]}]',
    )
    return undefined
  }
  knownKeys(node, ['sources', 'base_model', 'parameters', 'residual_weight'], complain)
  const residual = given(node, 'residual_weight')
  if (residual)
    complain.ignored('ignored-key', 'mergekit reads residual_weight but does not use it', residual.span, 'remove it')
  const base = reference(childOf(node, 'base_model'), complain)
  const [parameters] = parametersOf(node, complain)
  return {
    sources: eachOnce(
      sources.items.flatMap((item) => readSource(item, true, complain) ?? []),
      complain,
    ),
    ...(base ? { base } : {}),
    ...(parameters ? { parameters } : {}),
    at: sources.span,
  }
}

/**
 * A model that is listed twice keeps its first place and its last values. mergekit does the same for place and
 * layers, but reads each parameter from the first entry that has it, so the warning says which values are used.
 */
function eachOnce(sources: readonly Source[], complain: Complaints): Source[] {
  const found = new Map<string, Source>()
  for (const source of sources) {
    const { text } = source.model
    if (found.has(text))
      complain.ignored(
        'repeated-model',
        `${quote(text)} is listed twice: the last entry is used; mergekit reads each parameter from the first entry that has it`,
        source.at,
        'list it once; the weights of the two entries are not added',
      )
    found.set(text, source)
  }
  return [...found.values()]
}

function readSource(node: Node, sliced: boolean, complain: Complaints): Source | undefined {
  const model = node.kind === 'map' ? given(node, 'model') : undefined
  if (node.kind !== 'map' || !model) {
    complain.error('missing-key', "this entry needs the key 'model'", node.span, 'write - model: PATH')
    return undefined
  }
  knownKeys(node, ['model', 'parameters', ...(sliced ? ['layer_range'] : [])], complain)
  const read = readReference(model, complain)
  const [parameters] = parametersOf(node, complain)
  const range = sliced ? readRange(given(node, 'layer_range'), model.span, complain) : undefined
  if (!read || (sliced && !range)) return undefined
  const rangeAt: Span = childOf(node, 'layer_range')?.span ?? model.span
  return { model: read, ...(range ? { range } : {}), rangeAt, ...(parameters ? { parameters } : {}), at: model.span }
}

function readRange(node: Node | undefined, otherwise: Span, complain: Complaints): [number, number] | undefined {
  const numbers = (node?.kind === 'list' ? node.items : []).map((item) =>
    item.kind === 'scalar' && item.source.trim() !== '' ? Number(item.source) : Number.NaN,
  )
  const [from, to] = numbers
  if (numbers.length !== 2 || !Number.isSafeInteger(from) || !Number.isSafeInteger(to)) {
    complain.error(
      'bad-type',
      "'layer_range' must be two integers",
      node?.span ?? otherwise,
      'write layer_range: [0, 24]',
    )
    return undefined
  }
  // A slice without layers still provides the tensors before and after the layers.
  if (from! >= 0 && from === to) return [0, 0]
  if (from! >= 0 && from! < to!) return [from!, to!]
  const hint = 'ranges are half-open: [0, 24] is layers 0 to 23'
  complain.error('bad-value', `the range [${from}, ${to}] has no layers`, node!.span, hint)
  return undefined
}

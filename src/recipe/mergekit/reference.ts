/** References to models in mergekit's form, and where the models are. */
import path from 'node:path'
import { withSlashes } from '../../core/names/fileNames.js'
import { didYouMean, quote } from '../../core/suggest.js'
import { childOf, type MapNode, type Node } from '../../language/tree.js'
import type { Complaints } from './complaints.js'
import type { Reference } from './types.js'

const scalarText = (node: Node | undefined): string | undefined =>
  node?.kind === 'scalar' && node.value !== null && typeof node.value !== 'boolean' ? node.source : undefined

/** A string `path@revision+adapter@revision`, or the mapping `{model: {path, revision}, lora: {…}}`. */
export function readReference(node: Node, complain: Complaints): Reference | undefined {
  const bad = (message: string): undefined => {
    complain.error('bad-model', message, node.span, 'write a path, org/name, org/name@revision, or MODEL+ADAPTER')
    return undefined
  }
  if (node.kind === 'map') {
    const inner = (key: string): { path: string; revision?: string } | undefined => {
      const at = childOf(node, key)
      const text = scalarText(at?.kind === 'map' ? childOf(at, 'path') : at)
      const revision = at?.kind === 'map' ? scalarText(childOf(at, 'revision')) : undefined
      return text === undefined ? undefined : { path: text, ...(revision === undefined ? {} : { revision }) }
    }
    const model = inner('model')
    const lora = inner('lora')
    if (!model) return bad('this mapping has no model')
    unknownKeys(node, ['model', 'lora'], complain)
    for (const part of [childOf(node, 'model'), childOf(node, 'lora')])
      if (part?.kind === 'map') unknownKeys(part, ['path', 'revision'], complain)
    const text = [model, ...(lora ? [lora] : [])].map(partText).join('+')
    return { text, ...model, ...(lora ? { lora } : {}), at: node.span }
  }
  const text = scalarText(node)
  if (text === undefined || text.trim() === '') return bad('this does not refer to a model')
  const parts = text.split('+').map(splitRevision)
  const [model, lora] = parts
  if (!model || parts.length > 2 || parts.some((part) => part === undefined))
    return bad(`${quote(text)} does not refer to a model`)
  return { text, ...model, ...(lora ? { lora } : {}), at: node.span }
}

function unknownKeys(at: MapNode, known: readonly string[], complain: Complaints): void {
  for (const [key, { key: span, value }] of at.entries) {
    if (known.includes(key) || (value.kind === 'scalar' && value.value === null)) continue
    if (key === 'override_architecture')
      complain.ignored(
        'ignored-key',
        'override_architecture selects how mergekit reads a model; terge uses the tensor names, and config.json keeps its architectures',
        span,
        'remove it; edit config.json afterwards if the result needs another architecture',
      )
    else
      complain.ignored(
        'ignored-key',
        `mergekit has no key ${quote(key)} here and ignores it`,
        span,
        didYouMean(key, known, 'valid here'),
      )
  }
}

const partText = ({ path, revision }: { path: string; revision?: string }): string =>
  revision === undefined ? path : `${path}@${revision}`

function splitRevision(text: string): { path: string; revision?: string } | undefined {
  const [name = '', revision, more] = text.split('@')
  if (name === '' || revision === '' || more !== undefined) return undefined
  return revision === undefined ? { path: name } : { path: name, revision }
}

/** Where to look for models, and what is known about them. */
export interface Places {
  /** The folder of the configuration, absolute. */
  readonly folder: string
  /** The working folder, absolute. */
  readonly working: string
  /** Whether a file or folder exists at an absolute path. */
  readonly exists: (path: string) => boolean
  /** Tensor names, by the model's reference in the recipe. */
  readonly known: ReadonlyMap<string, readonly string[]>
  /** Rows of the embeddings, by the same references. */
  readonly rows: ReadonlyMap<string, number>
}

/** Where a model is: a path for the recipe (relative to its folder), or a hub repository. */
export type Found =
  | { readonly kind: 'path'; readonly reference: string }
  | { readonly kind: 'hub'; readonly reference: string }

const HUB = /^[\w.-]+\/[\w.-]+$/

/**
 * Searches the folder of the file, then the working folder, then the hub. A model with a revision is always on the
 * hub. Undefined if it is in neither folder and can't be the name of a hub repository.
 */
export function findModel(
  name: string,
  revision: string | undefined,
  { folder, working, exists }: Places,
): Found | undefined {
  if (revision === undefined)
    for (const place of [folder, working]) {
      const absolute = path.resolve(place, name)
      if (!exists(absolute)) continue
      const reference = place === folder || path.isAbsolute(name) ? name : withSlashes(path.relative(folder, absolute))
      return { kind: 'path', reference: reference.startsWith('hf:') ? `./${reference}` : reference }
    }
  if (!HUB.test(name) || /^\.\.?\//.test(name)) return undefined
  return { kind: 'hub', reference: `hf:${name}${revision === undefined ? '' : `@${revision}`}` }
}

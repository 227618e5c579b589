/** The models of a configuration by the names that the recipe calls them by. */

import path from 'node:path'
import { withoutExtension } from '../../checkpoints/containers/index.js'
import { quote } from '../../core/suggest.js'
import type { Node } from '../../language/tree.js'
import type { Complaints } from './complaints.js'
import { mapping, text } from './nodes.js'
import { type Found, findModel, type Places } from './reference.js'
import type { Reference } from './types.js'

export interface Known {
  /** In the recipe: of a model or a step. */
  readonly name: string
  /** Names of its tensors, where they are known. */
  readonly names: readonly string[] | undefined
  /** Rows of its embeddings, where they are known. */
  readonly rows?: number
}

export interface ModelBook {
  /** The model that a reference means; told where there is none. */
  readonly find: (reference: Reference) => Known
  /** What another document or a slice made. */
  readonly addStep: (written: string, known: Known) => void
  /** A name that is free, and taken from now on. */
  readonly free: (wanted: string) => string
  /** The recipe's `models`. */
  readonly entries: () => [string, Node][]
}

/** Names that say nothing about a model: the folder's says more. */
const GENERIC = /^(model|pytorch_model|adapter_model|weights|checkpoint)$/i

export function modelBook(documents: readonly string[], places: Places, complain: Complaints): ModelBook {
  const found = new Map<string, Known>()
  const models = new Map<string, Node>()
  const taken = new Set(documents)
  const free = (wanted: string): string => {
    let name = wanted
    for (let number = 2; taken.has(name); number++) name = `${wanted}-${number}`
    taken.add(name)
    return name
  }
  const { folder, working } = places
  const looked = `in ${shown(folder)}${working === folder ? '' : ` or in ${shown(working)}`}`
  function add(reference: Reference): Known {
    const { path: written, revision, lora, at } = reference
    const where = findModel(written, revision, places)
    if (!where) {
      const hint =
        revision === undefined
          ? 'check the path, or write a hub repository as org/name'
          : 'only a hub repository can have a revision: org/name@revision'
      complain.error('missing-model', `there is no ${quote(written)} ${looked}`, at, hint)
    }
    // With an adapter it is the adapter that tells models apart.
    const name = free(nameOf(lora?.path ?? written))
    const adapter = lora && findModel(lora.path, lora.revision, places)
    if (lora && !adapter)
      complain.error(
        'missing-model',
        `there is no adapter ${quote(lora.path)} ${looked}`,
        at,
        'check the path, or write a hub repository as org/name',
      )
    const reference_ = where?.reference ?? written
    models.set(
      name,
      lora
        ? mapping(
            [
              [where?.kind === 'hub' ? 'hub' : 'path', text(reference_.replace(/^hf:/, ''), at)],
              ['lora', text(adapter?.reference ?? lora.path, at)],
            ],
            at,
          )
        : text(reference_, at),
    )
    const rows = where && places.rows.get(where.reference)
    return { name, names: namesOf(where, places), ...(rows === undefined ? {} : { rows }) }
  }
  return {
    find(reference) {
      const before = found.get(reference.text)
      if (before) return before
      const made = add(reference)
      found.set(reference.text, made)
      return made
    },
    addStep: (written, known) => void found.set(written, known),
    free,
    entries: () => [...models],
  }
}

const shown = (folder: string): string => quote(path.relative(process.cwd(), folder) || '.')

const namesOf = (where: Found | undefined, { known }: Places): readonly string[] | undefined =>
  where && known.get(where.reference)

function nameOf(written: string): string {
  const parts = written.replace(/[\\/]+$/, '').split(/[\\/]/)
  const last = withoutExtension(parts.at(-1) ?? '')
  const name = GENERIC.test(last) && parts.length > 1 ? parts.at(-2)! : last
  return /^[\w.-]*\w[\w.-]*$/.test(name) ? name : 'model'
}

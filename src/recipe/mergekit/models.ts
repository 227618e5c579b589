/** The models of a configuration, and their names in the recipe. */

import path from 'node:path'
import { withoutExtension } from '../../checkpoints/containers/index.js'
import { meantPath, slashHint } from '../../core/names/fileNames.js'
import { quote } from '../../core/suggest.js'
import type { Node } from '../../language/tree.js'
import type { Complaints } from './complaints.js'
import { mapping, text } from './nodes.js'
import { type Found, findModel, type Places } from './reference.js'
import type { Reference } from './types.js'

export interface Known {
  /** The name of the model or step in the recipe. */
  readonly name: string
  /** The names of its tensors, if known. */
  readonly names: readonly string[] | undefined
  /** The rows of its embeddings, if known. */
  readonly rows?: number
}

export interface ModelBook {
  /** The model that a reference refers to. Error: `missing-model`. */
  readonly find: (reference: Reference) => Known
  /** The result of another document or of a slice. */
  readonly addStep: (written: string, known: Known) => void
  /** A free name, which is then taken. */
  readonly free: (wanted: string) => string
  /** The `models` of the recipe. */
  readonly entries: () => [string, Node][]
}

/** File names that say nothing about a model. The name of the folder is used instead. */
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
      const slashed = meantPath(written)
      const hint =
        slashed !== undefined
          ? slashHint(slashed)
          : revision === undefined
            ? 'check the path, or write a hub repository as org/name'
            : 'only a hub repository can have a revision: org/name@revision'
      complain.error('missing-model', `there is no ${quote(written)} ${looked}`, at, hint)
    }
    // Models with the same base and different adapters are named after their adapters.
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

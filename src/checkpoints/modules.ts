/**
 * Folders with a model of several modules, each in a subfolder with its own weights and configuration: pipelines of diffusers
 * (`model_index.json` lists the modules) and of sentence-transformers (`modules.json`; the first module is often in the folder itself).
 */
import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { leadsDown } from '../storage/leadsDown.js'
import type { Bounds } from '../storage/local/regular.js'
import { readJson } from './sidecars.js'

export interface ModuleList {
  /** Folder names; empty for the folder itself. */
  readonly names: readonly string[]
  /** Every module must exist, and must have weights if it has a configuration. */
  readonly strict: boolean
}

/** By file name. */
const LISTS: Readonly<Record<string, (value: unknown) => ModuleList | undefined>> = {
  'model_index.json': (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    // `[library, class]`, or `[null, null]` for an optional module that is absent.
    const names = Object.entries(value).flatMap(([key, entry]) =>
      !key.startsWith('_') && Array.isArray(entry) && entry.length === 2 && typeof entry[1] === 'string' ? [key] : [],
    )
    return { names, strict: true }
  },
  'modules.json': (value) => {
    const entries: unknown[] | undefined = Array.isArray(value) ? value : undefined
    const names = entries?.map((entry) => (entry as { readonly path?: unknown } | null)?.path)
    // Other programs also write files with this name.
    const own = names?.every((name) => typeof name === 'string') ? names : []
    return { names: own, strict: false }
  },
}

/** Whether a file of this name lists modules. */
export const listsModules = (name: string): boolean => Object.hasOwn(LISTS, name)

/**
 * The modules of a folder with these entries; undefined if it has no list of modules. Errors: `bad-config`, `outside-link`,
 * `path-escape` if a module is not a subfolder.
 */
export async function modulesOf(
  folder: string,
  names: readonly string[],
  shown: string,
  within: Bounds,
): Promise<ModuleList | undefined> {
  const name = Object.keys(LISTS).find((name) => names.includes(name))
  if (name === undefined) return undefined
  const list = LISTS[name]!(await readJson(path.join(folder, name), `${shown}/${name}`, within))
  if (!list) throw fault('bad-config', `${shown}/${name}: not a list of modules`, 'repair the file, or remove it')
  for (const module of list.names)
    if (module !== '' && (!leadsDown(module) || module.includes('/')))
      throw fault(
        'path-escape',
        `${shown}/${name}: ${quote(module)} is not the name of a subfolder`,
        'download the model again',
      )
  return list.names.length === 0 ? undefined : { ...list, names: [...new Set(list.names)] }
}

/** The prefix of the names of a module's tensors. */
export const modulePrefix = (module: string): string => (module === '' ? '' : `${module}.`)

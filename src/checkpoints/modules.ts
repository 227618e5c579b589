/**
 * Folders that hold a model of several modules, each in a folder of its own with weights and configuration: pipelines of diffusers
 * (`model_index.json` names the modules) and of sentence-transformers (`modules.json`; the first often lies in the folder itself).
 */
import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { leadsDown } from '../storage/leadsDown.js'
import type { Bounds } from '../storage/local/regular.js'
import { readJson } from './sidecars.js'

export interface ModuleList {
  /** Folder names; empty: the folder itself. */
  readonly names: readonly string[]
  /** Each of them has to be there, and has weights where it has a configuration. */
  readonly strict: boolean
}

/** By name of the file. */
const LISTS: Readonly<Record<string, (value: unknown) => ModuleList | undefined>> = {
  'model_index.json': (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    // `[library, class]`; `[null, null]` for what a pipeline can do without and does.
    const names = Object.entries(value).flatMap(([key, entry]) =>
      !key.startsWith('_') && Array.isArray(entry) && entry.length === 2 && typeof entry[1] === 'string' ? [key] : [],
    )
    return { names, strict: true }
  },
  'modules.json': (value) => {
    const entries: unknown[] | undefined = Array.isArray(value) ? value : undefined
    const names = entries?.map((entry) => (entry as { readonly path?: unknown } | null)?.path)
    // Other programs have files of this name too.
    const own = names?.every((name) => typeof name === 'string') ? names : []
    return { names: own, strict: false }
  },
}

/** Whether a file of this name lists modules. */
export const listsModules = (name: string): boolean => Object.hasOwn(LISTS, name)

/**
 * The modules of a folder with these entries; undefined where it is none of this kind. Faults: `bad-config`, `outside-link`, `path-escape` for a
 * module that is not a folder in it.
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
      throw fault('path-escape', `${shown}/${name}: ${quote(module)} is not a folder in it`, 'fetch the model again')
  return list.names.length === 0 ? undefined : { ...list, names: [...new Set(list.names)] }
}

/** What the names of a module's tensors begin with. */
export const modulePrefix = (module: string): string => (module === '' ? '' : `${module}.`)

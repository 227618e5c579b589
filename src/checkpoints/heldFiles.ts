/** Downloads the small files of a folder before it is read. Only weights may stay in a remote store. */
import path from 'node:path'
import { boundsOf } from '../storage/local/regular.js'
import type { Listed, Store } from '../storage/types.js'
import { listsModules } from './modules.js'
import { isCode, isRecord, isSmallFile, isWeights } from './sidecarNames.js'
import { hasOwnClasses, MAX_SIDECAR_BYTES } from './sidecars.js'

/** Downloads small files and returns the names that can then be read: local files and weights. `module` is a subfolder, or '' for the store's own folder. */
export async function holdSmallFiles(store: Store, module: string): Promise<string[]> {
  const listed = await store.list(module)
  const wanted = (name: string): boolean => isSmallFile(name) || (module === '' && isRecord(name))
  const small = listed.filter(({ name, size = 0 }) => wanted(name) && size <= MAX_SIDECAR_BYTES)
  const [code, others] = [true, false].map((wanted) => small.filter(({ name }) => isCode(name) === wanted)) as [
    Listed[],
    Listed[],
  ]
  const hold = (files: readonly Listed[]) => store.hold(files.map(({ name }) => path.posix.join(module, name)))
  await hold(others)
  const here = others.every(({ held }) => held) ? listed : await store.list(module)
  if (code.every(({ held }) => held) || !(await usesCode(store, module, readable(here)))) return readable(here)
  await hold(code)
  return readable(await store.list(module))
}

const readable = (listed: readonly Listed[]): string[] =>
  listed.flatMap(({ name, held }) => (held || isWeights(name) ? [name] : []))

/** Code is copied only if the model uses classes from it. */
async function usesCode({ folder }: Store, module: string, names: readonly string[]): Promise<boolean> {
  const place = path.join(folder, module)
  return names.some(listsModules) || hasOwnClasses(place, names, await boundsOf(place))
}

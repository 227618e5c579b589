import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { ADAPTER_CONFIG } from './sidecars.js'
import { type Checkpoint, smallFolderOf } from './types.js'

/** Small files of a folder that describe its weights. */
const READ = ['config.json', 'model_index.json', 'modules.json', ADAPTER_CONFIG]
const INDEX = /\.index(\.\w+)?\.json$/

/** Absolute paths of the small files that may have been read for a checkpoint: its own, and the sidecars in `copied`. */
export async function smallInputs(checkpoint: Checkpoint, copied: Iterable<string>): Promise<string[]> {
  const given = (checkpoint.configFiles ?? []).map((file) => file.path)
  return [...given, ...(await ownInputs(checkpoint, copied))]
}

async function ownInputs(checkpoint: Checkpoint, copied: Iterable<string>): Promise<string[]> {
  const { layout, modules = [], adapterFile } = checkpoint
  const place = smallFolderOf(checkpoint)
  if (layout === 'file') return adapterFile ? [path.join(path.dirname(place), ADAPTER_CONFIG)] : []
  const found = [...READ, ...copied].map((name) => path.join(place, name))
  for (const folder of new Set(['', ...modules.map(({ name }) => name)])) {
    const names = await readdir(path.join(place, folder)).catch((): string[] => [])
    const own = names.filter((name) => INDEX.test(name) || name === 'config.json')
    found.push(...own.map((name) => path.join(place, folder, name)))
  }
  return [...new Set(found)]
}

/** Whether an output may replace a folder: only if it holds one checkpoint, never a collection or a home folder. */
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { quote } from '../core/suggest.js'
import { boundsOf } from '../storage/local/regular.js'
import { EXTENSIONS } from './containers/index.js'
import { modulesOf } from './modules.js'
import { SIDECAR_FOLDERS } from './sidecars.js'

/** A folder can be replaced only if it is empty or has at least one of these files. */
const MODEL_FILE = new RegExp(`^(config|lineage|model_index)\\.json$|\\.(${EXTENSIONS})$`)
const WEIGHTS = new RegExp(`\\.(${EXTENSIONS})$`)
/** The hub's names for weights. A folder may hold the same weights under several of them. */
const HUB_WEIGHTS = /^(model|pytorch_model|adapter_model|diffusion_pytorch_model|consolidated|training_args)\b/
const SHARD = /-\d+-of-\d+$/

/** Why the folder can't be replaced, as text that follows its name; undefined if it can. */
export async function irreplaceable(folder: string): Promise<string | undefined> {
  const entries = await readdir(folder, { withFileTypes: true })
  const names = entries.map(({ name }) => name)
  if (names.length > 0 && !names.some((name) => MODEL_FILE.test(name))) return 'a folder that holds no model'
  // An unreadable list names no modules.
  const parts = (await modulesOf(folder, names, folder, await boundsOf(folder)).catch(() => undefined))?.names ?? []
  const modules = [...parts, ...SIDECAR_FOLDERS]
  const beside = entries.find((entry) => entry.isDirectory() && !modules.includes(entry.name))
  if (beside) return `a folder that holds another, ${quote(beside.name)}, which does not belong to a model`
  for (const module of entries.filter((entry) => entry.isDirectory())) {
    const inside = await readdir(path.join(folder, module.name), { withFileTypes: true })
    const deeper = inside.find((entry) => entry.isDirectory() || entry.name === 'lineage.json')
    if (deeper) return `a folder that holds ${quote(`${module.name}/${deeper.name}`)}, which does not belong to a model`
  }
  const result = names.find((name) => name.endsWith('.lineage.json'))
  if (result) return `a folder that holds other results: ${quote(result)}`
  const stems = names
    .filter((name) => WEIGHTS.test(name) && !HUB_WEIGHTS.test(name))
    .map((name) => name.replace(/\.\w+$/, '').replace(SHARD, ''))
  const [one, other] = new Set(stems)
  return other === undefined ? undefined : `a folder that holds several models: ${quote(one!)} and ${quote(other)}`
}

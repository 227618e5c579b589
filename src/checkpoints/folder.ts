/** Finds the weight files of a hub-style folder and reads its index. */

import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { Fault, fault } from '../core/diagnostics.js'
import { type Budget, jsonReader } from '../core/json/reader.js'
import { quote } from '../core/suggest.js'
import { eitherOf } from '../core/words.js'
import { isLfsPointer, LFS_HINT, LFS_POINTER } from '../storage/lfs.js'
import { type Bounds, FileProblem, fileFault, readRegular } from '../storage/local/regular.js'
import {
  CONTAINERS,
  EXTENSIONS,
  folderContainer,
  indexName,
  isIndexOf,
  isWeightsOf,
  packedForInference,
} from './containers/index.js'
import type { Container } from './containers/types.js'
import { nameInFolder } from './namesInFolder.js'

export interface FolderWeights {
  /** Relative to the folder, sorted by name. */
  readonly files: readonly string[]
  /** The index, if there is one: maps tensors to files. */
  readonly index?: { readonly name: string; readonly map: ReadonlyMap<string, string> }
  /** An index of other existing files, which terge does not read. They can be newer or older than the files that it reads. */
  readonly passedOver?: string
}

/**
 * Duplicates of the weights: files with the names of the vendor's own tools, an adapter beside its model, and variants. terge
 * reads them only if there are no other weights.
 */
const SET_ASIDE = new RegExp(
  `^(consolidated|adapter_model|adapter)\\b|[._-](fp16|bf16|fp32|non_ema|ema_only|ema)(-\\d{5}-of-\\d{5})?\\.(${EXTENSIONS})(\\.|$)|\\.index\\.\\w+\\.json$`,
)
/** PEFT's names for the weights of an adapter. */
const ADAPTERS = CONTAINERS.flatMap(({ adapterName }) => adapterName ?? [])
/** Memory per index entry in bytes, without its strings. */
const ENTRY_COST = 100
/** Subfolders that are searched for a hint. */
const MOST_SUBFOLDERS = 20
/** In bytes. A million tensors take about 130 MB. */
const MAX_INDEX_BYTES = 256 * 2 ** 20
const REPAIR = 'the checkpoint is incomplete or damaged: download it again'

/**
 * Chooses the weight files among a folder's entries, in the same way as the hub's own libraries. For each container in turn:
 * the file with a whole model, else the index, else the only file. If a `joined` container has several files without an index,
 * all of them are chosen; `openCheckpoint` then reports tensors that are in two files. With `adapter`, the weights of an adapter
 * come first. `shown` names the folder in messages.
 * Errors: `no-weights`, `ambiguous-checkpoint`, those of `parseIndex`.
 */
export async function folderWeights(
  folder: string,
  names: readonly string[],
  shown: string,
  budget: Budget,
  adapter: boolean,
  within: Bounds,
): Promise<FolderWeights> {
  const weights = ADAPTERS.find((name) => names.includes(name))
  if (adapter && weights !== undefined) return { files: [weights] }
  const visible = names.filter((name) => !name.startsWith('.')).sort()
  for (const container of CONTAINERS) {
    const single = container.wholeNames.find((name) => names.includes(name))
    if (single !== undefined) return { files: [single], ...(await passedOver(folder, single, names, within)) }
    const index = chooseIndex(visible, container)
    if (index !== undefined) {
      const bytes = await readIndex(path.join(folder, index), `${shown}/${index}`, within)
      const map = parseIndex(bytes, `${shown}/${index}`, budget)
      return { files: [...new Set(map.values())].sort(), index: { name: index, map } }
    }
    const files = preferred(visible.filter((name) => isWeightsOf(name, container)))
    const part = files.some((name) => PART.test(name) && !name.includes('-00001-of-00001.'))
    if (part || (files.length > 1 && !container.joined)) throw ambiguous(shown, files, container)
    if (files.length > 0) return { files }
  }
  const inner = await partedSubfolder(folder, visible)
  if (inner !== undefined)
    throw fault(
      'no-weights',
      `${shown}: a folder without weights of its own`,
      `did you mean ${quote(`${shown}/${inner.name}`)}? It holds ${inner.described}`,
    )
  const gguf = packedForInference(visible)
  throw fault(
    'no-weights',
    `${shown}: a folder without ${eitherOf(CONTAINERS.map(({ name }) => name))} files`,
    gguf === undefined
      ? `a model is ${CONTAINERS.map(({ described }) => described).join(', ')}, or a folder with one`
      : `${gguf} is converted for inference: merge the original model, then convert the result`,
  )
}

/** A subfolder in which a trainer saved the model in parts, beside the state of its optimizer. */
async function partedSubfolder(folder: string, names: readonly string[]) {
  for (const name of names.filter((one) => !one.includes('.') && !/^optim/.test(one)).slice(0, MOST_SUBFOLDERS)) {
    const inside = await readdir(path.join(folder, name)).catch((): string[] => [])
    const found = folderContainer(inside)
    if (found) return { name, described: found.described }
  }
  return undefined
}

/** The index beside a single file, if it lists other files of the folder. An unreadable index is ignored. */
async function passedOver(folder: string, single: string, names: readonly string[], within: Bounds) {
  const index = indexName(single)
  if (!names.includes(index)) return {}
  try {
    const map = parseIndex(await readIndex(path.join(folder, index), index, within), index, { left: MAX_INDEX_BYTES })
    const others = [...new Set(map.values())].filter((name) => name !== single)
    return others.some((name) => names.includes(name)) ? { passedOver: index } : {}
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return {}
  }
}

/** Matches the name of a shard. */
export const PART = /-\d{5}-of-\d{5}\.\w+$/

/** Error `ambiguous-checkpoint`: it is unclear which of the files are the model. */
function ambiguous(shown: string, files: readonly string[], { name, wholeNames: [whole], indexed }: Container): Fault {
  const list = `${files.slice(0, 8).join(', ')}${files.length > 8 ? ', …' : ''}`
  const what =
    files.length === 1 ? `one part of a checkpoint without an index` : `${files.length} ${name} files without an index`
  return fault(
    'ambiguous-checkpoint',
    `${shown}: ${what} that says how they belong together: ${list}`,
    whole === undefined || !indexed ? 'name one of the files' : `name one of the files, or add ${indexName(whole)}`,
  )
}

/** The names without duplicates of the weights, unless there are only duplicates. */
function preferred(names: readonly string[]): readonly string[] {
  const own = names.filter((name) => !SET_ASIDE.test(name))
  return own.length > 0 ? own : names
}

function chooseIndex(names: readonly string[], container: Container): string | undefined {
  const found = preferred(names.filter((name) => isIndexOf(name, container)))
  const usual = container.wholeNames.map(indexName).find((name) => found.includes(name))
  return usual ?? (found.length === 1 ? found[0] : undefined)
}

async function readIndex(file: string, shown: string, within: Bounds): Promise<Uint8Array> {
  try {
    return await readRegular(file, { most: MAX_INDEX_BYTES, within })
  } catch (error) {
    const problem = error instanceof FileProblem && error.kind !== 'link' && error.kind !== 'system'
    throw problem ? fault('bad-index', `${shown}: ${error.message}`, REPAIR) : fileFault(error, shown)
  }
}

/**
 * Parses an index: `{"metadata": …, "weight_map": {tensor: file}}`. `shown` names it in messages.
 * Errors: `bad-index`, `duplicate-key`, `path-escape` if a file name leads out of the folder.
 */
export function parseIndex(bytes: Uint8Array, shown: string, budget: Budget): ReadonlyMap<string, string> {
  if (isLfsPointer(bytes)) throw fault('bad-index', `${shown}: ${LFS_POINTER}`, LFS_HINT)
  const bad = (message: string) => fault('bad-index', `${shown}: ${message}`, REPAIR)
  const json = jsonReader(bytes, 0, budget, (_, message) => {
    throw bad(message)
  })
  // One string per file, shared by its tensors.
  const files = new Map<string, string>()
  let map: Map<string, string> | undefined
  json.object('the index', (key) => {
    if (key !== 'weight_map') return json.skip()
    if (map) throw fault('duplicate-key', `${shown}: weight_map appears twice`, REPAIR)
    const found = new Map<string, string>()
    map = found
    json.object('`weight_map`', (tensor) => {
      if (found.has(tensor)) throw fault('duplicate-key', `${shown}: tensor ${quote(tensor)} appears twice`, REPAIR)
      const file = json.string(() => `\`weight_map\`: the file of ${quote(tensor)}`)
      budget.left -= ENTRY_COST
      if (budget.left < 0) throw bad('more entries than any real model has')
      if (!files.has(file)) files.set(nameInFolder(file, shown, 'an index may list'), file)
      else budget.left += file.length
      found.set(tensor, files.get(file)!)
    })
  })
  json.end()
  if (!map) throw bad('`weight_map` is missing')
  if (map.size === 0) throw bad('`weight_map` is empty')
  return map
}

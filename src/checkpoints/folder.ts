/** Which files of a hub-style folder hold its weights, and what its index says about them. */
import { open } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { MAX_HEADER_BYTES } from './header.js'
import { type Budget, jsonReader } from './json.js'

export interface FolderWeights {
  /** Relative to the folder, in the order of names. */
  readonly files: readonly string[]
  /** Tensor to file, where there is an index. */
  readonly index?: { readonly name: string; readonly map: ReadonlyMap<string, string> }
}

const SINGLE = 'model.safetensors'
/** Bytes of memory that an index entry takes beside its texts. */
const ENTRY_COST = 100
const REPAIR = 'the checkpoint is incomplete or damaged: fetch it again'

/**
 * Chooses among a folder's entries as the hub's own libraries do: `model.safetensors`, else the index, else the only
 * safetensors file. `shown` names the folder in messages.
 * Faults: `no-weights`, `ambiguous-checkpoint`, those of `parseIndex`.
 */
export async function folderWeights(
  folder: string,
  names: readonly string[],
  shown: string,
  budget: Budget,
): Promise<FolderWeights> {
  if (names.includes(SINGLE)) return { files: [SINGLE] }
  const visible = names.filter((name) => !name.startsWith('.')).sort()
  const indexes = visible.filter((name) => name.endsWith('.safetensors.index.json'))
  const single = visible.filter((name) => name.endsWith('.safetensors'))
  const [chosen] = indexes.includes(`${SINGLE}.index.json`)
    ? [`${SINGLE}.index.json`]
    : indexes.length === 1
      ? indexes
      : []
  if (chosen !== undefined) {
    const map = parseIndex(
      await readIndex(path.join(folder, chosen), `${shown}/${chosen}`),
      `${shown}/${chosen}`,
      budget,
    )
    return { files: [...new Set(map.values())].sort(), index: { name: chosen, map } }
  }
  if (single.length === 1) return { files: single }
  if (single.length > 1)
    throw fault(
      'ambiguous-checkpoint',
      `${shown}: ${single.length} safetensors files and no index that says how they belong together: ${single.slice(0, 8).join(', ')}${single.length > 8 ? ', …' : ''}`,
      `name one of the files, or add ${SINGLE}.index.json`,
    )
  throw fault(
    'no-weights',
    `${shown}: a folder without safetensors files`,
    'a model is a .safetensors file, or a folder with one',
  )
}

async function readIndex(file: string, shown: string): Promise<Uint8Array> {
  const handle = await open(file, 'r')
  try {
    const entry = await handle.stat()
    if (!entry.isFile() || entry.size > MAX_HEADER_BYTES / 2)
      throw fault(
        'bad-index',
        `${shown}: ${entry.isFile() ? `${entry.size} bytes are too many for an index` : 'not a file'}`,
        REPAIR,
      )
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}

/**
 * Reads the text of an index: `{"metadata": …, "weight_map": {tensor: file}}`. `shown` names it in messages.
 * Faults: `bad-index`, `duplicate-key`, `path-escape` for a file name that is no plain relative path downwards.
 */
export function parseIndex(bytes: Uint8Array, shown: string, budget: Budget): ReadonlyMap<string, string> {
  const bad = (message: string) => fault('bad-index', `${shown}: ${message}`, REPAIR)
  const json = jsonReader(bytes, 0, budget, (_, message) => {
    throw bad(message)
  })
  // One string for each file, not one a tensor.
  const files = new Map<string, string>()
  let map: Map<string, string> | undefined
  json.object('the index', (key) => {
    if (key !== 'weight_map') return json.skip()
    if (map) throw fault('duplicate-key', `${shown}: weight_map appears twice`, REPAIR)
    const found = new Map<string, string>()
    map = found
    json.object('`weight_map`', (tensor) => {
      if (found.has(tensor)) throw fault('duplicate-key', `${shown}: tensor ${quote(tensor)} appears twice`, REPAIR)
      const file = json.string(`\`weight_map\`: the file of ${quote(tensor)}`)
      budget.left -= ENTRY_COST
      if (budget.left < 0) throw bad('more entries than any real model has')
      if (!files.has(file)) files.set(checkShardName(file, shown), file)
      else budget.left += file.length
      found.set(tensor, files.get(file)!)
    })
  })
  json.end()
  if (!map) throw bad('`weight_map` is missing')
  if (map.size === 0) throw bad('`weight_map` is empty')
  return map
}

/** A shard's name must lead down into the folder on every platform. Where a link leads is the file system's affair. */
function checkShardName(name: string, shown: string): string {
  const parts = name.split('/')
  if (/[\\:\0]/.test(name) || parts.some((part) => part === '' || part === '.' || part === '..'))
    throw fault(
      'path-escape',
      `${shown}: ${quote(name)} is not the name of a file in this folder`,
      'an index may name files of its own folder only',
    )
  return name
}

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

interface Format {
  readonly name: string
  /** What the file is called where there is one. */
  readonly single: string
  readonly weights: RegExp
  readonly index: RegExp
}

/** In the order of preference: where a folder has both, the same weights are in both. */
const FORMATS: readonly Format[] = [
  { name: 'safetensors', single: 'model.safetensors', weights: /\.safetensors$/, index: /\.safetensors\.index\.json$/ },
  {
    name: 'PyTorch',
    single: 'pytorch_model.bin',
    // Not what a trainer leaves beside the weights.
    weights: /^(?!(training_args|optimizer|scheduler|scaler|rng_state)\b|rng_state_).*\.(bin|pt|pth|ckpt)$/,
    index: /\.bin\.index\.json$/,
  },
]
/** Bytes of memory that an index entry takes beside its texts. */
const ENTRY_COST = 100
const REPAIR = 'the checkpoint is incomplete or damaged: fetch it again'

/**
 * Chooses among a folder's entries as the hub's own libraries do: `model.safetensors`, else the index, else the only
 * safetensors file; where there is none, the same of PyTorch's files. `shown` names the folder in messages.
 * Faults: `no-weights`, `ambiguous-checkpoint`, those of `parseIndex`.
 */
export async function folderWeights(
  folder: string,
  names: readonly string[],
  shown: string,
  budget: Budget,
): Promise<FolderWeights> {
  const visible = names.filter((name) => !name.startsWith('.')).sort()
  for (const format of FORMATS) {
    if (names.includes(format.single)) return { files: [format.single] }
    const files = visible.filter((name) => format.weights.test(name))
    const index = chooseIndex(visible, format)
    if (index !== undefined) {
      const bytes = await readIndex(path.join(folder, index), `${shown}/${index}`)
      const map = parseIndex(bytes, `${shown}/${index}`, budget)
      return { files: [...new Set(map.values())].sort(), index: { name: index, map } }
    }
    if (files.length === 1) return { files }
    if (files.length > 1)
      throw fault(
        'ambiguous-checkpoint',
        `${shown}: ${files.length} ${format.name} files and no index that says how they belong together: ${files.slice(0, 8).join(', ')}${files.length > 8 ? ', …' : ''}`,
        `name one of the files, or add ${format.single}.index.json`,
      )
  }
  throw fault(
    'no-weights',
    `${shown}: a folder without safetensors or PyTorch files`,
    'a model is a .safetensors file, a PyTorch state dict, or a folder with one',
  )
}

function chooseIndex(names: readonly string[], { single, index }: Format): string | undefined {
  const usual = `${single}.index.json`
  const found = names.filter((name) => index.test(name))
  return found.includes(usual) ? usual : found.length === 1 ? found[0] : undefined
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

/** Whether a name leads down into its folder on every platform. Where a link leads is the file system's affair. */
export const leadsDown = (name: string): boolean =>
  !/[\\:\0]/.test(name) && name.split('/').every((part) => part !== '' && part !== '.' && part !== '..')

function checkShardName(name: string, shown: string): string {
  if (!leadsDown(name))
    throw fault(
      'path-escape',
      `${shown}: ${quote(name)} is not the name of a file in this folder`,
      'an index may name files of its own folder only',
    )
  return name
}

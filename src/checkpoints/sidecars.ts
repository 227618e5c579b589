/** The small files that a hub-style folder carries beside its weights, and its configuration. */
import { isUtf8 } from 'node:buffer'
import { open, stat } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { parseJson } from '../core/jsonText.js'
import type { Checkpoint } from './types.js'

/** Bytes. The largest tokenizers have about 35 MB; anything over this is no sidecar. */
const MAX_SIDECAR_BYTES = 64 * 2 ** 20

const WEIGHTS = /\.(safetensors|bin|pt|pth|ckpt|gguf|ggml|onnx|onnx_data|h5|msgpack|npz|npy|pkl|pickle|ot|tflite|mar)$/i
/** Weights' indexes, what describes the folder's own model rather than its working, and terge's own lineage. */
const NOT_TAKEN = /^\.|\.index(\.\w+)?\.json$|^(readme|licen[cs]e)(\.|$)|^config\.json$|(^|\.)lineage\.json$/i

/** Whether a file of this name holds weights, of terge's formats or others. */
export const isWeights = (name: string): boolean => WEIGHTS.test(name)

/** Whether a file of a folder on the hub is small and says something: config, tokenizer, index. */
export const isSmallFile = (name: string, size: number): boolean =>
  !WEIGHTS.test(name) &&
  size <= MAX_SIDECAR_BYTES &&
  (name === 'config.json' || /\.(safetensors|bin)\.index(\.\w+)?\.json$/.test(name) || !NOT_TAKEN.test(name))

/** Names of the sidecars among a folder's entries, in the order of names. `config.json` is not among them. */
export async function findSidecars(folder: string, names: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (const name of names) {
    if (WEIGHTS.test(name) || NOT_TAKEN.test(name)) continue
    // Follows links: the hub's cache holds nothing else. One that leads nowhere is not there.
    const entry = await stat(path.join(folder, name)).catch(() => undefined)
    if (entry?.isFile() && entry.size <= MAX_SIDECAR_BYTES) found.push(name)
  }
  return found.sort()
}

/**
 * Texts of a folder's sidecars of these names, by name; those that it lacks are absent, and so is one that grew too large. Binary
 * ones (`*.model`) have one character a byte.
 */
export async function readSidecars(
  { path: folder, sidecars }: Checkpoint,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const texts: Record<string, string> = {}
  for (const name of sidecars.filter((name) => names.includes(name))) {
    const handle = await open(path.join(folder, name), 'r')
    try {
      const entry = await handle.stat()
      if (entry.isFile() && entry.size <= MAX_SIDECAR_BYTES)
        texts[name] = await handle.readFile(name.endsWith('.model') ? 'latin1' : 'utf8')
    } finally {
      await handle.close()
    }
  }
  return texts
}

/** Says how a PEFT adapter is applied; it lies beside the adapter's weights. */
export const ADAPTER_CONFIG = 'adapter_config.json'

/** A configuration as an object, and the text and bytes that it was read from. Fault: `bad-config`. `shown` names the file in messages. */
export async function readConfigFile(
  file: string,
  shown: string,
): Promise<{ readonly config: Readonly<Record<string, unknown>>; readonly text: string; readonly bytes: Uint8Array }> {
  const { value, ...read } = await readJsonFile(file, shown)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badConfig(shown, 'not a JSON object')
  return { config: value as Record<string, unknown>, ...read }
}

const badConfig = (shown: string, what: string) =>
  fault('bad-config', `${shown}: ${what}`, 'repair the file, or remove it')

/** A small file of JSON, of bounded size and depth. Fault: `bad-config`. `shown` names the file in messages. */
export const readJson = async (file: string, shown: string): Promise<unknown> => (await readJsonFile(file, shown)).value

async function readJsonFile(
  file: string,
  shown: string,
): Promise<{ value: unknown; readonly text: string; readonly bytes: Uint8Array }> {
  const handle = await open(file, 'r')
  try {
    const entry = await handle.stat()
    if (!entry.isFile()) throw badConfig(shown, 'not a file')
    if (entry.size > MAX_SIDECAR_BYTES) throw badConfig(shown, `${entry.size} bytes are too many for a configuration`)
    const bytes = await handle.readFile()
    if (!isUtf8(bytes)) throw badConfig(shown, 'not UTF-8 text')
    const text = bytes.toString('utf8')
    try {
      return { value: parseJson(text), text, bytes }
    } catch (error) {
      throw badConfig(shown, (error as Error).message)
    }
  } finally {
    await handle.close()
  }
}

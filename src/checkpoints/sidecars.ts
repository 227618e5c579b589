/** The small files of a hub-style folder beside its weights, and its configuration. */
import { type Buffer, isUtf8 } from 'node:buffer'
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { type Fault, fault } from '../core/diagnostics.js'
import { parseJson } from '../core/json/text.js'
import { type Bounds, boundsOf, FileProblem, fileFault, readRegular } from '../storage/local/regular.js'
import { isCode, isSidecar, mayMatter } from './sidecarNames.js'
import { type Checkpoint, smallFolderOf } from './types.js'

/** In bytes. The largest tokenizers have about 35 MB. */
export const MAX_SIDECAR_BYTES = 64 * 2 ** 20
/** Maximum bytes of JSON that are parsed only to check the syntax. */
const MAX_CHECKED_BYTES = 2 ** 22
/** Folders of small files that are copied. */
export const SIDECAR_FOLDERS = ['additional_chat_templates']

interface Found {
  /** Names relative to the folder, sorted, without `config.json`. */
  readonly sidecars: readonly string[]
  /** Other files, which are not copied but could matter to the user. */
  readonly leftOut: readonly string[]
}

/** Finds the small files among a folder's entries. `pipeline`: modules of the folder may use classes from it. */
export async function findSidecars(
  folder: string,
  names: readonly string[],
  within: Bounds,
  pipeline: boolean,
): Promise<Found> {
  const inner = SIDECAR_FOLDERS.filter((name) => names.includes(name)).map(async (name) => {
    const there = await readdir(path.join(folder, name)).catch((): string[] => [])
    return there.map((one) => `${name}/${one}`)
  })
  const all = [...names, ...(await Promise.all(inner)).flat()].sort()
  const code = all.some(isCode) && (pipeline || (await hasOwnClasses(folder, names, within)))
  const sidecars = all.filter((name) => (isCode(name) ? code : isSidecar(name)))
  const leftOut: string[] = []
  for (const name of all.filter(mayMatter)) {
    const entry = await stat(path.join(folder, name)).catch(() => undefined)
    if (entry?.isFile()) leftOut.push(name)
  }
  return { sidecars, leftOut }
}

/** Files whose `auto_map` can refer to classes in the model's folder. */
const AUTO_MAPS = ['config.json', 'tokenizer_config.json', 'processor_config.json', 'preprocessor_config.json']

/** Whether a model uses classes from its own folder. */
export async function hasOwnClasses(folder: string, names: readonly string[], within: Bounds): Promise<boolean> {
  for (const name of AUTO_MAPS.filter((name) => names.includes(name))) {
    const bytes = await readRegular(path.join(folder, name), { most: MAX_SIDECAR_BYTES, within }).catch(() => undefined)
    if (bytes?.includes('"auto_map"')) return true
  }
  return false
}

/**
 * Texts of the sidecars with these names, by name; missing sidecars are absent. Binary files (`*.model`) have one character
 * per byte. Errors: those of `fileFault`.
 */
export async function readSidecars(
  checkpoint: Checkpoint,
  names: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const { reference, sidecars } = checkpoint
  const folder = smallFolderOf(checkpoint)
  const texts: Record<string, string> = {}
  for (const name of sidecars.filter((name) => names.includes(name)))
    texts[name] = (await readSidecar(folder, name, `${reference}/${name}`)).toString(
      name.endsWith('.model') ? 'latin1' : 'utf8',
    )
  return texts
}

/** Reads a small file of a model's folder. Errors: those of `fileFault`. */
export async function readSidecar(folder: string, name: string, shown: string): Promise<Buffer> {
  try {
    return await readRegular(path.join(folder, name), { most: MAX_SIDECAR_BYTES, within: await boundsOf(folder) })
  } catch (error) {
    throw fileFault(error, shown)
  }
}

/**
 * Checks that a file to copy has the content that its name promises, as far as that is cheap: JSON or text. Errors: `bad-config`,
 * those of `fileFault`.
 */
export async function checkSidecar(folder: string, name: string, shown: string): Promise<void> {
  const bytes = await readSidecar(folder, name, shown)
  if (/\.(model|spm|v\w+)$/.test(name)) return
  if (!isUtf8(bytes) || bytes.includes(0)) throw badConfig(shown, 'not UTF-8 text')
  if (!name.endsWith('.json')) return
  const begin = /^\ufeff?\s*(.)/su.exec(bytes.toString('utf8', 0, 1000))?.[1]
  if (begin !== '{' && begin !== '[') throw badConfig(shown, 'neither a JSON object nor a list')
  if (bytes.length > MAX_CHECKED_BYTES) return
  try {
    parseJson(bytes.toString('utf8'))
  } catch (error) {
    throw badConfig(shown, (error as Error).message)
  }
}

/** The file beside a PEFT adapter's weights that says how to apply it. */
export const ADAPTER_CONFIG = 'adapter_config.json'

interface JsonFile {
  readonly text: string
  readonly bytes: Uint8Array
}

/** Reads a configuration: the object, its text and its bytes. Errors: `bad-config`, `outside-link`. `shown` names the file in messages. */
export async function readConfigFile(
  file: string,
  shown: string,
  within: Bounds,
): Promise<JsonFile & { readonly config: Readonly<Record<string, unknown>> }> {
  const { value, ...read } = await readJsonFile(file, shown, within)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw badConfig(shown, 'not a JSON object')
  return { config: value as Record<string, unknown>, ...read }
}

const badConfig = (shown: string, what: string): Fault =>
  fault('bad-config', `${shown}: ${what}`, 'repair the file, or remove it')

/** Reads a small JSON file of limited size and depth. Errors: `bad-config`, `outside-link`. `shown` names the file in messages. */
export const readJson = async (file: string, shown: string, within: Bounds): Promise<unknown> =>
  (await readJsonFile(file, shown, within)).value

async function readJsonFile(file: string, shown: string, within: Bounds): Promise<JsonFile & { value: unknown }> {
  let bytes: Buffer
  try {
    bytes = await readRegular(file, { most: MAX_SIDECAR_BYTES, within })
  } catch (error) {
    const problem = error instanceof FileProblem && error.kind !== 'link' && error.kind !== 'system'
    throw problem ? badConfig(shown, error.message) : fileFault(error, shown)
  }
  if (!isUtf8(bytes)) throw badConfig(shown, 'not UTF-8 text')
  const text = bytes.toString('utf8')
  try {
    return { value: parseJson(text), text, bytes }
  } catch (error) {
    throw badConfig(shown, (error as Error).message)
  }
}

/**
 * `RECIPE.lock`: the commit, files and digests of a recipe's models (schemas/lock.v1.schema.json). `terge run --locked` uses
 * exactly these.
 */

import { recordOf } from '../core/collections/ownValue.js'
import { fault } from '../core/diagnostics.js'
import { Bad, bad, digest, list, natural, object, type Read, record, text } from '../core/json/shape.js'
import { readText } from './disk.js'
import { fileName, givenConfig } from './parse.js'
import { sortedKeys } from './serialize.js'
import type { Digest, GivenConfig } from './types.js'

export interface LockedFile {
  /** Relative to the model's folder, or the file's own name. */
  readonly name: string
  readonly size: number
  /** Of an object in a store, without quotation marks. */
  readonly etag?: string
  /** SHA-256 of the whole file, as the hub publishes it. */
  readonly sha256: Digest
  /** terge's digest, as in a lineage: of header and tensors, or of the bytes of a file without tensors. */
  readonly digest: Digest
}

export interface LockedModel {
  /** As written. */
  readonly reference: string
  /** As written. */
  readonly revision?: string
  readonly subfolder?: string
  /** The commit of a model on the hub, or the revision of one in a store. */
  readonly commit?: string
  /** The files that `config` of the model means, and their SHA-256. */
  readonly config?: readonly GivenConfig[]
  /** Weights, then config and other small files. */
  readonly files: readonly LockedFile[]
}

/** The models of a recipe as they were when it was locked: commits, files and digests. */
export interface Lock {
  readonly lock: 1
  /** Version of terge that wrote it. */
  readonly terge: string
  readonly models: Readonly<Record<string, LockedModel>>
}

/** In characters. */
const MAX_LOCK = 1 << 26

/** The path of the lock of the recipe at `file`. */
export const lockPath = (file: string): string => `${file}.lock`

const commit: Read<string> = (value, at) =>
  typeof value === 'string' && /^[0-9a-f]{40}$/.test(value) ? value : bad(at, 'a commit, 40 hexadecimal digits')
const lockedFile = object<LockedFile>({ name: fileName, size: natural, etag: text, sha256: digest, digest }, 'etag')
const lockedModel = object<LockedModel>(
  { reference: text, revision: text, subfolder: text, commit, config: list(givenConfig), files: list(lockedFile) },
  'revision',
  'subfolder',
  'commit',
  'config',
)
const lockForm = object<Lock>({
  lock: (value, at) => (value === 1 ? 1 : bad(at, '1, the only version that this terge reads')),
  terge: text,
  models: record(lockedModel),
})

/** Parses a lock; `file` names it in messages. Error: `bad-lock`. */
export function parseLock(source: string, file: string): Lock {
  const hint = 'run terge lock again'
  try {
    return lockForm(JSON.parse(source), '', 0)
  } catch (error) {
    if (error instanceof Bad) throw fault('bad-lock', `${file}: ${error.describe('the lock')}`, hint)
    if (error instanceof SyntaxError) throw fault('bad-lock', `${file}: not JSON`, hint)
    throw error
  }
}

/** The text of a lock. Error: `missing-lock`. */
export async function readLockText(file: string): Promise<string> {
  const found = await readText(file, MAX_LOCK)
  if (found === undefined) throw fault('missing-lock', `the lock ${file} does not exist`, 'create it with terge lock')
  return found
}

/** Reads a lock. Errors: `missing-lock`, `bad-lock`. */
export const readLock = async (file: string): Promise<Lock> => parseLock(await readLockText(file), file)

/** The canonical text of a lock: the same models give the same text. */
export function lockText({ lock, terge, models }: Lock): string {
  const sorted = sortedKeys(models).map((name) => [name, models[name]!] as const)
  return `${JSON.stringify({ lock, terge, models: recordOf(sorted) }, null, 2)}\n`
}

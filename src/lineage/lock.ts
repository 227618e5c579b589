/**
 * `RECIPE.lock`: which commit, files and bytes a recipe's models are (schemas/lock.v1.schema.json). A run with it uses
 * just these.
 */

import { recordOf } from '../core/collections/ownValue.js'
import { fault } from '../core/diagnostics.js'
import { Bad, bad, digest, list, natural, object, type Read, record, text } from '../core/json/shape.js'
import { readText } from './disk.js'
import { fileName } from './parse.js'
import { sortedKeys } from './serialize.js'
import type { Digest } from './types.js'

export interface LockedFile {
  /** Relative to the model's folder, or the file's own name. */
  readonly name: string
  readonly size: number
  /** Of the whole file: what the hub publishes. */
  readonly sha256: Digest
  /** As the lineage has it: of a checkpoint over header and tensors, of another file over its bytes. */
  readonly digest: Digest
}

export interface LockedModel {
  /** As written. */
  readonly reference: string
  /** As written. */
  readonly revision?: string
  readonly subfolder?: string
  /** Of a model on the hub. */
  readonly commit?: string
  /** Weights, then config and the files beside it. */
  readonly files: readonly LockedFile[]
}

/** The models of a recipe as they were when it was locked: commits, files and digests. */
export interface Lock {
  readonly lock: 1
  /** Version of the program that wrote it. */
  readonly terge: string
  readonly models: Readonly<Record<string, LockedModel>>
}

/** In characters. */
const MAX_LOCK = 1 << 26

/** The lock of the recipe at `file`. */
export const lockPath = (file: string): string => `${file}.lock`

const commit: Read<string> = (value, at) =>
  typeof value === 'string' && /^[0-9a-f]{40}$/.test(value) ? value : bad(at, 'a commit, 40 hexadecimal digits')
const lockedFile = object<LockedFile>({ name: fileName, size: natural, sha256: digest, digest })
const lockedModel = object<LockedModel>(
  { reference: text, revision: text, subfolder: text, commit, files: list(lockedFile) },
  'revision',
  'subfolder',
  'commit',
)
const lockForm = object<Lock>({
  lock: (value, at) => (value === 1 ? 1 : bad(at, '1, the only version that this terge reads')),
  terge: text,
  models: record(lockedModel),
})

/** A lock from its text; `file` names it in messages. Fault: `bad-lock`. */
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

/** Reads a lock. Faults: `missing-lock`, `bad-lock`. */
export async function readLock(file: string): Promise<Lock> {
  const found = await readText(file, MAX_LOCK)
  if (found === undefined) throw fault('missing-lock', `the lock ${file} does not exist`, 'create it with terge lock')
  return parseLock(found, file)
}

/** Models by name, keys in a fixed order: the same text for the same models. */
export function lockText({ lock, terge, models }: Lock): string {
  const sorted = sortedKeys(models).map((name) => [name, models[name]!] as const)
  return `${JSON.stringify({ lock, terge, models: recordOf(sorted) }, null, 2)}\n`
}

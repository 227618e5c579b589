/** Makes locks of models, and compares models with a lock. */

import { availableParallelism } from 'node:os'
import path from 'node:path'
import { isLicence, isSidecar, isWeights } from '../../checkpoints/sidecarNames.js'
import { ADAPTER_CONFIG } from '../../checkpoints/sidecars.js'
import { type Checkpoint, smallFolderOf } from '../../checkpoints/types.js'
import { ownValue, recordOf } from '../../core/collections/ownValue.js'
import { type Diagnostic, Fault } from '../../core/diagnostics.js'
import { matchedBy } from '../../core/names/pathPattern.js'
import { quote } from '../../core/suggest.js'
import { VERSION } from '../../core/version.js'
import { byteProgress } from '../../execute/byteProgress.js'
import { openSums, type Sums } from '../../execute/hashing/sums.js'
import { hubParts } from '../../language/names.js'
import type { ModelSource } from '../../language/types.js'
import { bytesToDigest, type CheckpointDigests, digestCheckpoints } from '../../lineage/digestCheckpoint.js'
import { fileSize, sha256, xxh3OfFile } from '../../lineage/disk.js'
import type { Lock, LockedFile, LockedModel } from '../../lineage/lock.js'
import type { Lineage } from '../../lineage/types.js'
import type { Recipe } from '../../recipe/types.js'
import { type FetchOptions, fetchModels, type OpenedModel, type Pin, placed } from '../opened/models.js'
import { LEAST_REMEMBERED, remember, type Summed } from '../sums/memo.js'

/** Downloads missing files and reads all of them. Errors: those of `fetchModels` and of reading. */
export async function makeLock(
  recipe: Recipe,
  models: ReadonlyMap<string, OpenedModel>,
  options: FetchOptions & { readonly threads?: number } = {},
): Promise<Lock> {
  await fetchModels(models, options, recipe)
  const { threads, signal, listen } = options
  const opened = [...models]
  const checkpoints = opened.map(([, { checkpoint }]) => checkpoint)
  const whole = opened.flatMap(([, { checkpoint, fetches }]) =>
    checkpoint.files.map((file) => file.path).filter((place) => publishedSum(fetches, place) === undefined),
  )
  const progress = byteProgress(listen, 'lock', bytesToDigest(checkpoints))
  const digests = await digestCheckpoints(checkpoints, {
    ...(threads === undefined ? {} : { threads }),
    ...(signal === undefined ? {} : { signal }),
    progress: (read, tensor) => progress.add(read, `reading ${tensor}`),
  })
  progress.end('all tensors read')
  const sums = openSums({ threads: threads ?? availableParallelism(), signal })
  try {
    await sums.settle([...new Set(whole)], listen)
    return await lockOf(recipe, opened, digests, sums)
  } finally {
    await sums.close()
  }
}

async function lockOf(
  recipe: Recipe,
  opened: readonly (readonly [string, OpenedModel])[],
  digests: readonly CheckpointDigests[],
  sums: Sums,
): Promise<Lock> {
  const locked: [string, LockedModel][] = []
  const learnt: Summed[] = []
  for (const [index, [name, { checkpoint, fetches }]] of opened.entries()) {
    const files: LockedFile[] = []
    for (const [file, { name: fileName, path: place, size, etag }] of checkpoint.files.entries()) {
      const published = publishedSum(fetches, place)
      const sum = published === undefined ? await sums.of(place) : `sha256:${published}`
      const digest = digests[index]!.files[file]!
      files.push({ name: fileName, size, ...(etag === undefined ? {} : { etag }), sha256: sum, digest })
      if (published === undefined && size >= LEAST_REMEMBERED) learnt.push({ path: place, digest, sha256: sum })
    }
    for (const [fileName, { size, place }] of await besideFiles(checkpoint))
      files.push({ name: fileName, size, sha256: await sums.of(place), digest: await xxh3OfFile(place) })
    const { reference, revision, subfolder } = recipe.models.get(name)!
    locked.push([
      name,
      {
        reference,
        ...(revision === undefined ? {} : { revision }),
        ...(subfolder === undefined ? {} : { subfolder }),
        ...(checkpoint.revision === undefined ? {} : { commit: checkpoint.revision }),
        ...(checkpoint.configFiles
          ? { config: checkpoint.configFiles.map(({ file, sha256 }) => ({ file, sha256 })) }
          : {}),
        files,
      },
    ])
  }
  await remember(learnt)
  return { lock: 1, terge: VERSION, models: recordOf(locked) }
}

/** The SHA-256 of a file that was downloaded just now: the download has checked it. */
const publishedSum = (fetches: OpenedModel['fetches'], place: string): string | undefined =>
  fetches.find((fetch) => fetch.place === place)?.file.sha256

/** The small files of a model that terge uses: config, and files that it copies to outputs. */
async function besideFiles(
  checkpoint: OpenedModel['checkpoint'],
): Promise<Map<string, { size: number; place: string }>> {
  const found = new Map<string, { size: number; place: string }>()
  // A recipe and its lock can be in the model's folder.
  const names = [...(checkpoint.config ? ['config.json'] : []), ...checkpoint.sidecars].filter(
    (name) => !name.endsWith('.lock'),
  )
  for (const name of names) {
    const place = path.join(smallFolderOf(checkpoint), name)
    const file = await fileSize(place)
    if ('size' in file) found.set(name, { size: file.size, place })
  }
  if (checkpoint.layout === 'file' && checkpoint.adapterFile) {
    const place = path.join(path.dirname(checkpoint.path), ADAPTER_CONFIG)
    found.set(ADAPTER_CONFIG, { size: checkpoint.adapterFile.length, place })
  }
  return found
}

/** How to open a model that is in a lock. */
export const pinOf = (lock: Lock, name: string): Pin => {
  const locked = ownValue(lock.models, name)
  const weights = locked?.files.filter(({ name }) => isWeights(path.posix.basename(name))) ?? []
  return {
    commit: locked?.commit,
    pinned: weights.map(({ name, sha256 }) => [name, sha256.replace(/^sha256:/, '')] as const),
    expected: locked?.files.map((file) => file.name).filter((file) => !file.includes('/')) ?? [],
  }
}

/** Whether terge reads or copies a file of this name. */
function isRead(name: string): boolean {
  const last = path.posix.basename(name)
  return last === 'config.json' || isWeights(last) || isSidecar(last)
}

const HINT = 'restore the locked files, or check what changed and run terge lock again'

/** How a model differs from its lock, as far as known before its weights are read. */
export async function lockDifferences(
  lock: Lock,
  recipe: Recipe,
  name: string,
  { checkpoint, fetches }: OpenedModel,
): Promise<readonly Diagnostic[]> {
  const source = recipe.models.get(name)!
  const messages: string[] = []
  const locked = ownValue(lock.models, name)
  if (!locked) messages.push(`the model ${name} is not in the lock`)
  else {
    const written = (part: keyof ModelSource & keyof LockedModel, what: string): void => {
      if (source[part] !== locked[part])
        messages.push(
          `${name}: the ${what} is ${source[part] ?? 'absent'} in the recipe and ${locked[part] ?? 'absent'} in the lock`,
        )
    }
    written('reference', 'reference')
    // If the reference contains the revision, it is already compared.
    if (hubParts(source.reference)?.revision === undefined) written('revision', 'revision')
    written('subfolder', 'subfolder')
    messages.push(...configDifferences(name, locked.config, checkpoint.configFiles))
    const beside = await besideFiles(checkpoint)
    const sizes = new Map([
      ...checkpoint.files.map(({ name, size }) => [name, size] as const),
      ...[...beside].map(([name, { size }]) => [name, size] as const),
    ])
    for (const file of locked.files) {
      const size = sizes.get(file.name)
      const of = `${name}: ${file.name}`
      const place = beside.get(file.name)?.place
      const found = checkpoint.files.find(({ name }) => name === file.name)
      const coming = fetches.find(({ place }) => place === found?.path)
      // Older locks have other small files, which terge no longer copies, and no licences.
      if (size === undefined && !isRead(file.name)) continue
      if (size === undefined) messages.push(`${of} is in the lock but not in the model`)
      else if (size !== file.size) messages.push(`${of} has ${size} bytes, but ${file.size} in the lock`)
      else if (place !== undefined && (await sha256(place)) !== file.sha256)
        messages.push(`${of} differs from the lock`)
      else if (coming?.file.sha256 !== undefined && `sha256:${coming.file.sha256}` !== file.sha256)
        messages.push(
          `${of} has another digest ${source.origin === 's3' ? 'in the store' : 'on the hub'} than in the lock`,
        )
      else if (file.etag !== undefined && found?.etag !== undefined && found.etag !== file.etag)
        messages.push(`${of} has another ETag in the store than in the lock`)
      sizes.delete(file.name)
    }
    for (const file of [...sizes.keys()].filter((name) => !isLicence(path.posix.basename(name))))
      messages.push(`${name}: ${file} is in the model but not in the lock`)
  }
  const faults = messages.map(
    (message): Diagnostic => ({ severity: 'error', code: 'lock-differs', message, hint: HINT }),
  )
  return placed(recipe, source.at, new Fault(faults)).diagnostics
}

/** Models of patterns of paths that are in the lock, but not in the recipe any more: a checkpoint was removed. */
export function lockedAway(lock: Lock, recipe: Recipe): readonly Diagnostic[] {
  const there = new Set([...recipe.models.values()].map(({ reference }) => reference))
  return [...recipe.groups.values()].flatMap(({ pattern, at }) => {
    const gone = Object.entries(lock.models).filter(
      ([, { reference }]) => matchedBy(pattern, reference) !== undefined && !there.has(reference),
    )
    const faults = gone.map(([name]): Diagnostic => {
      const message = `the model ${name} is in the lock, but ${quote(pattern.text)} no longer matches it`
      return { severity: 'error', code: 'lock-differs', message, hint: HINT }
    })
    return placed(recipe, at, new Fault(faults)).diagnostics
  })
}

/** Files of `config` that differ. Older locks list none. */
function configDifferences(
  name: string,
  locked: LockedModel['config'],
  found: Checkpoint['configFiles'] = [],
): readonly string[] {
  if (locked === undefined) return []
  const sums = new Map(found.map(({ file, sha256 }) => [file, sha256]))
  const other = new Set(locked.map(({ file }) => file))
  return [
    ...locked.flatMap(({ file, sha256 }) => {
      const now = sums.get(file)
      if (now === sha256) return []
      return [
        `${name}: ${file} ${now === undefined ? 'is in the lock but is not its config' : 'differs from the lock'}`,
      ]
    }),
    ...found.flatMap(({ file }) => (other.has(file) ? [] : [`${name}: ${file} is its config but not in the lock`])),
  ]
}

/** Compares what a run read with the lock. Error: `lock-differs`, with exit code 1. */
export function checkLocked(lock: Lock, recipe: Recipe, models: Lineage['models']): void {
  const differing: Diagnostic[] = []
  for (const [name, { files }] of Object.entries(models)) {
    const locked = new Map(ownValue(lock.models, name)?.files.map((file) => [file.name, file.digest]))
    const messages = files
      .filter((file) => file.digest === null || locked.get(file.name) !== file.digest)
      .map((file): Diagnostic => {
        const message = `${name}: ${file.name} differs from the lock; nothing was written`
        return { severity: 'error', code: 'lock-differs', message, hint: HINT }
      })
    const at = recipe.models.get(name)?.at
    differing.push(...(at ? placed(recipe, at, new Fault(messages)).diagnostics : messages))
  }
  if (differing.length > 0) throw new Fault(differing, 1)
}

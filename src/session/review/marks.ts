/** Marks of the files that a plan reads: equal ones mean equal bytes. */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { readSidecar } from '../../checkpoints/sidecars.js'
import { sha256 } from '../../core/digest.js'
import { makingOf } from '../../lineage/making.js'
import type { Plan } from '../../plan/types.js'
import type { PlanMarks } from '../../review/sides/plan.js'
import type { SmallFile } from '../../review/sides/types.js'
import type { Prepared } from '../plan.js'

/** Longer small files are compared as a whole. */
const LONGEST_TEXT = 2 ** 20

/**
 * `isRead`: files whose content is read, because the two sides have different files for one path. All others are the same if they are the
 * same file in the same state, or the same file of the same commit.
 */
export async function marksOf(prepared: Prepared, isRead: (file: string) => boolean): Promise<PlanMarks> {
  const { plan, bindings, recipe } = prepared
  const files = plan.files.map((_, index) => fileMark(prepared, index))
  const known = new Map<string, string>()
  const content = (file: number, offset: number, bytes: number): string => {
    const key = `${file} ${offset} ${bytes}`
    const found = known.get(key) ?? `content:${rangeDigest(bindings.files[file]!, offset, bytes)}`
    known.set(key, found)
    return found
  }
  const small = await smallMarks(prepared)
  return {
    stored: (file, offset, bytes) =>
      isRead(bindings.files[file]!) ? content(file, offset, bytes) : `${files[file]} ${offset} ${bytes}`,
    small: (model, name) => small.get(`${model} ${name}`) ?? { mark: undefined },
    bases: makingOf(plan, recipe, []).bases,
  }
}

/** A file in a cache that is named by the SHA-256 of its content. */
const BLOB = /[\\/]blobs[\\/]([0-9a-f]{64})$/

function fileMark({ plan, bindings, models }: Prepared, index: number): string {
  const place = bindings.files[index]!
  const { name } = plan.models[plan.files[index]!.model]!
  const model = models.get(name)
  const published = model?.fetches.find((fetch) => fetch.place === place)?.file.sha256
  if (published !== undefined) return `sha256:${published}`
  const real = realOf(place)
  const blob = BLOB.exec(real)?.[1]
  if (blob !== undefined) return `sha256:${blob}`
  // The cache has a folder for each commit, and for each state of a store.
  if (model?.checkpoint.revision !== undefined) return `cached ${place} ${plan.files[index]!.etag ?? ''}`
  return `file ${real} ${bindings.inputs[index]?.state ?? ''}`
}

function realOf(file: string): string {
  try {
    return realpathSync(file)
  } catch {
    return file
  }
}

/** Bytes that are read at once. */
const BUFFER = 2 ** 20

/** SHA-256 of a part of a file. */
function rangeDigest(file: string, offset: number, bytes: number): string {
  const hash = createHash('sha256')
  const buffer = Buffer.alloc(Math.min(BUFFER, bytes))
  const descriptor = openSync(file, 'r')
  try {
    for (let done = 0; done < bytes; ) {
      const read = readSync(descriptor, buffer, 0, Math.min(buffer.length, bytes - done), offset + done)
      if (read === 0) return `ends early ${file}`
      hash.update(buffer.subarray(0, read))
      done += read
    }
  } finally {
    closeSync(descriptor)
  }
  return hash.digest('hex')
}

/** The content of small files that are copied, by model and name. A file that cannot be read has no mark. */
async function smallMarks({
  plan,
  bindings,
}: Prepared): Promise<ReadonlyMap<string, Pick<SmallFile, 'mark' | 'text'>>> {
  const found = new Map<string, Pick<SmallFile, 'mark' | 'text'>>()
  for (const { sidecars } of plan.outputs)
    for (const sidecar of sidecars) {
      if (sidecar.kind !== 'copy') continue
      const { model, name } = sidecar
      const folder = bindings.models[model]!
      const bytes = await readSidecar(folder, name, path.join(folder, name)).catch(() => undefined)
      if (!bytes) continue
      const text = bytes.length <= LONGEST_TEXT ? { text: bytes.toString('utf8') } : {}
      found.set(`${model} ${name}`, { mark: sha256(bytes), ...text })
    }
  return found
}

/** Marks of a plan that only names its files. They are certain if each has a commit or a store's mark. */
export function namedMarks(plan: Plan): { readonly marks: PlanMarks; readonly certain: boolean } {
  const files = plan.files.map(({ model, name, size, headerDigest, etag }) => {
    const { reference, revision, config } = plan.models[model]!
    return JSON.stringify([reference, revision, config?.map(({ sha256 }) => sha256), name, size, headerDigest, etag])
  })
  return {
    marks: {
      stored: (file, offset, bytes) => `${files[file]} ${offset} ${bytes}`,
      small: (model, name) => {
        const { reference, revision } = plan.models[model] ?? {}
        return { mark: JSON.stringify([reference, revision, name]) }
      },
    },
    certain: plan.models.every(({ revision }) => revision !== undefined),
  }
}

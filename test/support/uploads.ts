/** What tests of uploads upload. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import type { UploadPlan } from '../../src/storage/remote/upload.js'

/** A file on this machine that is uploaded. */
export interface LocalFile {
  readonly name: string
  readonly path: string
  readonly size: number
}

/** Two shards of 1500 and 4321 random bytes in a folder, and the plan that uploads them with these small files. */
export function shardsToUpload(
  folder: string,
  small: readonly { readonly name: string }[],
): { readonly files: LocalFile[]; readonly plan: UploadPlan } {
  const files = [1500, 4321].map((size, index) => {
    const name = `model-0000${index + 1}-of-00002.safetensors`
    writeFileSync(path.join(folder, name), randomBytes(size))
    return { name, size, path: path.join(folder, name) }
  })
  const plan: UploadPlan = {
    files: files.map(({ name }) => name),
    small: small.map(({ name }) => name),
    lineage: 'lineage.json',
    force: false,
    belongs: (name) => /\.safetensors$|^config\.json$/.test(name),
  }
  return { files, plan }
}

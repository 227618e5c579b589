/** Signs a model: lists its files with their digests, and signs the list. */
import path from 'node:path'
import { fault } from '../core/diagnostics.js'
import { signedBundle } from './bundle.js'
import { filesOf, GIT_PATHS, type HashOptions, hashFiles, type SignedModel } from './files.js'
import type { SigningKey } from './keys.js'
import { statementOf } from './manifest.js'
import type { Resource, Serialization } from './types.js'

export interface SignOptions extends HashOptions {
  /** Names in the model that the signature does not cover, itself included. */
  readonly ignored: readonly string[]
}

export interface SignedText {
  /** The bundle. */
  readonly text: string
  /** The files that it covers, with their SHA-256. */
  readonly resources: readonly Resource[]
}

/** Makes the signature of a model. Errors: `cannot-read`, `signed-files` for links and for a model without files. */
export async function signModel(model: SignedModel, key: SigningKey, options: SignOptions): Promise<SignedText> {
  const ignored = [...new Set([...options.ignored, ...GIT_PATHS])].sort()
  const serialization: Serialization = { method: 'files', hash: 'sha256', allowSymlinks: false, ignored }
  const files = await filesOf(model, ignored)
  if (files.length === 0)
    throw fault('signed-files', `${model.place} has no files to sign`, 'give the folder of a model, or a file')
  const hashed = await hashFiles(model, files, serialization, options)
  const resources = hashed.flatMap((one) => {
    if ('resources' in one) return one.resources
    throw fault('signed-files', `${one.file.path} ${one.problem}`, 'put the file itself into the folder, then sign')
  })
  const name = path.basename(path.resolve(model.place))
  return {
    text: signedBundle(statementOf(name, { serialization, resources }), key),
    resources,
  }
}

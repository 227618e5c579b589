/** The signed statement: which files a model has, with their digests. */
import { createHash } from 'node:crypto'
import { quote } from '../core/suggest.js'
import { refused } from './bundle.js'
import { FIRST_PREDICATE, isFirst } from './first.js'
import type { HashName, Manifest, Resource, Serialization } from './types.js'

const STATEMENT = 'https://in-toto.io/Statement/v1'
const PREDICATE = 'https://model_signing/signature/v1.0'

/** Hexadecimal digits of a digest. */
const DIGITS: Readonly<Record<HashName, number>> = { sha256: 64, blake2b: 128 }

/** The name of a resource's algorithm. */
export const algorithmOf = ({ method, hash, shardSize }: Serialization): string =>
  method === 'files' ? hash : `${hash}-sharded-${shardSize}`

/** SHA-256 over all digests, one after the other, in the order of the statement. */
function rootOf(resources: readonly Resource[]): string {
  const hash = createHash('sha256')
  for (const { digest } of resources) hash.update(Buffer.from(digest, 'hex'))
  return hash.digest('hex')
}

/** The statement of a manifest, as text. `name`: the name of the model, for people. */
export const statementOf = (name: string, { serialization, resources }: Manifest): string =>
  JSON.stringify({
    _type: STATEMENT,
    subject: [{ name, digest: { sha256: rootOf(resources) } }],
    predicateType: PREDICATE,
    predicate: {
      serialization: {
        method: serialization.method,
        hash_type: serialization.hash,
        allow_symlinks: serialization.allowSymlinks,
        ignore_paths: serialization.ignored,
      },
      resources: resources.map(({ name, digest, algorithm }) => ({ name, digest, algorithm })),
    },
  })

type Fields = Readonly<Record<string, unknown>>
export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string')

/** The statement in a payload, with its predicate of this type. Error: `bad-signature`. */
export function predicateIn(
  payload: Buffer,
  type: string,
  shown: string,
): { readonly predicate: Fields; readonly subjects: readonly Fields[] } {
  const statement = parsed(payload)
  if (!statement) throw refused(shown, 'the signed statement is not a JSON object')
  if (statement._type !== STATEMENT)
    throw refused(shown, `the signed statement is of the type ${JSON.stringify(statement._type)}`)
  if (statement.predicateType !== type)
    throw refused(shown, `it signs a predicate ${JSON.stringify(statement.predicateType)}, not ${type}`)
  const { subject, predicate } = statement
  if (!isFields(predicate) || !Array.isArray(subject) || !subject.every(isFields))
    throw refused(shown, 'the signed statement has no subject or no predicate')
  return { predicate, subjects: subject }
}

function parsed(payload: Buffer): Fields | undefined {
  try {
    const value: unknown = JSON.parse(payload.toString('utf8'))
    return isFields(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Reads the signed list of files. Error: `bad-signature`. */
export function parseManifest(payload: Buffer, shown: string): Manifest {
  if (isFirst(payload)) return firstManifest(payload, shown)
  const { predicate, subjects } = predicateIn(payload, PREDICATE, shown)
  if (subjects.length !== 1)
    throw refused(shown, `the signed statement has ${subjects.length} subjects, and must have one`)
  const serialization = serializationOf(predicate.serialization, shown)
  const { resources: listed } = predicate
  if (!Array.isArray(listed) || listed.length === 0)
    throw refused(
      shown,
      'the signed manifest has no list of files',
      'a signature of no file says nothing: sign the model',
    )
  const resources = listed.map((value) => resourceOf(value, serialization, shown))
  refuseTwice(resources, shown)
  const { digest } = subjects[0]!
  const root = isFields(digest) ? digest.sha256 : undefined
  if (root !== rootOf(resources))
    throw refused(shown, 'the digest of the subject is not that of the listed files: the manifest is inconsistent')
  return { serialization, resources }
}

function refuseTwice(resources: readonly Resource[], shown: string): void {
  const names = new Set<string>()
  for (const { name } of resources) {
    if (names.has(name)) throw refused(shown, `the signed manifest lists the file ${quote(name)} twice`)
    names.add(name)
  }
}

/** Version 0.2 lists the files as subjects, always as whole files with SHA-256. */
function firstManifest(payload: Buffer, shown: string): Manifest {
  const serialization: Serialization = { method: 'files', hash: 'sha256', allowSymlinks: false, ignored: [] }
  const { subjects } = predicateIn(payload, FIRST_PREDICATE, shown)
  const resources = subjects.map(({ name, digest }) => {
    const sha256 = isFields(digest) ? digest.sha256 : undefined
    return resourceOf({ name, algorithm: 'sha256', digest: sha256 }, serialization, shown)
  })
  if (resources.length === 0) throw refused(shown, 'the signed statement lists no file')
  refuseTwice(resources, shown)
  return { serialization, resources }
}

function serializationOf(value: unknown, shown: string): Serialization {
  if (!isFields(value)) throw refused(shown, 'the signed manifest does not say how digests were made')
  const { method, hash_type: hash, shard_size: size, allow_symlinks: links = false, ignore_paths: ignored = [] } = value
  if (hash !== 'sha256' && hash !== 'blake2b')
    throw refused(
      shown,
      `the digest algorithm ${JSON.stringify(hash)} of the manifest is not supported`,
      hash === 'blake3'
        ? 'terge checks SHA-256 and BLAKE2b: check this signature with model_signing'
        : 'ask the signer for a signature with SHA-256',
    )
  if (method !== 'files' && method !== 'shards')
    throw refused(shown, `the manifest has an unknown method ${JSON.stringify(method)}`)
  if (method === 'shards' && !(Number.isSafeInteger(size) && (size as number) > 0))
    throw refused(shown, 'the manifest has pieces of files without a size')
  if (typeof links !== 'boolean' || !isTexts(ignored)) throw refused(shown, 'the signed manifest has wrong types')
  return {
    ...{ method, hash, allowSymlinks: links, ignored },
    ...(method === 'shards' ? { shardSize: size as number } : {}),
  }
}

function resourceOf(value: unknown, serialization: Serialization, shown: string): Resource {
  if (!isFields(value)) throw refused(shown, 'the signed manifest has an entry that is not a file')
  const { name, algorithm, digest } = value
  if (typeof name !== 'string' || typeof algorithm !== 'string' || typeof digest !== 'string')
    throw refused(shown, 'the signed manifest has an entry without name, algorithm or digest')
  const wanted = algorithmOf(serialization)
  if (algorithm !== wanted)
    throw refused(
      shown,
      `${quote(name)} has a digest by ${JSON.stringify(algorithm)}, but the manifest's algorithm is ${wanted}`,
    )
  if (digest.length !== DIGITS[serialization.hash] || !/^[0-9a-f]*$/.test(digest))
    throw refused(shown, `the digest of ${quote(name)} is not one of ${serialization.hash}`)
  return { name, algorithm, digest }
}

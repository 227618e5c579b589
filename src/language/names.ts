import { didYouMean, nearest, quote } from '../core/suggest.js'
import { counted } from '../core/words.js'
import { type Cursor, textOf } from './cursor.js'
import type { Report } from './report.js'
import type { ModelSource } from './types.js'

export const HUB = /^([\w.-]+\/[\w.-]+)(?:@(\S+))?$/

/** The names that are valid at a place of a recipe. */
export interface Scope {
  readonly models: ReadonlyMap<string, ModelSource>
  readonly steps: readonly string[]
  /** By model name, the step that replaces the model: in the short form after a rebasin. */
  readonly replaced: ReadonlyMap<string, string>
  readonly report: Report
  /** The models of patterns of paths, by the name of the pattern. */
  readonly groups: ReadonlyMap<string, { readonly models: readonly string[] }>
  /** Models that are known to be adapters. */
  readonly adapters?: ReadonlySet<string>
  /** Steps whose results have other tensors than the models that they use. */
  readonly renewed?: ReadonlySet<string>
}

export interface Participant {
  /** The name in the recipe. */
  readonly written: string
  /** The model or step that the name refers to. Empty if there is none. */
  readonly name: string
}

/** Reports a misspelt name, and resolves it to the name that was probably meant. Error: `unknown-model`. */
export function resolveName(at: Cursor | undefined, scope: Scope): Participant | undefined {
  const written = textOf(at)
  if (at === undefined || written === undefined) return undefined
  const known = [...scope.models.keys(), ...scope.steps]
  if (known.includes(written)) return { written, name: scope.replaced.get(written) ?? written }
  const group = scope.groups.get(written)
  if (group) {
    const message = `${quote(written)} is ${counted(group.models.length, 'model')}, and this key takes one`
    const [first = ''] = group.models
    scope.report.error('several-models', message, at.path, { hint: `write the name of one, such as ${quote(first)}` })
    return { written, name: '' }
  }
  // Without models there is an error already, and every name would be unknown.
  if (scope.models.size === 0) return { written, name: '' }
  const what = scope.steps.length > 0 ? 'model or step' : 'model'
  const hint = didYouMean(written, known, 'models')
  scope.report.error('unknown-model', `there is no ${what} ${quote(written)}`, at.path, { hint })
  const [meant] = nearest(written, known, 1)
  return meant === undefined ? { written, name: '' } : { written: meant, name: scope.replaced.get(meant) ?? meant }
}

/** A bucket, and the key of an object or a folder. */
export const S3 = /^([A-Za-z0-9][\w.-]{1,254})(?:\/(.*?))?\/*$/

/** The parts of `s3://bucket/prefix`, without slashes at the end. Undefined for any other string. */
export function s3Parts(reference: string): { bucket: string; key: string } | undefined {
  const [, bucket, key = ''] = (reference.startsWith('s3://') && S3.exec(reference.slice(5))) || []
  // URLs have no such parts of a path.
  const bad = key !== '' && key.split('/').some((part) => /^\.{0,2}$|[\u0000-\u001f\u007f]/.test(part))
  return bucket === undefined || bad ? undefined : { bucket, key }
}

/** What is wrong with an address that has no parts. */
export function s3Problem(reference: string): { readonly problem: string; readonly hint: string } {
  const bucket = reference.slice('s3://'.length).split('/')[0]!
  const isBucket = S3.test(bucket)
  return {
    problem: isBucket
      ? 'is not an address in an S3 store: a part of the path is empty, . or ..'
      : 'is not an address in an S3 store: the name of a bucket has 2 to 255 letters, digits, dots, dashes and underscores',
    hint: 'write s3://bucket/prefix',
  }
}

/** Where a model is, by its reference. */
export const originOf = (reference: string): ModelSource['origin'] =>
  reference.startsWith('hf:') ? 'hub' : reference.startsWith('s3://') ? 's3' : 'path'

/** The parts of `hf:org/name@revision`. Undefined for any other string. */
export function hubParts(reference: string): { repository: string; revision?: string } | undefined {
  const [, repository, revision] = (reference.startsWith('hf:') && HUB.exec(reference.slice(3))) || []
  return repository === undefined ? undefined : { repository, ...(revision === undefined ? {} : { revision }) }
}

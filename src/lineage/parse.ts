/** Reads a lineage that may be damaged or hostile. The words of `schemas/lineage.v1.schema.json`; a test holds them to it. */

import { fault } from '../core/diagnostics.js'
import type { Dtype } from '../core/dtypes.js'
import { isObject } from '../core/json/text.js'
import { isDtype } from '../encodings/index.js'
import type { AbsentReason, CopyReason } from '../expr/types.js'
import { lineageValue, Members, sharing } from './pieces.js'
import { recordOf, sortedKeys } from './serialize.js'
import type {
  Digest,
  Json,
  Lineage,
  LineageFile,
  LineageMerge,
  LineageModel,
  LineagePart,
  LineageSource,
  LineageTensor,
} from './types.js'

/** In bytes: a million tensors with four sources each stay below it. */
export const MAX_LINEAGE = 1_500_000_000
/** Fused steps within steps, and JSON within parameters. */
const MAX_DEPTH = 64

/** A part of a document that is not of its form. */
export class Bad extends Error {
  constructor(
    readonly at: string,
    readonly wanted: string,
  ) {
    super()
  }
  /** `document` is said of its root. */
  told(document: string): string {
    return `${this.at === '' ? document : this.at.replace(/^\./, '')} must be ${this.wanted}`
  }
}

export type Read<T> = (value: unknown, at: string, depth: number) => T
type Fields<T> = { readonly [K in keyof Required<T>]: Read<T[K]> }

export const bad = (at: string, wanted: string): never => {
  throw new Bad(at, wanted)
}

const step = (at: string, key: string): string =>
  /^[A-Za-z_]\w{0,63}$/.test(key)
    ? `${at}.${key}`
    : `${at}[${JSON.stringify(key.length > 80 ? `${key.slice(0, 80)}…` : key)}]`

export const text: Read<string> = (value, at) => (typeof value === 'string' ? value : bad(at, 'a string'))
export const natural: Read<number> = (value, at) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : bad(at, 'a whole number from 0')
const number: Read<number> = (value, at) =>
  typeof value === 'number' && Number.isFinite(value) ? value : bad(at, 'a number')
const integer: Read<number> = (value, at) =>
  Number.isSafeInteger(value) ? (value as number) : bad(at, 'a whole number')
export const digest: Read<Digest> = (value, at) =>
  typeof value === 'string' && /^[a-z0-9]{1,32}:[0-9a-f]{8,128}$/.test(value)
    ? value
    : bad(at, 'a digest, algorithm:hex')
const dtype: Read<Dtype> = (value, at) =>
  typeof value === 'string' && isDtype(value) ? value : bad(at, 'a dtype of safetensors')

/** A file's name leads down. `\\` and `:` are letters on some platforms: whoever opens the file sees to the others. */
export const fileName: Read<string> = (value, at) =>
  typeof value === 'string' &&
  !value.includes('\0') &&
  value.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
    ? value
    : bad(at, 'the name of a file inside its folder')

const nullable =
  <T>(read: Read<T>): Read<T | null> =>
  (value, at, depth) =>
    value === null ? null : read(value, at, depth)

export const list =
  <T>(read: Read<T>): Read<readonly T[]> =>
  (value, at, depth) =>
    Array.isArray(value) ? value.map((item, index) => read(item, `${at}[${index}]`, depth)) : bad(at, 'a list')

export const record =
  <T>(read: Read<T>): Read<Readonly<Record<string, T>>> =>
  (value, at, depth) =>
    isObject(value)
      ? recordOf(Object.keys(value).map((key) => [key, read(value[key], step(at, key), depth)]))
      : bad(at, 'an object')

/** The words are keys of a record, so that the compiler sees where one is missing. */
const oneOf =
  <T extends string>(words: Readonly<Record<T, true>>): Read<T> =>
  (value, at) =>
    typeof value === 'string' && Object.hasOwn(words, value)
      ? (value as T)
      : bad(
          at,
          `one of ${Object.keys(words)
            .map((word) => `"${word}"`)
            .join(', ')}`,
        )

const json: Read<Json> = (value, at, depth) => {
  if (depth > MAX_DEPTH) bad(at, `nested less than ${MAX_DEPTH} deep`)
  if (Array.isArray(value)) return list(json)(value, at, depth + 1)
  if (isObject(value)) return record(json)(value, at, depth + 1)
  return typeof value === 'number' ? number(value, at, depth) : (value as Json)
}

/** An object of exactly these keys; those that `optional` names may be absent. */
export const object =
  <T extends object>(fields: Fields<T>, ...optional: readonly (keyof T & string)[]): Read<T> =>
  (value, at, depth) => {
    if (!isObject(value)) return bad(at, 'an object')
    const keys = Object.keys(fields) as (keyof T & string)[]
    for (const key of Object.keys(value))
      if (!Object.hasOwn(fields, key)) bad(step(at, key), 'absent: the key is unknown')
    const result: Partial<T> = {}
    for (const key of keys) {
      if (Object.hasOwn(value, key)) result[key] = fields[key](value[key], step(at, key), depth)
      else if (!optional.includes(key)) bad(step(at, key), 'there')
    }
    return result as T
  }

const file = object<LineageFile>({ name: fileName, size: natural, digest: nullable(digest), sha256: digest }, 'sha256')
const model = object<LineageModel>({ index: natural, reference: text, revision: text, files: list(file) }, 'revision')

const merge: Read<LineageMerge> = (value, at, depth) =>
  depth > MAX_DEPTH
    ? bad(at, `nested less than ${MAX_DEPTH} deep`)
    : object(mergeFields, 'base', 'cropped')(value, at, depth + 1)
const source: Read<LineageSource> = (value, at, depth) =>
  depth > MAX_DEPTH
    ? bad(at, `nested less than ${MAX_DEPTH} deep`)
    : object<LineageSource>(
        { model: text, tensor: text, weight: nullable(number), of: merge, statistics: source },
        'of',
        'statistics',
      )(value, at, depth + 1)
const mergeFields: Fields<LineageMerge> = {
  method: text,
  parameters: record(json),
  sources: list(source),
  base: source,
  cropped: object({ rows: natural, models: list(text) }),
}

const part = object<LineagePart>({ model: text, tensor: text, ...mergeFields }, 'base', 'cropped')

const tensor = object<LineageTensor>(
  {
    ...mergeFields,
    parts: list(part),
    dtype,
    shape: list(natural),
    digest: nullable(digest),
    reason: oneOf<CopyReason>({
      'not included by filters': true,
      'excluded by filters': true,
      'not a floating-point dtype': true,
      'packed weights, kept as they are': true,
      'too few models have it': true,
      'the output is this model': true,
      'taken from its layer': true,
      'aligned by a rebasin': true,
      'not touched by the alignment': true,
      repaired: true,
      'saved whole beside the adapter': true,
    }),
    absent: list(object({ model: text, reason: oneOf<AbsentReason>({ missing: true, shape: true, dtype: true }) })),
    non_finite: natural,
    notes: list(text),
  },
  'base',
  'cropped',
  'parts',
  'reason',
  'absent',
  'non_finite',
  'notes',
)

function membersOf(members: Members, at: string, depth: number): Lineage['tensors'] {
  const shared = sharing()
  return recordOf(members.each((value, name) => shared(name, tensor(value, step(at, name), depth))))
}

const lineage = object<Lineage>(
  {
    terge: text,
    lineage: (value, at) => (value === 1 ? 1 : bad(at, '1')),
    recipe: object({ text, digest, set: list(text) }),
    plan: object({ digest }),
    seed: integer,
    models: record(model),
    steps: record((value, at, depth) => {
      const described = record(json)(value, at, depth)
      text(described.kind, step(at, 'kind'), depth)
      return described
    }),
    tensors: (value, at, depth) =>
      value instanceof Members ? membersOf(value, at, depth) : record(tensor)(value, at, depth),
    output: object<Lineage['output']>(
      {
        from: text,
        point: object({ name: fileName, t: number }),
        dropped: (value, at) => (value === true ? true : bad(at, 'true')),
        files: list(file),
        tensors: natural,
        digest: nullable(digest),
      },
      'point',
      'dropped',
    ),
    evaluations: record(number),
  },
  'evaluations',
)

/**
 * A lineage from its text, or from its bytes, which are read in pieces; `file` names it in messages. Faults: `bad-lineage` for anything that is no lineage,
 * `lineage-version` for one of a later version of the format. Names of tensors may be any, `__proto__` included.
 */
export function parseLineage(source: string | Uint8Array, file: string): Lineage {
  const hint = 'a lineage is the lineage.json or NAME.lineage.json that `terge run` writes beside its output'
  if (source.length > MAX_LINEAGE) throw fault('bad-lineage', `${file}: larger than ${MAX_LINEAGE} bytes`, hint)
  let value: unknown
  const notJson = () => fault('bad-lineage', `${file}: not JSON`, hint)
  try {
    value = typeof source === 'string' ? JSON.parse(source) : lineageValue(source)
  } catch {
    throw notJson()
  }
  if (isObject(value) && typeof value.lineage === 'number' && value.lineage > 1)
    throw fault(
      'lineage-version',
      `${file}: a lineage of version ${value.lineage}, and this terge reads version 1`,
      'read it with a newer terge',
    )
  try {
    return consistent(lineage(value, '', 0))
  } catch (error) {
    if (error instanceof Bad) throw fault('bad-lineage', `${file}: ${error.told('the lineage')}`, hint)
    throw error instanceof SyntaxError ? notJson() : error
  }
}

/** What the form alone does not say. */
function consistent(lineage: Lineage): Lineage {
  const count = sortedKeys(lineage.tensors).length
  if (count !== lineage.output.tensors) bad('output.tensors', `the number of tensors, ${count}`)
  const models = Object.values(lineage.models)
  if (new Set(models.map(({ index }) => index)).size !== models.length) bad('models', 'of one index each')
  return lineage
}

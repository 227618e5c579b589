/** Reads a lineage that may be damaged or hostile. The words of `schemas/lineage.v1.schema.json`; a test holds them to it. */

import { recordOf } from '../core/collections/ownValue.js'
import { fault } from '../core/diagnostics.js'
import type { Dtype } from '../core/dtypes.js'
import {
  Bad,
  bad,
  digest,
  type Fields,
  json,
  list,
  MAX_DEPTH,
  natural,
  nullable,
  number,
  object,
  oneOf,
  type Read,
  record,
  text,
  within,
} from '../core/json/shape.js'
import { isObject } from '../core/json/text.js'
import { ABSENT_REASONS, COPY_REASONS, type CopyReason, REASONS_OF_VERSION_1 } from '../core/reasons.js'
import { isDtype } from '../encodings/index.js'
import type { PatternCount } from '../expr/types.js'
import type { Quantizer } from '../methods/quantize.js'
import type { TokenizerRecord } from '../plan/types.js'
import { KINDS } from '../steps/index.js'
import { lineageValue, Members, sharing } from './pieces.js'
import { sortedKeys } from './serialize.js'
import type {
  GivenConfig,
  License,
  Lineage,
  LineageFile,
  LineageMerge,
  LineageModel,
  LineagePart,
  LineageSource,
  LineageStep,
  LineageTensor,
  SumSource,
} from './types.js'

/** Parses a lineage that can be damaged or hostile, by the rules of `schemas/lineage.v2.schema.json`. A test compares the two. */

/** In bytes. A million tensors with four sources each need less. */
export const MAX_LINEAGE = 1_500_000_000
const integer: Read<number> = (value, at) => (Number.isSafeInteger(value) ? (value as number) : bad(at, 'an integer'))
const dtype: Read<Dtype> = (value, at) =>
  typeof value === 'string' && isDtype(value) ? value : bad(at, 'a safetensors dtype')

/** A file name inside a folder. On some platforms `\\` and `:` are ordinary characters: code that opens the file checks them. */
export const fileName: Read<string> = (value, at) =>
  typeof value === 'string' &&
  !value.includes('\0') &&
  value.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
    ? value
    : bad(at, 'the name of a file inside its folder')

const file = object<LineageFile>(
  {
    name: fileName,
    size: natural,
    digest: nullable(digest),
    sha256: digest,
    sha256_from: oneOf<SumSource>({ computed: true, published: true }),
    etag: text,
  },
  'sha256',
  'sha256_from',
  'etag',
)
export const givenConfig = object<GivenConfig>({ file: text, sha256: digest })
const license = object<License>(
  { id: text, name: text, link: text, file: object({ name: fileName, sha256: digest }) },
  'id',
  'name',
  'link',
  'file',
)
const model = object<LineageModel>(
  {
    license,
    lineage: digest,
    index: natural,
    reference: text,
    revision: text,
    quantized: list(text),
    config: list(givenConfig),
    layouts: list(text),
    readAs: list(text),
    files: list(file),
    beside: list(file),
  },
  'license',
  'lineage',
  'revision',
  'quantized',
  'config',
  'layouts',
  'readAs',
  'beside',
)

const merge: Read<LineageMerge> = (value, at, depth) =>
  depth > MAX_DEPTH
    ? bad(at, `nested less than ${MAX_DEPTH} deep`)
    : object(mergeFields, 'base', 'cropped')(value, at, depth + 1)
const source: Read<LineageSource> = (value, at, depth) =>
  depth > MAX_DEPTH
    ? bad(at, `nested less than ${MAX_DEPTH} deep`)
    : object<LineageSource>(
        { model: text, tensor: text, weight: nullable(number), format: text, of: merge, statistics: source },
        'format',
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

/** Version 1 has texts instead of codes. */
const OLD_REASONS: ReadonlyMap<unknown, CopyReason> = new Map(
  Object.entries(REASONS_OF_VERSION_1).map(([code, words]) => [words, code as CopyReason]),
)
const reason: Read<CopyReason> = (value, at, depth) => OLD_REASONS.get(value) ?? oneOf(COPY_REASONS)(value, at, depth)

const tensor = object<LineageTensor>(
  {
    ...mergeFields,
    parts: list(part),
    dtype,
    shape: list(natural),
    digest: nullable(digest),
    quantized: oneOf<Quantizer>({ 'fp8-block': true, 'fp8-channel': true }),
    reason,
    absent: list(object({ model: text, reason: oneOf(ABSENT_REASONS) })),
    non_finite: natural,
    notes: list(text),
  },
  'base',
  'cropped',
  'parts',
  'quantized',
  'reason',
  'absent',
  'non_finite',
  'notes',
)

const pattern = object<PatternCount>(
  {
    pattern: text,
    where: oneOf<PatternCount['where']>({ include: true, exclude: true, rule: true }),
    rule: natural,
    matches: natural,
    applies: natural,
  },
  'rule',
)
const uses = object({ models: list(text) })
const tokenizer = object<TokenizerRecord>({
  source: text,
  first: text,
  tokens: natural,
  rows: natural,
  added: natural,
  models: record(object({ found: natural, rows: text })),
})

const step: Read<LineageStep> = (value, at, depth) => {
  if (!isObject(value)) return bad(at, 'an object')
  const { kind, patterns, ...rest } = value
  const known = typeof kind === 'string' ? KINDS.find((one) => one.kind === kind) : undefined
  if (kind === 'tokenizer' && patterns === undefined) return { kind, ...tokenizer(rest, at, depth) }
  if (!known) return bad(within(at, 'kind'), 'a kind of step')
  const own = (known.readRecord ?? uses)(rest, at, depth)
  return { kind: known.kind, patterns: list(pattern)(patterns, within(at, 'patterns'), depth), ...own } as LineageStep
}

function membersOf(members: Members, at: string, depth: number): Lineage['tensors'] {
  const shared = sharing()
  return recordOf(members.each((value, name) => shared(name, tensor(value, within(at, name), depth))))
}

const lineage = object<Lineage>(
  {
    terge: text,
    lineage: (value, at) => (value === 1 || value === 2 ? value : bad(at, '1 or 2')),
    recipe: object({ text, digest, set: list(text) }),
    plan: object({ digest }),
    seed: integer,
    models: record(model),
    steps: record(step),
    tensors: (value, at, depth) =>
      value instanceof Members ? membersOf(value, at, depth) : record(tensor)(value, at, depth),
    output: object<Lineage['output']>(
      {
        from: text,
        point: object({ name: fileName, t: number }),
        dropped: (value, at) => (value === true ? true : bad(at, 'true')),
        models: list(text),
        files: list(file),
        tensors: natural,
        digest: nullable(digest),
        permutations: object({ name: fileName, size: natural, sha256: digest }),
      },
      'permutations',
      'point',
      'dropped',
      'models',
    ),
    evaluations: record(number),
  },
  'evaluations',
)

/**
 * Parses a lineage from its text, or in pieces from its bytes. `file` names it in messages. Errors: `bad-lineage`, and
 * `lineage-version` for a newer version of the format. Tensor names can be anything, including `__proto__`.
 */
export function parseLineage(source: string | Uint8Array, file: string): Lineage {
  const hint = 'give the lineage.json or NAME.lineage.json that `terge run` writes next to its output'
  if (source.length > MAX_LINEAGE) throw fault('bad-lineage', `${file}: larger than ${MAX_LINEAGE} bytes`, hint)
  let value: unknown
  const notJson = () => fault('bad-lineage', `${file}: not JSON`, hint)
  try {
    value = typeof source === 'string' ? JSON.parse(source) : lineageValue(source)
  } catch {
    throw notJson()
  }
  if (isObject(value) && typeof value.lineage === 'number' && value.lineage > 2)
    throw fault(
      'lineage-version',
      `${file}: lineage version ${value.lineage} is unsupported; this terge reads versions 1 and 2`,
      'read it with a newer terge',
    )
  try {
    return consistent(lineage(value, '', 0))
  } catch (error) {
    if (error instanceof Bad) throw fault('bad-lineage', `${file}: ${error.describe('the lineage')}`, hint)
    throw error instanceof SyntaxError ? notJson() : error
  }
}

/** Checks what the types alone do not cover. */
function consistent(lineage: Lineage): Lineage {
  const count = sortedKeys(lineage.tensors).length
  if (count !== lineage.output.tensors) bad('output.tensors', `the number of tensors, ${count}`)
  const models = Object.values(lineage.models)
  if (new Set(models.map(({ index }) => index)).size !== models.length) bad('models', 'of one index each')
  const { models: used = [] } = lineage.output
  if (!used.every((name) => Object.hasOwn(lineage.models, name))) bad('output.models', 'a list of names in models')
  return lineage
}

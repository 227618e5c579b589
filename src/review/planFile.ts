/** Reads a plan as `terge plan --json` prints it. The text is not trusted. */
import { type Fault, fault } from '../core/diagnostics.js'
import { Bad, type Json, list, natural, number, object, oneOf, type Read, text } from '../core/json/shape.js'
import { isObject, JsonTextError, parseJson } from '../core/json/text.js'
import type { Plan } from '../plan/types.js'

/** Whether a JSON text is a plan, and not a recipe in JSON. */
export const isPlan = (text: string): boolean =>
  /^\ufeff?\s*\{/.test(text) && /"plan"\s*:\s*\d/.test(text) && !/^\ufeff?\s*\{\s*"terge"/.test(text)

const LIMITS = { depth: 20_000, values: 100_000_000 }

/** The plan in a text. Error: `bad-plan`. */
export function readPlan(source: string, file: string): Plan {
  let value: unknown
  try {
    value = parseJson(source, LIMITS)
  } catch (error) {
    if (!(error instanceof JsonTextError)) throw error
    throw badPlan(file, error.message)
  }
  return checked(file, () => {
    const plan = revived(value) as Plan
    checkPlan(plan)
    return plan
  })
}

/** A plan that was printed and read again: for comparisons with one that comes from a file. */
export const asFile = (json: string): Plan => revived(JSON.parse(json)) as Plan

const badPlan = (file: string, why: string): Fault =>
  fault('bad-plan', `${file} is not a plan: ${why}`, 'write a recipe, or a plan as terge plan --json prints it')

/** Work on a plan from a file. Whatever goes wrong shows that it is not a plan. Error: `bad-plan`. */
export function checked<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof Bad) throw badPlan(file, error.describe('it'))
    if (error instanceof TypeError || error instanceof RangeError || isInternal(error))
      throw badPlan(file, 'its parts do not fit together')
    throw error
  }
}

const isInternal = (error: unknown): boolean => error instanceof Error && error.message.startsWith('internal:')

const any: Read<unknown> = (value) => value
const isMapping: Read<unknown> = (value, at) => (isObject(value) ? value : object({})(value, at, 0))
const shape = list(natural)

/** Checks what is read without looking at its type first. */
function checkPlan(plan: Plan): void {
  const { plan: version, compute, seed, digest } = plan
  oneOf({ 2: true })(String(version), '.plan', 0)
  oneOf({ float32: true, float64: true })(compute, '.compute', 0)
  number(seed, '.seed', 0)
  text(digest, '.digest', 0)
  for (const [key, values] of Object.entries(LISTS))
    list(values)((plan as unknown as Json as Record<string, Json>)[key], `.${key}`, 0)
}

const some =
  (fields: Readonly<Record<string, Read<unknown>>>): Read<unknown> =>
  (value, at, depth) => {
    isMapping(value, at, depth)
    for (const [key, read] of Object.entries(fields))
      read((value as Record<string, unknown>)[key], `${at}.${key}`, depth)
    return value
  }

const placement = some({
  name: text,
  dtype: text,
  shape,
  file: natural,
  offset: natural,
  bytes: natural,
  from: natural,
  count: natural,
})

const LISTS: Readonly<Record<string, Read<unknown>>> = {
  models: some({ name: text, reference: text }),
  files: some({
    ...{ model: natural, name: text, size: natural, headerDigest: text },
    tensors: list(some({ name: text, offset: natural, bytes: natural })),
  }),
  steps: some({
    name: text,
    kind: text,
    patterns: list(some({ pattern: text, where: text, matches: natural, applies: natural })),
  }),
  outputs: some({
    ...{ path: text, layout: text, from: text, metadata: isMapping },
    files: list(some({ name: text, size: natural, header: text })),
    indexes: list(some({ name: text, text })),
    sidecars: list(some({ name: text, kind: oneOf({ copy: true, text: true }) })),
    tensors: list(some({ name: text, dtype: text, shape, expr: isMapping, placements: list(placement) })),
  }),
  analyses: some({ kind: text, steps: list(text) }),
  scopes: any,
  factorings: some({ step: text, tensor: text, shape }),
}

/** The value with shared expressions as one object each, as in a plan. A part refers only to earlier ones. */
function revived(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revived)
  if (!isObject(value)) return value
  if (value.kind !== 'shared' || !Array.isArray(value.parts)) return mapped(value, revived)
  const parts: unknown[] = []
  const filled = (inner: unknown): unknown => {
    if (Array.isArray(inner)) return inner.map(filled)
    if (!isObject(inner)) return inner
    if (typeof inner.part === 'number' && Object.keys(inner).length === 1) {
      if (!(inner.part in parts)) throw new TypeError('a part refers to a later one')
      return parts[inner.part]
    }
    return mapped(inner, filled)
  }
  for (const part of value.parts) parts.push(filled(part))
  return parts.at(-1)
}

const mapped = (value: Readonly<Record<string, unknown>>, change: (inner: unknown) => unknown): unknown =>
  Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, change(inner)]))

/** The keys of two JSON values that differ. */
import { isDeepStrictEqual } from 'node:util'
import type { Json } from '../core/json/shape.js'
import { isObject } from '../core/json/text.js'
import type { Change } from './types.js'

/** Longer values are not shown. */
const LONGEST = 200

/** A value to show: long ones are cut off. */
export function shown(value: Json): Json {
  const text = JSON.stringify(value)
  if (text.length <= LONGEST) return value
  return typeof value === 'string' ? `${value.slice(0, LONGEST)}…` : `${text.slice(0, LONGEST)}…`
}

/** Changes with `merge.weights.math` as their words. Lists are compared as a whole, except lists of mappings of the same length. */
export function jsonChanges(a: Json | undefined, b: Json | undefined, path: readonly string[] = []): Change[] {
  if (isDeepStrictEqual(a, b)) return []
  const keys = keysOf(a, b)
  if (!keys)
    return [
      {
        what: path.map(word).join('.') || 'document',
        ...(a === undefined ? {} : { a: shown(a) }),
        ...(b === undefined ? {} : { b: shown(b) }),
      },
    ]
  const read = (value: Json | undefined, key: string): Json | undefined =>
    value !== undefined && Object.hasOwn(value as object, key) ? (value as Record<string, Json>)[key] : undefined
  return keys.flatMap((key) => jsonChanges(read(a, key), read(b, key), [...path, key]))
}

/** The keys of both, if they are to be compared one by one. */
function keysOf(a: Json | undefined, b: Json | undefined): readonly string[] | undefined {
  if (isObject(a) && isObject(b)) return [...new Set([...Object.keys(b), ...Object.keys(a)])]
  const lists = Array.isArray(a) && Array.isArray(b) && a.length === b.length
  const mappings = lists && [...a, ...b].every((item) => isObject(item))
  return mappings ? Object.keys(b as object) : undefined
}

const word = (key: string): string => (/^[\w-]+$/.test(key) ? key : JSON.stringify(key))

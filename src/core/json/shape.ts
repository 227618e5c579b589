/** Readers that check the types of untrusted JSON and name the path of a wrong value. */
import { recordOf } from '../collections/ownValue.js'
import { isObject } from './text.js'

/** Plain JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** The maximum nesting of fused steps and of JSON in parameters. */
export const MAX_DEPTH = 64

/** A part of a document with the wrong type. */
export class Bad extends Error {
  constructor(
    readonly at: string,
    readonly wanted: string,
  ) {
    super()
  }
  /** `document` names the root. */
  describe(document: string): string {
    return `${this.at === '' ? document : this.at.replace(/^\./, '')} must be ${this.wanted}`
  }
}

export type Read<T> = (value: unknown, at: string, depth: number) => T

export type Fields<T> = { readonly [K in keyof Required<T>]: Read<T[K]> }

export const bad = (at: string, wanted: string): never => {
  throw new Bad(at, wanted)
}

export const within = (at: string, key: string): string =>
  /^[A-Za-z_]\w{0,63}$/.test(key)
    ? `${at}.${key}`
    : `${at}[${JSON.stringify(key.length > 80 ? `${key.slice(0, 80)}…` : key)}]`

export const boolean: Read<boolean> = (value, at) => (typeof value === 'boolean' ? value : bad(at, 'true or false'))

export const text: Read<string> = (value, at) => (typeof value === 'string' ? value : bad(at, 'a string'))

export const natural: Read<number> = (value, at) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : bad(at, 'a non-negative integer')

export const number: Read<number> = (value, at) =>
  typeof value === 'number' && Number.isFinite(value) ? value : bad(at, 'a number')

export const list =
  <T>(read: Read<T>): Read<readonly T[]> =>
  (value, at, depth) =>
    Array.isArray(value) ? value.map((item, index) => read(item, `${at}[${index}]`, depth)) : bad(at, 'a list')

export const record =
  <T>(read: Read<T>): Read<Readonly<Record<string, T>>> =>
  (value, at, depth) =>
    isObject(value)
      ? recordOf(Object.keys(value).map((key) => [key, read(value[key], within(at, key), depth)]))
      : bad(at, 'an object')

/** The words are keys of a record, so that the compiler reports a missing one. */
export const oneOf =
  <T extends string>(words: Readonly<Record<T, unknown>>): Read<T> =>
  (value, at) =>
    typeof value === 'string' && Object.hasOwn(words, value)
      ? (value as T)
      : bad(
          at,
          `one of ${Object.keys(words)
            .map((word) => `"${word}"`)
            .join(', ')}`,
        )

export const json: Read<Json> = (value, at, depth) => {
  if (depth > MAX_DEPTH) bad(at, `nested less than ${MAX_DEPTH} deep`)
  if (Array.isArray(value)) return list(json)(value, at, depth + 1)
  if (isObject(value)) return record(json)(value, at, depth + 1)
  return typeof value === 'number' ? number(value, at, depth) : (value as Json)
}

/** An object with exactly these keys; those in `optional` may be absent. */
export const object =
  <T extends object>(fields: Fields<T>, ...optional: readonly (keyof T & string)[]): Read<T> =>
  (value, at, depth) => {
    if (!isObject(value)) return bad(at, 'an object')
    const keys = Object.keys(fields) as (keyof T & string)[]
    for (const key of Object.keys(value))
      if (!Object.hasOwn(fields, key)) bad(within(at, key), 'absent: the key is unknown')
    const result: Partial<T> = {}
    for (const key of keys) {
      if (Object.hasOwn(value, key)) result[key] = fields[key](value[key], within(at, key), depth)
      else if (!optional.includes(key)) bad(within(at, key), 'present')
    }
    return result as T
  }

/** A digest: an algorithm and hexadecimal digits. */
export const digest: Read<string> = (value, at) =>
  typeof value === 'string' && /^[a-z0-9]{1,32}:[0-9a-f]{8,128}$/.test(value)
    ? value
    : bad(at, 'a digest, algorithm:hex')

export const nullable =
  <T>(read: Read<T>): Read<T | null> =>
  (value, at, depth) =>
    value === null ? null : read(value, at, depth)

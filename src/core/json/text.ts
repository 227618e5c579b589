/**
 * JSON as Python's json module reads and writes it: with `NaN`, `Infinity` and `-Infinity`, and a byte order mark is passed over.
 * The text is measured before anything is built from it, so that a hostile one fails early and in little memory.
 */

export interface JsonLimits {
  /** How deep lists and objects may be nested. */
  readonly depth?: number
  /** How many values there may be in all. */
  readonly values?: number
}

/** Deep enough for any configuration, shallow enough for whoever walks it. */
const MAX_JSON_DEPTH = 100
/** Takes at most about 300 MB once parsed. A configuration with labels for 22,000 classes has 44,000 values. */
const MAX_JSON_VALUES = 2_000_000

/** Says in its message what is wrong with a text. */
export class JsonTextError extends Error {}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09

/** The index after a string whose opening quote stands at `at`; the text's length where it does not end. */
export function afterString(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let slashes = 0
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes++
    if (slashes % 2 === 0) return end + 1
  }
  return text.length
}

/** The index of the next character that is not white space. */
export function afterSpace(text: string, at: number): number {
  while (at < text.length && isSpace(text.charCodeAt(at))) at++
  return at
}

export const hasMark = (text: string): boolean => text.charCodeAt(0) === 0xfeff

/** The value of a text. Numbers are doubles; `edit.ts` keeps the digits that were written. Throws `JsonTextError`. */
export function parseJson(text: string, limits: JsonLimits = {}): unknown {
  const words = measure(text, limits)
  const parse = (source: string): unknown => {
    try {
      return JSON.parse(source)
    } catch (error) {
      throw new JsonTextError(`not valid JSON: ${(error as Error).message}`)
    }
  }
  const begin = hasMark(text) ? 1 : 0
  if (words.length === 0) return parse(begin === 0 ? text : text.slice(begin))
  let nan = '\u0001NaN'
  while (text.includes(nan.slice(1))) nan += 'N'
  const parts: string[] = []
  let done = begin
  for (const { at, word } of words) {
    // A number out of range is infinite to JSON.parse.
    parts.push(text.slice(done, at), word === 'NaN' ? JSON.stringify(nan) : '1e999')
    done = at + word.length
  }
  parts.push(text.slice(done))
  const value = parse(parts.join(''))
  return words.some(({ word }) => word === 'NaN') ? withNaN(value, nan) : value
}

interface Word {
  readonly at: number
  readonly word: 'NaN' | 'Infinity'
}

/** Checks depth and number of values, and finds the words that JSON.parse does not know. */
function measure(text: string, { depth = MAX_JSON_DEPTH, values = MAX_JSON_VALUES }: JsonLimits): Word[] {
  const words: Word[] = []
  let open = 0
  let count = 0
  const more = (): void => {
    if (++count > values) throw new JsonTextError(`more than ${values} values`)
  }
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) at = afterString(text, at) - 1
    else if (code === 0x2c) more()
    else if (code === 0x5b || code === 0x7b) {
      more()
      if (++open > depth) throw new JsonTextError(`nested deeper than ${depth}`)
    } else if (code === 0x5d || code === 0x7d) open--
    else if (code === 0x4e || code === 0x49) {
      const word = code === 0x4e ? 'NaN' : 'Infinity'
      if (!text.startsWith(word, at) || /[\w.:]/.test(text.charAt(afterSpace(text, at + word.length)))) continue
      more()
      words.push({ at, word })
      at += word.length - 1
    }
  }
  return words
}

/** The value with NaN where it holds this text. Its depth is known to be small. */
function withNaN(value: unknown, nan: string): unknown {
  if (value === nan) return Number.NaN
  if (typeof value !== 'object' || value === null) return value
  const parts = value as Record<string, unknown>
  for (const key of Object.keys(parts)) {
    const part = withNaN(parts[key], nan)
    if (part !== parts[key])
      Object.defineProperty(parts, key, { value: part, writable: true, enumerable: true, configurable: true })
  }
  return value
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Whether two values are the same. Unlike their texts, NaN is itself, and 0 is not −0. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const [own, other] = [a as Record<string, unknown>, b as Record<string, unknown>]
  const keys = Object.keys(own)
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && sameJson(own[key], other[key]))
  )
}

/**
 * JSON as Python's json module reads and writes it: `NaN`, `Infinity` and `-Infinity` are values, and a byte order mark
 * is skipped. The text is measured before it is parsed, so that a hostile text fails early and uses little memory.
 */

export interface JsonLimits {
  /** Maximum nesting of lists and objects. */
  readonly depth?: number
  /** Maximum number of values. */
  readonly values?: number
}

/** Enough for any configuration, and safe for recursive functions. */
const MAX_JSON_DEPTH = 100
/** Needs at most about 300 MB after parsing. A configuration with labels for 22,000 classes has 44,000 values. */
const MAX_JSON_VALUES = 2_000_000

/** The message says what is wrong with the text. */
export class JsonTextError extends Error {}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09

/** The index after the string that starts at `at`; the text's length if it has no closing quote. */
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

/** Parses a text. Numbers become doubles; `edit.ts` keeps the original digits. Throws `JsonTextError`. */
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
    // JSON.parse reads a number out of range as infinity.
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

/** Checks the depth and the number of values, and finds the words that JSON.parse rejects. */
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

/** Replaces this text by NaN in a value. The depth is limited by `measure`. */
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

/** Whether two values are equal. NaN equals itself, and 0 differs from −0. */
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

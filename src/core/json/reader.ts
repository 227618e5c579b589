/**
 * A strict JSON reader over valid UTF-8. A header may be 100 MB of hostile text. So the reader builds only what the
 * caller asks for, reports repeated keys, and charges each string to a budget before decoding it.
 */
import { Buffer } from 'node:buffer'
import { BRACE, BRACKET, isDigit, type JsonFail, JsonScanner, QUOTE } from './scanner.js'

export interface JsonReader {
  /** Reads an object; `member` must read exactly the value that follows its key. */
  object(what: string, member: (key: string) => void): void
  /** Reads a list; `element` must read exactly one value. */
  array(what: string, element: (index: number) => void): void
  string(what: string | (() => string)): string
  /** Reads a whole number from 0 to 2⁵³ − 1 that is written only with digits. */
  natural(what: string): number
  /** Skips a `null`, if there is one. */
  isNull(): boolean
  /** Skips one value and checks its syntax. */
  skip(): void
  /** Returns the bytes of one value after checking its syntax. */
  raw(): Uint8Array
  /** Checks that only white space follows. */
  end(): void
}

/** Bytes of memory that the caller may still use. */
export interface Budget {
  left: number
}

/**
 * Maximum bytes of a string; notes of a trainer have some hundred thousand. Callers without a budget read files that
 * terge wrote.
 */
const LONGEST_STRING = 16 * 2 ** 20

/** Reads `source` from `start`. Strings are charged to `budget`; the caller charges everything else that it keeps. */
export function jsonReader(source: Uint8Array, start: number, budget: Budget, fail: JsonFail): JsonReader {
  const bytes = Buffer.from(source.buffer, source.byteOffset, source.byteLength)
  const scanner = new JsonScanner(bytes, start, fail)
  const text = (): string => decodeString(scanner, bytes, budget)
  /** The next value has the wrong type; if it is not valid JSON, that is a syntax error. */
  const wrongType = (message: string): never => {
    const begin = scanner.at
    scanner.value()
    return fail('type', `${message}, not ${bytes.toString('utf8', begin, Math.min(scanner.at, begin + 40))}`)
  }
  return {
    skip: () => scanner.value(),
    object(what, member) {
      if (scanner.peek() !== BRACE) wrongType(`${what} must be an object`)
      scanner.items(BRACE, () => {
        const key = text()
        scanner.colon()
        member(key)
      })
    },
    array(what, element) {
      if (scanner.peek() !== BRACKET) wrongType(`${what} must be a list`)
      scanner.items(BRACKET, element)
    },
    string(what) {
      if (scanner.peek() !== QUOTE) wrongType(`${typeof what === 'string' ? what : what()} must be a string`)
      return text()
    },
    natural(what) {
      if (!isDigit(scanner.peek())) wrongType(`${what} must be non-negative integers`)
      return naturalOf(scanner, bytes, what)
    },
    raw() {
      scanner.peek()
      const begin = scanner.at
      scanner.value()
      return bytes.subarray(begin, scanner.at)
    },
    isNull() {
      if (scanner.peek() !== 0x6e) return false
      scanner.value()
      return true
    },
    end() {
      if (scanner.peek() !== -1) scanner.unexpected('nothing more')
    },
  }
}

function decodeString(scanner: JsonScanner, bytes: Buffer, budget: Budget): string {
  scanner.string()
  const { from, at, ascii, escaped, fail } = scanner
  const to = at - 1
  budget.left -= (to - from) * (ascii ? 1 : 2)
  if (budget.left < 0 || (to - from > LONGEST_STRING && Number.isFinite(budget.left)))
    fail('budget', 'its strings are too large')
  if (ascii) return to - from <= LONGEST_WORD ? wordAt(bytes, from, to) : bytes.toString('latin1', from, to)
  if (!escaped) return bytes.toString('utf8', from, to)
  const text = JSON.parse(bytes.toString('utf8', from - 1, to + 1)) as string
  if (/\p{Surrogate}/u.test(text)) fail('syntax', `a string has an unpaired surrogate at byte ${from}`)
  return text
}

/** Keys and names of dtypes are read once per tensor, and there are few of them: most are known, and one string serves all. */
const LONGEST_WORD = 12
const MOST_WORDS = 256
const words: { readonly text: string; readonly hash: number }[] = new Array(MOST_WORDS)

function wordAt(bytes: Buffer, from: number, to: number): string {
  let hash = to - from
  for (let at = from; at < to; at++) hash = (Math.imul(hash, 31) + bytes[at]!) | 0
  const known = words[hash & (MOST_WORDS - 1)]
  if (known?.hash === hash && isAt(known.text, bytes, from, to)) return known.text
  const text = bytes.toString('latin1', from, to)
  words[hash & (MOST_WORDS - 1)] = { text, hash }
  return text
}

function isAt(text: string, bytes: Buffer, from: number, to: number): boolean {
  if (text.length !== to - from) return false
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) !== bytes[from + at]) return false
  return true
}

/** Digits that are certainly below 2⁵³. */
const SAFE_DIGITS = 15

function naturalOf(scanner: JsonScanner, bytes: Buffer, what: string): number {
  const { at: begin, fail } = scanner
  scanner.number()
  if (scanner.at - begin <= SAFE_DIGITS) {
    let value = 0
    let at = begin
    for (; at < scanner.at && isDigit(bytes[at]); at++) value = 10 * value + bytes[at]! - 0x30
    if (at === scanner.at) return value
  }
  const text = bytes.toString('latin1', begin, Math.min(scanner.at, begin + 40))
  if (!/^\d+$/.test(text)) fail('type', `${what} must be non-negative integers, not ${text}`)
  const value = Number(text)
  if (!Number.isSafeInteger(value)) fail('type', `${what} must be below 2⁵³, not ${text}`)
  return value
}

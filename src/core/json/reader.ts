/**
 * A strict JSON reader over bytes that are known to be UTF-8. Headers may be 100 MB of hostile text, so nothing is
 * built that the caller did not ask for, repeated keys stay visible, and each string is charged before it is decoded.
 */
import { Buffer } from 'node:buffer'

/** Says what is wrong and does not come back. `syntax`: not JSON; `type`: JSON of another kind; `budget`: too much of it. */
export type JsonFail = (kind: 'syntax' | 'type' | 'budget', message: string) => never

export interface JsonReader {
  /** Reads an object; `member` must read exactly the value that follows its key. */
  object(what: string, member: (key: string) => void): void
  /** Reads a list; `element` must read exactly one value. */
  array(what: string, element: (index: number) => void): void
  string(what: string): string
  /** A whole number from 0 to 2⁵³ − 1, written in digits alone. */
  natural(what: string): number
  /** Passes over a `null`, if there is one. */
  isNull(): boolean
  /** Passes over any one value, checking its form. */
  skip(): void
  /** The bytes of any one value, its form checked. */
  raw(): Uint8Array
  /** Nothing but white space may follow. */
  end(): void
}

/** Bytes of memory that what is kept may still take. */
export interface Budget {
  left: number
}

/** As in the reference implementation's JSON reader. */
const MAX_DEPTH = 127
const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const LITERALS = ['true', 'false', 'null'].map((word) => Buffer.from(word))

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39
const isHex = (byte: number | undefined): boolean =>
  isDigit(byte) || (byte !== undefined && (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66)

/** Bytes of a name or a text: a trainer's notes have some hundred thousand. Who sets no budget reads what terge wrote. */
const LONGEST_STRING = 16 * 2 ** 20

/** Reads `bytes` from `start` on. Strings take from `budget`; the caller charges what else it keeps. */
export function jsonReader(source: Uint8Array, start: number, budget: Budget, fail: JsonFail): JsonReader {
  const bytes = Buffer.from(source.buffer, source.byteOffset, source.byteLength)
  let at = start
  let depth = 0

  const unexpected = (wanted: string): never => {
    const byte = bytes[at]
    const found =
      byte === undefined ? 'the end' : byte > 0x20 && byte < 0x7f ? `\`${String.fromCharCode(byte)}\`` : `byte ${byte}`
    return fail('syntax', `expected ${wanted} at byte ${at}, found ${found}`)
  }

  function peek(): number {
    for (; at < bytes.length; at++) {
      const byte = bytes[at]!
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte
    }
    return -1
  }

  // Of the string that was passed over last: where its inside begins, and whether it needs more than copying its bytes.
  let from = 0
  let escaped = false
  let ascii = true

  function scan(): void {
    if (peek() !== QUOTE) unexpected('a string')
    from = ++at
    escaped = false
    let all = 0
    for (;;) {
      const byte = bytes[at]
      if (byte === undefined) unexpected('the end of a string')
      else if (byte === QUOTE) break
      else if (byte < 0x20) unexpected('no control character in a string')
      else if (byte === BACKSLASH) {
        escaped = true
        const kind = bytes[at + 1]
        if (kind === 0x75) {
          for (let digit = 2; digit < 6; digit++) if (!isHex(bytes[at + digit])) unexpected('an escape \\uXXXX')
          at += 6
        } else if (kind !== undefined && '"\\/bfnrt'.includes(String.fromCharCode(kind))) at += 2
        else unexpected('a known escape')
      } else {
        all |= byte
        at++
      }
    }
    at++
    ascii = all < 0x80 && !escaped
  }

  function readString(): string {
    scan()
    const to = at - 1
    budget.left -= (to - from) * (ascii ? 1 : 2)
    if (budget.left < 0 || (to - from > LONGEST_STRING && Number.isFinite(budget.left)))
      fail('budget', 'its names and texts are too large')
    if (ascii) return bytes.toString('latin1', from, to)
    if (!escaped) return bytes.toString('utf8', from, to)
    const text = JSON.parse(bytes.toString('utf8', from - 1, to + 1)) as string
    if (/\p{Surrogate}/u.test(text)) fail('syntax', `a string with half a surrogate pair at byte ${from}`)
    return text
  }

  function items(close: number, closeName: string, item: (index: number) => void): void {
    if (++depth > MAX_DEPTH) fail('syntax', `nested deeper than ${MAX_DEPTH} at byte ${at}`)
    at++
    if (peek() === close) at++
    else
      for (let index = 0; ; index++) {
        item(index)
        const byte = peek()
        if (byte !== COMMA && byte !== close) unexpected(`\`,\` or \`${closeName}\``)
        at++
        if (byte === close) break
      }
    depth--
  }

  function colon(): void {
    if (peek() !== 0x3a) unexpected('`:`')
    at++
  }

  function number(): void {
    if (bytes[at] === 0x2d) at++
    const digits = (): void => {
      if (!isDigit(bytes[at])) unexpected('a digit')
      while (isDigit(bytes[at])) at++
    }
    if (bytes[at] === 0x30) at++
    else digits()
    if (bytes[at] === 0x2e) {
      at++
      digits()
    }
    if ((bytes[at]! | 0x20) === 0x65) {
      at++
      if (bytes[at] === 0x2b || bytes[at] === 0x2d) at++
      digits()
    }
  }

  function skip(): void {
    const byte = peek()
    if (byte === QUOTE) scan()
    else if (byte === 0x5b) items(0x5d, ']', skip)
    else if (byte === 0x7b)
      items(0x7d, '}', () => {
        scan()
        colon()
        skip()
      })
    else if (byte === 0x2d || isDigit(byte)) number()
    else {
      const word = LITERALS.find(
        (literal) => bytes.compare(literal, 0, literal.length, at, Math.min(at + literal.length, bytes.length)) === 0,
      )
      if (!word) unexpected('a value')
      at += word!.length
    }
  }

  /** The value that comes is of another kind: a syntax fault if it is no value at all. */
  function wrongType(message: string): never {
    const begin = at
    skip()
    return fail('type', `${message}, not ${bytes.toString('utf8', begin, Math.min(at, begin + 40))}`)
  }

  return {
    skip,
    object(what, member) {
      if (peek() !== 0x7b) wrongType(`${what} must be an object`)
      items(0x7d, '}', () => {
        const key = readString()
        colon()
        member(key)
      })
    },
    array(what, element) {
      if (peek() !== 0x5b) wrongType(`${what} must be a list`)
      items(0x5d, ']', element)
    },
    string(what) {
      if (peek() !== QUOTE) wrongType(`${what} must be a string`)
      return readString()
    },
    natural(what) {
      if (!isDigit(peek())) wrongType(`${what} must be whole numbers from 0`)
      const begin = at
      number()
      const text = bytes.toString('latin1', begin, Math.min(at, begin + 40))
      if (!/^\d+$/.test(text)) fail('type', `${what} must be whole numbers from 0, not ${text}`)
      const value = Number(text)
      if (!Number.isSafeInteger(value)) fail('type', `${what} must be below 2⁵³, not ${text}`)
      return value
    },
    raw() {
      peek()
      const begin = at
      skip()
      return bytes.subarray(begin, at)
    },
    isNull() {
      if (peek() !== 0x6e) return false
      skip()
      return true
    },
    end() {
      if (peek() !== -1) unexpected('nothing more')
    },
  }
}

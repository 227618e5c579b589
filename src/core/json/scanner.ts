/** Finds where JSON values start and end in valid UTF-8. It is strict and builds nothing. */
import { Buffer } from 'node:buffer'

/** Throws an error. `syntax`: not JSON; `type`: a value of the wrong type; `budget`: the text needs too much memory. */
export type JsonFail = (kind: 'syntax' | 'type' | 'budget', message: string) => never

/** The limit of the JSON reader in the reference implementation of safetensors. */
const MAX_DEPTH = 127
export const QUOTE = 0x22
export const BRACE = 0x7b
export const BRACKET = 0x5b
const CLOSING = new Map([
  [BRACE, 0x7d],
  [BRACKET, 0x5d],
])
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const MINUS = 0x2d
const PLUS = 0x2b
const POINT = 0x2e
const ZERO = 0x30
const LETTER_U = 0x75
const LETTER_E = 0x65
const ESCAPES = new Set(Buffer.from('"\\/bfnrt'))
const LITERALS = ['true', 'false', 'null'].map((word) => Buffer.from(word))

export const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39
const isHex = (byte: number | undefined): boolean =>
  isDigit(byte) || (byte !== undefined && (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66)

export class JsonScanner {
  /** Index of the next byte. */
  at: number
  /** For the last skipped string: where its content starts, whether it has escapes, and whether it is plain ASCII. */
  from = 0
  escaped = false
  ascii = true
  private depth = 0

  constructor(
    // Not a Buffer: declarations that the public types reach must not need the types of Node.
    readonly bytes: Uint8Array,
    start: number,
    readonly fail: JsonFail,
  ) {
    this.at = start
  }

  unexpected(wanted: string): never {
    const byte = this.bytes[this.at]
    const found =
      byte === undefined ? 'the end' : byte > 0x20 && byte < 0x7f ? `\`${String.fromCharCode(byte)}\`` : `byte ${byte}`
    return this.fail('syntax', `expected ${wanted} at byte ${this.at}, found ${found}`)
  }

  /** Skips white space and returns the next byte; -1 at the end. */
  peek(): number {
    const { bytes } = this
    for (; this.at < bytes.length; this.at++) {
      const byte = bytes[this.at]!
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte
    }
    return -1
  }

  /** Skips a string. */
  string(): void {
    if (this.peek() !== QUOTE) this.unexpected('a string')
    const { bytes } = this
    let at = this.at + 1
    this.from = at
    let escaped = false
    let all = 0
    for (;;) {
      const byte = bytes[at]
      if (byte === QUOTE) break
      if (byte === BACKSLASH) {
        escaped = true
        at = this.escape(at)
        continue
      }
      if (byte === undefined || byte < 0x20) {
        this.at = at
        this.unexpected(byte === undefined ? 'the end of a string' : 'no control character in a string')
      }
      all |= byte!
      at++
    }
    this.at = at + 1
    this.escaped = escaped
    this.ascii = all < 0x80 && !escaped
  }

  /** The index after the escape that starts at `at`. */
  private escape(at: number): number {
    const { bytes } = this
    const kind = bytes[at + 1]
    this.at = at
    if (kind === LETTER_U) {
      for (let digit = 2; digit < 6; digit++) if (!isHex(bytes[at + digit])) this.unexpected('an escape \\uXXXX')
      return at + 6
    }
    if (kind === undefined || !ESCAPES.has(kind)) this.unexpected('a known escape')
    return at + 2
  }

  /** Skips a list or object and calls `item` for each element or member. */
  items(open: typeof BRACE | typeof BRACKET, item: (index: number) => void): void {
    const close = CLOSING.get(open)!
    if (++this.depth > MAX_DEPTH) this.fail('syntax', `nested deeper than ${MAX_DEPTH} at byte ${this.at}`)
    this.at++
    if (this.peek() === close) this.at++
    else
      for (let index = 0; ; index++) {
        item(index)
        const byte = this.peek()
        if (byte !== COMMA && byte !== close) this.unexpected(`\`,\` or \`${String.fromCharCode(close)}\``)
        this.at++
        if (byte === close) break
      }
    this.depth--
  }

  colon(): void {
    if (this.peek() !== COLON) this.unexpected('`:`')
    this.at++
  }

  private digits(): void {
    if (!isDigit(this.bytes[this.at])) this.unexpected('a digit')
    while (isDigit(this.bytes[this.at])) this.at++
  }

  /** Skips a number. */
  number(): void {
    const { bytes } = this
    if (bytes[this.at] === MINUS) this.at++
    if (bytes[this.at] === ZERO) this.at++
    else this.digits()
    if (bytes[this.at] === POINT) {
      this.at++
      this.digits()
    }
    if ((bytes[this.at]! | 0x20) === LETTER_E) {
      this.at++
      if (bytes[this.at] === PLUS || bytes[this.at] === MINUS) this.at++
      this.digits()
    }
  }

  private literal(): void {
    const { bytes, at } = this
    const word = LITERALS.find((literal) => literal.every((byte, index) => bytes[at + index] === byte))
    if (!word) this.unexpected('a value')
    this.at += word!.length
  }

  /** Skips one value. */
  value(): void {
    const byte = this.peek()
    if (byte === QUOTE) this.string()
    else if (byte === BRACKET) this.items(BRACKET, () => this.value())
    else if (byte === BRACE)
      this.items(BRACE, () => {
        this.string()
        this.colon()
        this.value()
      })
    else if (byte === MINUS || isDigit(byte)) this.number()
    else this.literal()
  }
}

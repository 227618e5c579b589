/**
 * The part of the Protocol Buffers wire format that the structure of an ONNX file needs. Fields that are not needed, such as
 * weights, are skipped without reading them. Every length is checked against the message that contains it.
 */
import { type Fault, fault } from '../../../core/diagnostics.js'

/** A file or buffer. `read` returns fewer bytes only at its end. */
export interface Bytes {
  readonly size: number
  readonly read: (offset: number, length: number) => Uint8Array
}

export interface Field {
  readonly number: number
  /** 0: a varint in `value`. 1 and 5: eight and four bytes. 2: bytes from `start` to `end`. */
  readonly wire: number
  readonly value: bigint
  readonly start: number
  readonly end: number
}

export interface Wire {
  readonly fields: (start: number, end: number) => Generator<Field>
  readonly text: (field: Field) => string
  /** Numbers of a repeated integer field: one, or packed. */
  readonly integers: (field: Field) => number[]
  /** Bytes of a field that must not be longer than `most`. */
  readonly bytes: (field: Field, most: number) => Uint8Array
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const WINDOW = 1 << 16
const LONGEST_NAME = 4096
const MOST_INTEGERS = 4096
/** Maximum number of fields. The graph of a large language model has about a million. */
const MOST_FIELDS = 5_000_000

export const broken = (what: string): Fault =>
  fault('bad-onnx', `not a valid ONNX file: ${what}`, 'export the model again, or write the spec as YAML')

export function openWire(source: Bytes): Wire {
  const numbers = numberReader(source)
  let count = 0
  return {
    *fields(start, end) {
      let at = start
      while (at < end) {
        if (++count > MOST_FIELDS) throw broken(`it has more than ${MOST_FIELDS} fields`)
        const key = numbers.varint(at, end)
        at = numbers.next
        const [number, wire] = [Number(key >> 3n), Number(key & 7n)]
        let value = 0n
        let first = at
        if (wire === 0) {
          value = numbers.varint(at, end)
          at = numbers.next
        } else if (wire === 1) at += 8
        else if (wire === 5) at += 4
        else if (wire === 2) {
          const length = numbers.varint(at, end)
          first = numbers.next
          if (length > BigInt(end - first)) throw broken('a field extends past its message')
          at = first + Number(length)
        } else throw broken(`unknown wire type ${wire}`)
        if (number < 1 || at > end) throw broken('a field extends past its message')
        yield { number, wire, value, start: first, end: at }
      }
    },
    text(field) {
      try {
        return UTF8.decode(bytesOf(source, field, LONGEST_NAME))
      } catch (error) {
        if (error instanceof TypeError) throw broken('a name is not UTF-8')
        throw error
      }
    },
    integers(field) {
      if (field.wire === 0) return [integerOf(field.value)]
      if (field.wire !== 2) throw broken('a field has the wrong type')
      const found: number[] = []
      for (let at = field.start; at < field.end; at = numbers.next) {
        if (found.length >= MOST_INTEGERS) throw broken(`a list has more than ${MOST_INTEGERS} numbers`)
        found.push(integerOf(numbers.varint(at, field.end)))
      }
      return found
    },
    bytes: (field, most) => bytesOf(source, field, most),
  }
}

interface NumberReader {
  /** Reads the number at a place; it must end before `end`. */
  readonly varint: (at: number, end: number) => bigint
  /** The place after the last number that was read. A million numbers are read, so it is not returned in an object. */
  next: number
}

function numberReader(source: Bytes): NumberReader {
  let from = 0
  let window: Uint8Array = new Uint8Array(0)
  const byte = (at: number): number => {
    if (at < from || at >= from + window.length) {
      from = at
      window = source.read(at, Math.min(WINDOW, source.size - at))
      if (window.length === 0) throw broken('it ends inside a field')
    }
    return window[at - from]!
  }
  const varint = (at: number, end: number): bigint => {
    let value = 0n
    for (let k = 0; k < 10; k++) {
      if (at + k >= end) throw broken('a number extends past its message')
      const part = byte(at + k)
      value |= BigInt(part & 127) << BigInt(7 * k)
      if (part < 128) {
        numbers.next = at + k + 1
        return BigInt.asUintN(64, value)
      }
    }
    throw broken('a number has more than ten bytes')
  }
  const numbers: NumberReader = { varint, next: 0 }
  return numbers
}

function bytesOf(source: Bytes, { start, end, wire }: Field, most: number): Uint8Array {
  if (wire !== 2) throw broken('a field has the wrong type')
  if (end - start > most) throw broken(`a name or list is longer than ${most} bytes`)
  const found = source.read(start, end - start)
  if (found.length !== end - start) throw broken('it ends inside a field')
  return found
}

/** A varint as a signed number. */
function integerOf(value: bigint): number {
  const signed = Number(BigInt.asIntN(64, value))
  // The largest integers stand for "to the end" in slices: their exact value is of no use.
  return Number.isSafeInteger(signed) ? signed : signed < 0 ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER
}

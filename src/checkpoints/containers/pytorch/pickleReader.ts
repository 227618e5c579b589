/** Reads the operands of pickle instructions from bytes: numbers, strings and lines. */
import { Buffer, isUtf8 } from 'node:buffer'
import { type Fault, fault } from '../../../core/diagnostics.js'
import type { Budget } from '../../../core/json/reader.js'
import type { Charge } from './globals.js'
import { DAMAGED, HARMFUL } from './hints.js'
import { isNatural, type Opaque, type Value } from './values.js'

/** Bytes of memory for what a pickle describes: about 300,000 tensors. */
export const PICKLE_MEMORY = 512 * 2 ** 20
/** Memory per value, in bytes, rounded up. */
export const VALUE_COST = 16
export const RECORD_COST = 120
const MAX_DIGITS = 300

export class PickleReader {
  /** Offset of the next byte. */
  at: number
  /** Offset of the current instruction, for messages. */
  private opAt: number
  private readonly buffer: Buffer

  constructor(
    bytes: Uint8Array,
    start: number,
    private readonly name: string,
    private readonly budget: Budget,
  ) {
    this.buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.at = start
    this.opAt = start
  }

  /** Reads the next instruction. */
  instruction(): number {
    this.opAt = this.at
    const op = this.byte()
    this.charge(VALUE_COST)
    return op
  }

  damaged(what: string): Fault {
    return fault('pickle-damaged', `${this.name}: the pickle is damaged at byte ${this.opAt}: ${what}`, DAMAGED)
  }

  /** Subtracts memory from the budget before it is used. */
  readonly charge: Charge = (cost) => {
    this.budget.left -= cost
    if (this.budget.left < 0)
      throw fault(
        'pickle-memory',
        `${this.name}: the pickle describes more than ${PICKLE_MEMORY / 2 ** 20} MiB of objects`,
        HARMFUL,
      )
  }

  /** Skips `count` bytes and returns the offset of the first. */
  take(count: number): number {
    const from = this.at
    if (!(count <= this.buffer.length - this.at))
      throw fault('pickle-truncated', `${this.name}: the file ends inside its pickle`, DAMAGED)
    this.at += count
    return from
  }

  byte(): number {
    return this.buffer[this.take(1)]!
  }

  u16(): number {
    return this.buffer.readUInt16LE(this.take(2))
  }

  u32(): number {
    return this.buffer.readUInt32LE(this.take(4))
  }

  u64(): number {
    return Number(this.buffer.readBigUInt64LE(this.take(8)))
  }

  i32(): number {
    return this.buffer.readInt32LE(this.take(4))
  }

  f64(): number {
    return this.buffer.readDoubleBE(this.take(8))
  }

  line(): string {
    const end = this.buffer.indexOf(0x0a, this.at)
    if (end < 0) this.take(Number.POSITIVE_INFINITY)
    const from = this.take(end - this.at)
    this.at++
    this.charge(VALUE_COST + end - from)
    return this.buffer.toString(isUtf8(this.buffer.subarray(from, end)) ? 'utf8' : 'latin1', from, end)
  }

  text(length: number): Value {
    const from = this.take(length)
    this.charge(VALUE_COST + 2 * length)
    if (isUtf8(this.buffer.subarray(from, this.at))) return this.buffer.toString('utf8', from, this.at)
    return this.record('bytes')
  }

  long(length: number): Value {
    const from = this.take(length)
    if (length > 255) return this.record('int')
    this.charge(RECORD_COST)
    let value = 0n
    for (let index = this.at - 1; index >= from; index--) value = (value << 8n) | BigInt(this.buffer[index]!)
    return whole(length > 0 && this.buffer[this.at - 1]! >= 0x80 ? value - (1n << BigInt(8 * length)) : value)
  }

  digits(written: string): Value {
    if (!/^[+-]?\d+$/.test(written)) throw this.damaged('a number is not written in digits')
    return written.length > MAX_DIGITS ? this.record('int') : whole(BigInt(written.replace('+', '')))
  }

  quoted(written: string): Value {
    if (written.includes('\\')) return this.record('str')
    if (written.length < 2 || written[0] !== written.at(-1)) throw this.damaged('a string has no quotes')
    return written.slice(1, -1)
  }

  /** An object that terge does not interpret, with its parts. */
  record(kind: string, ...parts: Value[]): Opaque {
    this.charge(RECORD_COST)
    return { kind: 'opaque', name: kind, parts }
  }

  index(written: string): number {
    const value = Number(written)
    if (!/^\d+$/.test(written) || !isNatural(value)) throw this.damaged('a memo index is not a number')
    return value
  }

  lineInt(): Value {
    const written = this.line()
    return written === '01' ? true : written === '00' ? false : this.digits(written)
  }

  lineFloat(): number {
    const written = this.line()
    const value = Number(written)
    if (written === '' || (Number.isNaN(value) && !/^[+-]?(nan|inf)$/.test(written)))
      throw this.damaged('a number is malformed')
    return value
  }
}

/** A number if that is exact, else a bigint. */
const whole = (value: bigint): number | bigint => {
  const near = Number(value)
  return Number.isSafeInteger(near) ? near : value
}

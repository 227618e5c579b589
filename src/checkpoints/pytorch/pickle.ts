/**
 * Reads a pickle (Python's `pickle` module, protocols 0 to 5) into plain data. It runs nothing: a pickle is a program
 * for a stack machine, and the instructions that would import and call make inert records here, save for the few
 * calls of `globals.ts`, whose meaning is known. Memory is charged before it is taken, and there is no recursion, so
 * no pickle can exhaust heap or stack. Instructions: CPython, Lib/pickletools.py.
 */
import { Buffer, isUtf8 } from 'node:buffer'
import { type Fault, fault } from '../../core/diagnostics.js'
import type { Budget } from '../json.js'
import { type Charge, ITEM_COST, persistent, reduce } from './globals.js'
import { DAMAGED, HARMFUL } from './source.js'
import {
  isDict,
  isGlobal,
  isNatural,
  isOpaque,
  isStorage,
  isTensor,
  type Opaque,
  type StorageRef,
  type Value,
} from './values.js'

/** Bytes of memory for what a pickle describes: about 300,000 tensors. */
export const PICKLE_MEMORY = 512 * 2 ** 20
/** Bytes of memory, on the large side. */
const VALUE_COST = 16
const LIST_COST = 64
const DICT_COST = 280
const RECORD_COST = 120
/** Longer names and numbers mean nothing to us. */
const MAX_NAME = 1024
const MAX_DIGITS = 300

export interface Unpickled {
  readonly value: Value
  /** The byte after the pickle. */
  readonly end: number
}

export interface UnpickleOptions {
  /** Shared where several pickles belong together. */
  readonly budget?: Budget
  /** Told of every storage that is described, in any place. */
  readonly onStorage?: (storage: StorageRef) => void
}

export interface UnpickleOptions {
  /** Shared where several pickles belong together. */
  readonly budget?: Budget
  /** Told of every storage that is described, wherever it ends up. */
  readonly onStorage?: (storage: StorageRef) => void
}

/**
 * The pickle that begins at byte `start`. `name` is for messages.
 * Faults: `pickle-truncated` where `bytes` end inside it, `pickle-damaged`, `pickle-memory`.
 */
export function unpickle(
  bytes: Uint8Array,
  start: number,
  name: string,
  { budget = { left: PICKLE_MEMORY }, onStorage }: UnpickleOptions = {},
): Unpickled {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const stack: Value[] = []
  /** Heights of the stack at the open marks. */
  const marks: number[] = []
  const memo = createMemo()
  let floor = 0
  let at = start
  let op = 0
  let opAt = start

  const damaged = (what: string): Fault =>
    fault('pickle-damaged', `${name}: the pickle is damaged at byte ${opAt}: ${what}`, DAMAGED)
  const charge: Charge = (cost) => {
    budget.left -= cost
    if (budget.left < 0)
      throw fault(
        'pickle-memory',
        `${name}: the pickle describes more than ${PICKLE_MEMORY / 2 ** 20} MiB of objects`,
        HARMFUL,
      )
  }

  /** Passes over `count` bytes and gives the place of the first. */
  function take(count: number): number {
    const from = at
    if (!(count <= buffer.length - at))
      throw fault('pickle-truncated', `${name}: the file ends inside its pickle`, DAMAGED)
    at += count
    return from
  }
  const byte = (): number => buffer[take(1)]!
  const u16 = (): number => buffer.readUInt16LE(take(2))
  const u32 = (): number => buffer.readUInt32LE(take(4))
  const u64 = (): number => Number(buffer.readBigUInt64LE(take(8)))

  function line(): string {
    const end = buffer.indexOf(0x0a, at)
    if (end < 0) take(Number.POSITIVE_INFINITY)
    const from = take(end - at)
    at++
    charge(VALUE_COST + end - from)
    return buffer.toString(isUtf8(buffer.subarray(from, end)) ? 'utf8' : 'latin1', from, end)
  }
  function text(length: number): Value {
    const from = take(length)
    charge(VALUE_COST + 2 * length)
    if (isUtf8(buffer.subarray(from, at))) return buffer.toString('utf8', from, at)
    return record('bytes')
  }
  function long(length: number): Value {
    const from = take(length)
    if (length > 255) return record('int')
    charge(RECORD_COST)
    let value = 0n
    for (let index = at - 1; index >= from; index--) value = (value << 8n) | BigInt(buffer[index]!)
    return whole(length > 0 && buffer[at - 1]! >= 0x80 ? value - (1n << BigInt(8 * length)) : value)
  }
  function digits(written: string): Value {
    if (!/^[+-]?\d+$/.test(written)) throw damaged('a number is not written in digits')
    return written.length > MAX_DIGITS ? record('int') : whole(BigInt(written.replace('+', '')))
  }
  function quoted(written: string): Value {
    if (written.includes('\\')) return record('str')
    if (written.length < 2 || written[0] !== written.at(-1)) throw damaged('a string without its quotes')
    return written.slice(1, -1)
  }

  function record(kind: string, ...parts: Value[]): Opaque {
    charge(RECORD_COST)
    return { kind: 'opaque', name: kind, parts }
  }
  function list(items: Value[]): Value[] {
    charge(LIST_COST + 8 * items.length)
    return items
  }
  function dict(items: readonly Value[]): Map<Value, Value> {
    charge(DICT_COST)
    const made = new Map<Value, Value>()
    setItems(made, items)
    return made
  }
  function global(module: Value, member: Value): Value {
    if (typeof module !== 'string' || typeof member !== 'string') throw damaged('a global without a name')
    if (module.length + member.length > MAX_NAME) throw damaged('a global with an endless name')
    charge(RECORD_COST)
    return { kind: 'global', name: `${module}.${member}` }
  }

  function pop(): Value {
    if (stack.length <= floor) throw damaged('it takes more from the stack than there is')
    return stack.pop()!
  }
  function top(): Value {
    if (stack.length <= floor) throw damaged('it wants more of the stack than there is')
    return stack[stack.length - 1]!
  }
  function popMark(): Value[] {
    const mark = marks.pop()
    if (mark === undefined) throw damaged('it goes back to a mark that was never set')
    floor = marks.at(-1) ?? 0
    return stack.splice(mark)
  }
  function args(value: Value): Value[] {
    if (!Array.isArray(value)) throw damaged('arguments that are no tuple')
    return value
  }
  function tuple(length: number): Value[] {
    const items: Value[] = new Array(length).fill(null)
    for (let index = length - 1; index >= 0; index--) items[index] = pop()
    return list(items)
  }
  function call(callee: Value, values: Value[]): void {
    if (!isGlobal(callee) && !isOpaque(callee)) throw damaged('it calls what is no class or function')
    charge(RECORD_COST + (values.length === 0 ? DICT_COST : 0))
    stack.push(reduce(callee, values, charge))
  }
  function append(target: Value, items: readonly Value[]): void {
    const into = Array.isArray(target) ? target : isOpaque(target) ? target.parts : undefined
    if (!into) throw damaged('it appends to what is no list')
    charge(8 * items.length)
    for (const item of items) into.push(item)
  }
  function setItems(target: Value, items: readonly Value[]): void {
    if (items.length % 2 !== 0) throw damaged('a key without its value')
    if (!isDict(target)) {
      if (!isOpaque(target)) throw damaged('it sets items of what is no dictionary')
      append(target, items)
      return
    }
    charge((items.length / 2) * ITEM_COST)
    for (let index = 0; index < items.length; index += 2) target.set(items[index]!, items[index + 1]!)
  }
  /** Of a dictionary, what stands beside its items is no tensor that we want (`_metadata`). */
  function build(target: Value, state: Value): void {
    if (isOpaque(target)) append(target, [state])
    else if (isTensor(target)) {
      if (state !== null && !isDict(state)) target.problem = 'its class sets its own state'
    } else if (!isDict(target) && !isGlobal(target)) throw damaged('it sets the state of what has none')
  }
  function get(index: number): void {
    const value = memo.get(index)
    if (value === undefined) throw damaged(`it recalls what it never remembered (${index})`)
    stack.push(value)
  }
  function put(index: number): void {
    charge(3 * VALUE_COST)
    memo.set(index, top())
  }
  function persist(id: Value): void {
    charge(RECORD_COST)
    const loaded = persistent(id)
    if ('problem' in loaded) throw damaged(loaded.problem)
    if (isStorage(loaded.value)) onStorage?.(loaded.value)
    stack.push(loaded.value)
  }
  function index(written: string): number {
    const value = Number(written)
    if (!/^\d+$/.test(written) || !isNatural(value)) throw damaged('a place in memory that is no number')
    return value
  }
  function lineInt(): Value {
    const written = line()
    return written === '01' ? true : written === '00' ? false : digits(written)
  }
  function lineFloat(): number {
    const written = line()
    const value = Number(written)
    if (written === '' || (Number.isNaN(value) && !/^[+-]?(nan|inf)$/.test(written)))
      throw damaged('a number that is none')
    return value
  }

  for (;;) {
    opAt = at
    op = byte()
    charge(VALUE_COST)
    // biome-ignore format: one instruction a line, in the order of pickletools
    switch (op) {
      case 0x49: stack.push(lineInt()); break // INT
      case 0x4a: stack.push(buffer.readInt32LE(take(4))); break // BININT
      case 0x4b: stack.push(byte()); break // BININT1
      case 0x4d: stack.push(u16()); break // BININT2
      case 0x4c: stack.push(digits(line().replace(/L$/, ''))); break // LONG
      case 0x8a: stack.push(long(byte())); break // LONG1
      case 0x8b: stack.push(long(u32())); break // LONG4
      case 0x53: stack.push(quoted(line())); break // STRING
      case 0x54: stack.push(text(u32())); break // BINSTRING
      case 0x55: stack.push(text(byte())); break // SHORT_BINSTRING
      case 0x42: take(u32()); stack.push(record('bytes')); break // BINBYTES
      case 0x43: take(byte()); stack.push(record('bytes')); break // SHORT_BINBYTES
      case 0x8e: take(u64()); stack.push(record('bytes')); break // BINBYTES8
      case 0x96: take(u64()); stack.push(record('bytearray')); break // BYTEARRAY8
      case 0x4e: stack.push(null); break // NONE
      case 0x88: stack.push(true); break // NEWTRUE
      case 0x89: stack.push(false); break // NEWFALSE
      case 0x56: { const raw = line(); stack.push(raw.includes('\\') ? record('str') : raw); break } // UNICODE
      case 0x8c: stack.push(text(byte())); break // SHORT_BINUNICODE
      case 0x58: stack.push(text(u32())); break // BINUNICODE
      case 0x8d: stack.push(text(u64())); break // BINUNICODE8
      case 0x46: stack.push(lineFloat()); break // FLOAT
      case 0x47: stack.push(buffer.readDoubleBE(take(8))); break // BINFLOAT
      case 0x5d: stack.push(list([])); break // EMPTY_LIST
      case 0x61: { const item = pop(); append(top(), [item]); break } // APPEND
      case 0x65: { const items = popMark(); append(top(), items); break } // APPENDS
      case 0x6c: stack.push(list(popMark())); break // LIST
      case 0x29: stack.push(list([])); break // EMPTY_TUPLE
      case 0x74: stack.push(list(popMark())); break // TUPLE
      case 0x85: stack.push(tuple(1)); break // TUPLE1
      case 0x86: stack.push(tuple(2)); break // TUPLE2
      case 0x87: stack.push(tuple(3)); break // TUPLE3
      case 0x7d: stack.push(dict([])); break // EMPTY_DICT
      case 0x64: stack.push(dict(popMark())); break // DICT
      case 0x73: { const value = pop(); const key = pop(); setItems(top(), [key, value]); break } // SETITEM
      case 0x75: { const items = popMark(); setItems(top(), items); break } // SETITEMS
      case 0x8f: stack.push(record('set')); break // EMPTY_SET
      case 0x90: { const items = popMark(); append(top(), items); break } // ADDITEMS
      case 0x91: stack.push(record('frozenset', list(popMark()))); break // FROZENSET
      case 0x30: if (stack.length > floor) stack.pop(); else popMark(); break // POP
      case 0x32: stack.push(top()); break // DUP
      case 0x28: marks.push(stack.length); floor = stack.length; break // MARK
      case 0x31: popMark(); break // POP_MARK
      case 0x67: get(index(line())); break // GET
      case 0x68: get(byte()); break // BINGET
      case 0x6a: get(u32()); break // LONG_BINGET
      case 0x70: put(index(line())); break // PUT
      case 0x71: put(byte()); break // BINPUT
      case 0x72: put(u32()); break // LONG_BINPUT
      case 0x94: put(memo.size()); break // MEMOIZE
      case 0x63: { const module = line(); stack.push(global(module, line())); break } // GLOBAL
      case 0x93: { const member = pop(); stack.push(global(pop(), member)); break } // STACK_GLOBAL
      case 0x52: { const values = args(pop()); call(pop(), values); break } // REDUCE
      case 0x62: { const state = pop(); build(top(), state); break } // BUILD
      case 0x69: { const module = line(); const callee = global(module, line()); call(callee, list(popMark())); break } // INST
      case 0x6f: { const [callee = null, ...values] = popMark(); call(callee, list(values)); break } // OBJ
      case 0x81: { const values = args(pop()); call(pop(), values); break } // NEWOBJ
      case 0x92: { const named = pop(); const values = args(pop()); call(pop(), list([values, named])); break } // NEWOBJ_EX
      case 0x80: if (byte() > 5) throw damaged('a protocol that is not known'); break // PROTO
      case 0x95: u64(); break // FRAME
      case 0x50: persist(line()); break // PERSID
      case 0x51: persist(pop()); break // BINPERSID
      case 0x2e: { const value = pop(); return { value, end: at } } // STOP
      // EXT1, EXT2, EXT4, NEXT_BUFFER and READONLY_BUFFER refer to what the reading program should hold.
      default: throw damaged(`instruction 0x${op.toString(16)} has no place in a checkpoint`)
    }
  }
}

/** As a number where it is exact. */
const whole = (value: bigint): number | bigint => {
  const near = Number(value)
  return Number.isSafeInteger(near) ? near : value
}

interface Memo {
  get(index: number): Value | undefined
  set(index: number, value: Value): void
  size(): number
}

/** What a pickle remembers. Places are given out in order, so nearly all are in a list; a few may be anywhere. */
function createMemo(): Memo {
  const dense: Value[] = []
  const sparse = new Map<number, Value>()
  return {
    get: (index) => (index < dense.length ? dense[index] : sparse.get(index)),
    set(index, value) {
      if (index < dense.length) dense[index] = value
      else if (index > dense.length) sparse.set(index, value)
      else {
        dense.push(value)
        sparse.delete(index)
      }
    },
    size: () => dense.length + sparse.size,
  }
}

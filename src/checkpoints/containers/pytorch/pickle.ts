/**
 * Reads a pickle (Python's `pickle` module, protocols 0 to 5) into plain data, without running any code. A pickle is a program
 * for a stack machine. Instructions that would import or call something only make inert records, except for the few calls
 * that `globals.ts` knows. Memory is charged before it is used and nothing recurses, so no pickle can exhaust the heap or
 * the stack. For the instructions, see CPython, Lib/pickletools.py.
 */
import type { Budget } from '../../../core/json/reader.js'
import { PickleMachine } from './pickleMachine.js'
import { PICKLE_MEMORY, PickleReader } from './pickleReader.js'
import type { StorageRef, Value } from './values.js'

export interface Unpickled {
  readonly value: Value
  /** Offset of the first byte after the pickle. */
  readonly end: number
}

export interface UnpickleOptions {
  /** Shared by pickles of one file. */
  readonly budget?: Budget
  /** Called for every storage that the pickle describes, used or not. */
  readonly onStorage?: (storage: StorageRef) => void
}

/**
 * Reads the pickle that starts at byte `start`. `name` is for messages.
 * Errors: `pickle-truncated` if `bytes` end inside it, `pickle-damaged`, `pickle-memory`.
 */
export function unpickle(
  bytes: Uint8Array,
  start: number,
  name: string,
  { budget = { left: PICKLE_MEMORY }, onStorage }: UnpickleOptions = {},
): Unpickled {
  const r = new PickleReader(bytes, start, name, budget)
  const m = new PickleMachine(r, onStorage)
  for (;;) {
    const op = r.instruction()
    // biome-ignore format: one instruction per line, in the order of pickletools
    switch (op) {
      case 0x49: m.push(r.lineInt()); break // INT
      case 0x4a: m.push(r.i32()); break // BININT
      case 0x4b: m.push(r.byte()); break // BININT1
      case 0x4d: m.push(r.u16()); break // BININT2
      case 0x4c: m.push(r.digits(r.line().replace(/L$/, ''))); break // LONG
      case 0x8a: m.push(r.long(r.byte())); break // LONG1
      case 0x8b: m.push(r.long(r.u32())); break // LONG4
      case 0x53: m.push(r.quoted(r.line())); break // STRING
      case 0x54: m.push(r.text(r.u32())); break // BINSTRING
      case 0x55: m.push(r.text(r.byte())); break // SHORT_BINSTRING
      case 0x42: r.take(r.u32()); m.push(r.record('bytes')); break // BINBYTES
      case 0x43: r.take(r.byte()); m.push(r.record('bytes')); break // SHORT_BINBYTES
      case 0x8e: r.take(r.u64()); m.push(r.record('bytes')); break // BINBYTES8
      case 0x96: r.take(r.u64()); m.push(r.record('bytearray')); break // BYTEARRAY8
      case 0x4e: m.push(null); break // NONE
      case 0x88: m.push(true); break // NEWTRUE
      case 0x89: m.push(false); break // NEWFALSE
      case 0x56: { const raw = r.line(); m.push(raw.includes('\\') ? r.record('str') : raw); break } // UNICODE
      case 0x8c: m.push(r.text(r.byte())); break // SHORT_BINUNICODE
      case 0x58: m.push(r.text(r.u32())); break // BINUNICODE
      case 0x8d: m.push(r.text(r.u64())); break // BINUNICODE8
      case 0x46: m.push(r.lineFloat()); break // FLOAT
      case 0x47: m.push(r.f64()); break // BINFLOAT
      case 0x5d: m.push(m.list([])); break // EMPTY_LIST
      case 0x61: { const item = m.pop(); m.append(m.top(), [item]); break } // APPEND
      case 0x65: { const items = m.popMark(); m.append(m.top(), items); break } // APPENDS
      case 0x6c: m.push(m.list(m.popMark())); break // LIST
      case 0x29: m.push(m.list([])); break // EMPTY_TUPLE
      case 0x74: m.push(m.list(m.popMark())); break // TUPLE
      case 0x85: m.push(m.tuple(1)); break // TUPLE1
      case 0x86: m.push(m.tuple(2)); break // TUPLE2
      case 0x87: m.push(m.tuple(3)); break // TUPLE3
      case 0x7d: m.push(m.dict([])); break // EMPTY_DICT
      case 0x64: m.push(m.dict(m.popMark())); break // DICT
      case 0x73: { const value = m.pop(); const key = m.pop(); m.setItems(m.top(), [key, value]); break } // SETITEM
      case 0x75: { const items = m.popMark(); m.setItems(m.top(), items); break } // SETITEMS
      case 0x8f: m.push(r.record('set')); break // EMPTY_SET
      case 0x90: { const items = m.popMark(); m.append(m.top(), items); break } // ADDITEMS
      case 0x91: m.push(r.record('frozenset', m.list(m.popMark()))); break // FROZENSET
      case 0x30: m.drop(); break // POP
      case 0x32: m.push(m.top()); break // DUP
      case 0x28: m.mark(); break // MARK
      case 0x31: m.popMark(); break // POP_MARK
      case 0x67: m.get(r.index(r.line())); break // GET
      case 0x68: m.get(r.byte()); break // BINGET
      case 0x6a: m.get(r.u32()); break // LONG_BINGET
      case 0x70: m.put(r.index(r.line())); break // PUT
      case 0x71: m.put(r.byte()); break // BINPUT
      case 0x72: m.put(r.u32()); break // LONG_BINPUT
      case 0x94: m.memoize(); break // MEMOIZE
      case 0x63: { const module = r.line(); m.push(m.global(module, r.line())); break } // GLOBAL
      case 0x93: { const member = m.pop(); m.push(m.global(m.pop(), member)); break } // STACK_GLOBAL
      case 0x52: { const values = m.args(m.pop()); m.call(m.pop(), values); break } // REDUCE
      case 0x62: { const state = m.pop(); m.build(m.top(), state); break } // BUILD
      case 0x69: { const module = r.line(); const callee = m.global(module, r.line()); m.call(callee, m.list(m.popMark())); break } // INST
      case 0x6f: { const [callee = null, ...values] = m.popMark(); m.call(callee, m.list(values)); break } // OBJ
      case 0x81: { const values = m.args(m.pop()); m.call(m.pop(), values); break } // NEWOBJ
      case 0x92: { const named = m.pop(); const values = m.args(m.pop()); m.call(m.pop(), m.list([values, named])); break } // NEWOBJ_EX
      case 0x80: if (r.byte() > 5) throw r.damaged('unknown protocol'); break // PROTO
      case 0x95: r.u64(); break // FRAME
      case 0x50: m.persist(r.line()); break // PERSID
      case 0x51: m.persist(m.pop()); break // BINPERSID
      case 0x2e: { const value = m.pop(); return { value, end: r.at } } // STOP
      // EXT1, EXT2, EXT4, NEXT_BUFFER and READONLY_BUFFER refer to data outside of the pickle.
      default: throw r.damaged(`instruction 0x${op.toString(16)} is not allowed in a checkpoint`)
    }
  }
}

/**
 * Runs a compiled formula over strips of elements: its instructions one after another, each over a whole strip, so that what
 * they compute stays in the first-level cache. The program is the table of the context; ../../formula.ts describes it.
 *
 * Before it runs, its operands become addresses in scratch space. An operand has an address, a mask for the offset in a strip (0
 * for numbers, which are one vector) and a mask for the strip's own offset (0 for registers, which every strip uses again).
 */
import { base, first, input, inputCount, output, scratch, table } from '../memory/context'
import { minus } from '../memory/equal'
import { middleOf, SORTED, sortIn } from '../memory/sorted'
import { signBit } from '../memory/storage'

/** Elements of a strip: a divisor of a chunk. The same number as STRIP in ../../formula.ts. */
export const STRIP: usize = 512

// Operations: the same numbers as in ../../formula.ts.
const MOVE = 0, ADD = 1, SUBTRACT = 2, MULTIPLY = 3, DIVIDE = 4, MIN = 5, MAX = 6, POWER = 7
const NEGATE = 8, ABS = 9, SQRT = 10, EXP = 11, LOG = 12, TANH = 13, SIGN = 14, DELTA = 15
const MULTIPLY_ADD = 16, TERM = 17, WHERE_GREATER = 18, WHERE_AT_LEAST = 19, WHERE_EQUAL = 20, WHERE_OTHER = 21
const WHERE_RANKED = 22, MEDIAN = 23

// Kinds of operands: the same numbers as in ../../formula.ts.
const KIND: u32 = 1 << 16
const INPUT: u32 = 1, BASE: u32 = 2, NUMBER: u32 = 3, OUTPUT: u32 = 4

/** Words of the program before its outputs. */
const HEADER: usize = 4 * 8

// @ts-ignore: decorator
@inline
function word(program: usize, index: usize): u32 { return <u32>load<f64>(program + (index << 3)) }

// @ts-ignore: decorator
@inline
export function outputCount(context: usize): u32 { return word(table(context), 2) }
// @ts-ignore: decorator
@inline
function outputAt(context: usize, index: usize): usize { return table(context) + HEADER + (index << 4) }
// @ts-ignore: decorator
@inline
function numberAt(program: usize, index: usize): usize {
  return program + HEADER + (<usize>word(program, 2) << 4) + (index << 3)
}

/** What to do with an output: see ./measure.ts. */
// @ts-ignore: decorator
@inline
export function outputKind(context: usize, index: usize): u32 { return <u32>load<f64>(outputAt(context, index), 8) }

// The parts of the scratch space, one after another.

// @ts-ignore: decorator
@inline
function registersAt(context: usize): usize { return scratch(context) }
// @ts-ignore: decorator
@inline
function splatsAt<C>(context: usize): usize {
  return registersAt(context) + <usize>word(table(context), 3) * STRIP * sizeof<C>()
}
/** One vector for each input, the base and the result: the last elements of a call go through them. */
// @ts-ignore: decorator
@inline
function padsAt<C>(context: usize): usize { return splatsAt<C>(context) + (<usize>word(table(context), 1) << 4) }
/** Four lanes in float64 for each output. */
// @ts-ignore: decorator
@inline
export function lanesAt<C>(context: usize): usize { return padsAt<C>(context) + (<usize>(inputCount(context) + 2) << 4) }
/** A strip's keys. */
// @ts-ignore: decorator
@inline
export function keysAt<C>(context: usize): usize { return lanesAt<C>(context) + (<usize>outputCount(context) << 5) }
// @ts-ignore: decorator
@inline
function codeAt<C>(context: usize): usize { return keysAt<C>(context) + STRIP * 4 }

/** Writes an operand's address and masks. `pads`: those of the last elements instead of the inputs. */
function place<C>(context: usize, operand: u32, to: usize, pads: bool): void {
  const kind = operand / KIND, index = <usize>(operand % KIND), count = <usize>inputCount(context)
  let at: usize = 0, within: u32 = -1, along: u32 = pads ? 0 : -1
  if (kind == INPUT) at = pads ? padsAt<C>(context) + (index << 4) : input(context, index)
  else if (kind == BASE) at = pads ? padsAt<C>(context) + (count << 4) : base(context)
  else if (kind == OUTPUT) at = pads ? padsAt<C>(context) + ((count + 1) << 4) : output(context)
  else if (kind == NUMBER) {
    at = splatsAt<C>(context) + (index << 4)
    within = along = 0
  } else {
    at = registersAt(context) + index * STRIP * sizeof<C>()
    along = 0
  }
  store<u32>(to, <u32>at)
  store<u32>(to, within, 4)
  store<u32>(to, along, 8)
}

/** Numbers as vectors of C, rounded once. Once for each call. */
export function splat<C>(context: usize): void {
  const program = table(context), count = <usize>word(program, 1), to = splatsAt<C>(context)
  for (let i: usize = 0; i < count; i++) v128.store(to + (i << 4), v128.splat<C>(<C>load<f64>(numberAt(program, i))))
}

/** Instructions with addresses. For a call, and once more for its last elements. */
export function link<C>(context: usize, pads: bool): void {
  const program = table(context), count = word(program, 0)
  let from = numberAt(program, <usize>word(program, 1)), to = codeAt<C>(context)
  for (let i: u32 = 0; i < count; i++) {
    const operands = word(from, 2)
    store<u32>(to, word(from, 0))
    store<u32>(to, operands, 4)
    place<C>(context, word(from, 1), to + 8, pads)
    to += 20
    from += 24
    // A ranked condition has numbers that are not of C: where they lie in the program.
    for (let k: u32 = 0; k < operands; k++, from += 8, to += 12) place<C>(context, word(from, 0), to, pads)
  }
}

// @ts-ignore: decorator
@inline
function within(q: usize, k: usize): usize { return <usize>load<u32>(q + k * 12, 4) }
// @ts-ignore: decorator
@inline
function placed(q: usize, k: usize, along: usize): usize {
  return <usize>load<u32>(q + k * 12) + (along & <usize>load<u32>(q + k * 12, 8))
}

/** `op` is a constant where this is inlined. */
// @ts-ignore: decorator
@inline
function two<C>(op: i32, q: usize, d: usize, along: usize, bytes: usize): void {
  const a = placed(q, 0, along), b = placed(q, 1, along), am = within(q, 0), bm = within(q, 1)
  for (let o: usize = 0; o < bytes; o += 16) {
    const x = v128.load(a + (o & am)), y = v128.load(b + (o & bm))
    let r = x
    if (op == ADD) r = v128.add<C>(x, y)
    else if (op == SUBTRACT) r = v128.sub<C>(x, y)
    else if (op == MULTIPLY) r = v128.mul<C>(x, y)
    else if (op == DIVIDE) r = v128.div<C>(x, y)
    else if (op == MIN) r = v128.min<C>(x, y)
    else if (op == MAX) r = v128.max<C>(x, y)
    else if (op == DELTA) r = minus<C>(x, y)
    v128.store(d + o, r)
  }
}

// @ts-ignore: decorator
@inline
function one<C>(op: i32, q: usize, d: usize, along: usize, bytes: usize): void {
  const a = placed(q, 0, along), am = within(q, 0), sign = signBit<C>(), unit = v128.splat<C>(1), zero = v128.splat<C>(0)
  for (let o: usize = 0; o < bytes; o += 16) {
    const x = v128.load(a + (o & am))
    let r = x
    if (op == NEGATE) r = v128.neg<C>(x)
    else if (op == ABS) r = v128.abs<C>(x)
    else if (op == SQRT) r = v128.sqrt<C>(x)
    else if (op == SIGN)
      r = v128.bitselect(
        v128.or(v128.and(x, sign), unit), x, v128.or(v128.gt<C>(x, zero), v128.lt<C>(x, zero)),
      )
    v128.store(d + o, r)
  }
}

/** Functions of one element, in float64 and rounded once. */
// @ts-ignore: decorator
@inline
function scalar<C>(op: i32, q: usize, d: usize, along: usize, bytes: usize): void {
  const a = placed(q, 0, along), am = within(q, 0)
  const b = op == POWER ? placed(q, 1, along) : a, bm = op == POWER ? within(q, 1) : am
  for (let o: usize = 0; o < bytes; o += sizeof<C>()) {
    const x = <f64>load<C>(a + (o & am))
    let r = x
    if (op == EXP) r = NativeMath.exp(x)
    else if (op == LOG) r = NativeMath.log(x)
    else if (op == TANH) r = NativeMath.tanh(x)
    else if (op == POWER) r = NativeMath.pow(x, <f64>load<C>(b + (o & bm)))
    store<C>(d + o, <C>r)
  }
}

/** a + s·x, or a + s·(x − b), rounded after each operation. */
// @ts-ignore: decorator
@inline
function term<C>(task: bool, q: usize, d: usize, along: usize, bytes: usize): void {
  const a = placed(q, 0, along), x = placed(q, 2, along), am = within(q, 0), xm = within(q, 2)
  const s = placed(q, 1, along), sm = within(q, 1)
  const b = task ? placed(q, 3, along) : x
  for (let o: usize = 0; o < bytes; o += 16) {
    let y = v128.load(x + (o & xm))
    if (task) y = minus<C>(y, v128.load(b + o))
    v128.store(d + o, v128.add<C>(v128.load(a + (o & am)), v128.mul<C>(v128.load(s + (o & sm)), y)))
  }
}

/** x or y by a comparison of a and b; NaN where one of these is NaN. All bits set is a NaN. */
// @ts-ignore: decorator
@inline
function where<C>(op: i32, q: usize, d: usize, along: usize, bytes: usize): void {
  const a = placed(q, 0, along), b = placed(q, 1, along), x = placed(q, 2, along), y = placed(q, 3, along)
  const am = within(q, 0), bm = within(q, 1), xm = within(q, 2), ym = within(q, 3)
  for (let o: usize = 0; o < bytes; o += 16) {
    const p = v128.load(a + (o & am)), r = v128.load(b + (o & bm))
    let mask = p
    if (op == WHERE_GREATER) mask = v128.gt<C>(p, r)
    else if (op == WHERE_AT_LEAST) mask = v128.ge<C>(p, r)
    else if (op == WHERE_EQUAL) mask = v128.eq<C>(p, r)
    else mask = v128.ne<C>(p, r)
    const chosen = v128.bitselect(v128.load(x + (o & xm)), v128.load(y + (o & ym)), mask)
    v128.store(d + o, v128.or(chosen, v128.or(v128.ne<C>(p, p), v128.ne<C>(r, r))))
  }
}

/**
 * The place of an element among others, as u32: the order of float32, zeros of both signs are equal, and NaN is above all.
 */
// @ts-ignore: decorator
@inline
export function keyOf<C>(x: C): u32 {
  const bits = reinterpret<u32>(<f32>x)
  if ((bits & 0x7fffffff) > 0x7f800000) return 0xffc00000
  if ((bits & 0x7fffffff) == 0) return 0x80000000
  return bits >> 31 ? ~bits : bits | 0x80000000
}

/** x for elements from a key on, y for others. Of those with that key, x for the ones before an index. */
function ranked<C>(context: usize, q: usize, d: usize, along: usize, bytes: usize, index: u64): void {
  const a = placed(q, 0, along), x = placed(q, 1, along), y = placed(q, 2, along)
  const am = within(q, 0), xm = within(q, 1), ym = within(q, 2)
  const program = table(context), size = sizeof<C>()
  const slot = (<usize>load<u32>(q + 3 * 12) - splatsAt<C>(context)) >> 4
  const key = <u32>load<f64>(numberAt(program, slot)), cut = load<f64>(numberAt(program, slot + 1))
  for (let o: usize = 0, i = <f64>index; o < bytes; o += size, i++) {
    const own = keyOf<C>(load<C>(a + (o & am)))
    const kept = own > key || (own == key && i < cut)
    store<C>(d + o, kept ? load<C>(x + (o & xm)) : load<C>(y + (o & ym)))
  }
}

/** NaN in any operand gives NaN. */
function median<C>(q: usize, count: usize, d: usize, along: usize, bytes: usize): void {
  for (let o: usize = 0; o < bytes; o += 16) {
    let nan = v128.splat<C>(0)
    nan = v128.ne<C>(nan, nan)
    for (let i: usize = 0; i < count; i++) {
      const x = v128.load(placed(q, i, along) + (o & within(q, i)))
      nan = v128.or(nan, v128.ne<C>(x, x))
      sortIn<C>(SORTED, i, x)
    }
    v128.store(d + o, v128.or(middleOf<C>(SORTED, count), nan))
  }
}

/** One strip of `bytes` bytes, `along` bytes from the start of the call. `index`: of its first element in the call. */
export function run<C>(context: usize, along: usize, bytes: usize, index: u64): void {
  const count = word(table(context), 0)
  let p = codeAt<C>(context)
  for (let i: u32 = 0; i < count; i++) {
    const op = load<u32>(p), operands = <usize>load<u32>(p, 4), q = p + 20
    const d = <usize>load<u32>(p, 8) + (along & <usize>load<u32>(p, 16))
    p = q + operands * 12
    switch (op) {
      case MOVE: one<C>(MOVE, q, d, along, bytes); break
      case ADD: two<C>(ADD, q, d, along, bytes); break
      case SUBTRACT: two<C>(SUBTRACT, q, d, along, bytes); break
      case MULTIPLY: two<C>(MULTIPLY, q, d, along, bytes); break
      case DIVIDE: two<C>(DIVIDE, q, d, along, bytes); break
      case MIN: two<C>(MIN, q, d, along, bytes); break
      case MAX: two<C>(MAX, q, d, along, bytes); break
      case DELTA: two<C>(DELTA, q, d, along, bytes); break
      case NEGATE: one<C>(NEGATE, q, d, along, bytes); break
      case ABS: one<C>(ABS, q, d, along, bytes); break
      case SQRT: one<C>(SQRT, q, d, along, bytes); break
      case SIGN: one<C>(SIGN, q, d, along, bytes); break
      case EXP: scalar<C>(EXP, q, d, along, bytes); break
      case LOG: scalar<C>(LOG, q, d, along, bytes); break
      case TANH: scalar<C>(TANH, q, d, along, bytes); break
      case POWER: scalar<C>(POWER, q, d, along, bytes); break
      case MULTIPLY_ADD: term<C>(false, q, d, along, bytes); break
      case TERM: term<C>(true, q, d, along, bytes); break
      case WHERE_GREATER: where<C>(WHERE_GREATER, q, d, along, bytes); break
      case WHERE_AT_LEAST: where<C>(WHERE_AT_LEAST, q, d, along, bytes); break
      case WHERE_EQUAL: where<C>(WHERE_EQUAL, q, d, along, bytes); break
      case WHERE_OTHER: where<C>(WHERE_OTHER, q, d, along, bytes); break
      case WHERE_RANKED: ranked<C>(context, q, d, along, bytes, first(context) + index); break
      case MEDIAN: median<C>(q, operands, d, along, bytes); break
      default: unreachable()
    }
  }
}

/** Copies the last elements of a call to where whole vectors can be read, and links the program to them. */
export function pad<C>(context: usize, along: usize, bytes: usize): void {
  const count = <usize>inputCount(context), pads = padsAt<C>(context)
  memory.fill(pads, 0, (count + 2) << 4)
  for (let i: usize = 0; i < count; i++) memory.copy(pads + (i << 4), input(context, i) + along, bytes)
  if (base(context) != 0) memory.copy(pads + (count << 4), base(context) + along, bytes)
  link<C>(context, true)
}

/** Where the result of the last elements is. */
// @ts-ignore: decorator
@inline
export function padResult<C>(context: usize): usize { return padsAt<C>(context) + (<usize>(inputCount(context) + 1) << 4) }

const FOUND = memory.data(12, 16)

/** The address of an output's elements in a strip. `pads`: of the last elements. */
export function outputOf<C>(context: usize, index: usize, along: usize, pads: bool): usize {
  place<C>(context, <u32>load<f64>(outputAt(context, index)), FOUND, pads)
  return <usize>load<u32>(FOUND) + (along & <usize>load<u32>(FOUND, 8))
}

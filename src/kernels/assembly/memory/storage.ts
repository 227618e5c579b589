/**
 * How elements lie in memory, one class a dtype. Kernels are generic over such a class: `at<BF16>().load(p)` reads
 * the elements that fill one vector of the class's own lanes (four f32; two f64 for F64). The classes have no
 * instances: methods are called on a null reference, and inlined.
 *
 *   bytes            of an element
 *   load, load1      a full vector; one element in lane 0 (other lanes: anything)
 *   store2, store1   two vectors, rounded once to nearest even; lane 0
 *   half0, half1     the elements of a block of two vectors, shared out between two vectors in whatever way is cheapest
 *   join             stores a block so shared out, rounded as by store2, but what it stores for a NaN is undefined
 *
 * store2 and store1 make every NaN the dtype's positive quiet NaN without payload: the bits of a computed NaN are the
 * one thing that WebAssembly leaves to the machine.
 */

/** Elements of a chunk; the same number as CHUNK in ../types.ts. */
export const CHUNK: usize = 4096

/** Elements of a tile; the same number as TILE in ../types.ts. */
export const TILE: usize = 1 << 18

/** The sign of every lane. */
// @ts-ignore: decorator
@inline
export function signBit<C>(): v128 { return sizeof<C>() == 8 ? i64x2.splat(0x8000000000000000) : i32x4.splat(0x80000000) }

/**
 * Constants that vectors are filled with, in memory: V8 builds a literal vector anew in each round of a loop, by three
 * instructions where loading one takes one, and so loses a third of the speed.
 */
// Of float32: its quiet NaN, infinity, sign, all but the sign, and 0.5.
const NAN32 = memory.data<u32>([0x7fc00000])
const INFINITY32 = memory.data<u32>([0x7f800000])
const SIGN = memory.data<u32>([0x80000000])
const MAGNITUDE = memory.data<u32>([0x7fffffff])
const HALF32 = memory.data<u32>([0x3f000000])
// To round at bit 16.
const UPPER = memory.data<u32>([0xffff0000])
const ONE = memory.data<u32>([1])
const BELOW_HALF = memory.data<u32>([0x7fff])
// Of binary16, put where float32 has its exponent and fraction: see `halves` and `round`.
const UPPER_MAGNITUDE = memory.data<u32>([0x7fff0000])
const LEAST16 = memory.data<u32>([(127 - 14) << 23])
const NORMAL16 = memory.data<u32>([0x0400 << 13])
const REBIAS16 = memory.data<u32>([(127 - 15) << 23])
const FINITE16 = memory.data<u32>([(0x7c00 << 13) - 1])
const OVERFLOW16 = memory.data<u32>([(127 + 16) << 23])
const ROUND16 = memory.data<u32>([0xfff - ((127 - 15) << 23)])
const SIGN16 = memory.data<u32>([0x8000])
const NAN16 = memory.data<u32>([0x7e00])
// The same for E4M3.
const MAGNITUDE8 = memory.data<u32>([0x7f])
const LEAST8 = memory.data<u32>([(127 - 6) << 23])
const NORMAL8 = memory.data<u32>([0x08 << 20])
const REBIAS8 = memory.data<u32>([(127 - 7) << 23])
const NAN8 = memory.data<u32>([0x7f << 20])
const SIGN8 = memory.data<u32>([0x80])

// @ts-ignore: decorator
@inline
function word(constant: usize): v128 {
  return v128.load32_splat(constant)
}

// @ts-ignore: decorator
@inline
export function at<S>(): S {
  return changetype<S>(0)
}

// @ts-ignore: decorator
@inline
export function canonical32(x: v128): v128 {
  return v128.bitselect(x, word(NAN32), f32x4.eq(x, x))
}

// @ts-ignore: decorator
@inline
export function canonical64(x: v128): v128 {
  return v128.bitselect(x, i64x2.splat(0x7ff8000000000000), f64x2.eq(x, x))
}

/** Narrows two pairs of f64 to four f32, to nearest even. */
// @ts-ignore: decorator
@inline
export function narrow(lo: v128, hi: v128): v128 {
  return v128.shuffle<u64>(f32x4.demote_f64x2_zero(lo), f32x4.demote_f64x2_zero(hi), 0, 2)
}

/** Masks of two pairs of f64 as masks of four f32. */
// @ts-ignore: decorator
@inline
function lowHalves(lo: v128, hi: v128): v128 {
  return v128.shuffle<u32>(lo, hi, 0, 2, 4, 6)
}

/**
 * Narrows two pairs of f64 to four f32, rounding to odd: inexact results get a last bit of 1. A second rounding to a
 * dtype that is at least two bits shorter then gives what one rounding of the f64 gives (Boldo and Melquiond 2008).
 */
// @ts-ignore: decorator
@inline
export function narrowToOdd(lo: v128, hi: v128): v128 {
  const nearest = narrow(lo, hi)
  const backLo = f64x2.promote_low_f32x4(nearest)
  const backHi = f64x2.promote_low_f32x4(v128.shuffle<u64>(nearest, nearest, 1, 1))
  const inexact = lowHalves(f64x2.ne(backLo, lo), f64x2.ne(backHi, hi))
  const away = lowHalves(
    f64x2.gt(f64x2.abs(backLo), f64x2.abs(lo)),
    f64x2.gt(f64x2.abs(backHi), f64x2.abs(hi)),
  )
  // Adding the mask of all ones is one step towards zero; from infinity it is the largest finite number, which is odd.
  return v128.or(i32x4.add(nearest, away), i32x4.shr_u(inexact, 31))
}

// @ts-ignore: decorator
@unmanaged @final
export class F64 {
  // @ts-ignore: decorator
  @inline get bytes(): usize { return 8 }
  // @ts-ignore: decorator
  @inline load(p: usize): v128 { return v128.load(p) }
  // @ts-ignore: decorator
  @inline load1(p: usize): v128 { return v128.load64_zero(p) }
  // @ts-ignore: decorator
  @inline half0(p: usize): v128 { return v128.load(p) }
  // @ts-ignore: decorator
  @inline half1(p: usize): v128 { return v128.load(p, 16) }
  // @ts-ignore: decorator
  @inline join(p: usize, a: v128, b: v128): void {
    v128.store(p, a)
    v128.store(p, b, 16)
  }
  // @ts-ignore: decorator
  @inline store2(p: usize, lo: v128, hi: v128): void {
    v128.store(p, canonical64(lo))
    v128.store(p, canonical64(hi), 16)
  }
  // @ts-ignore: decorator
  @inline store1(p: usize, x: v128): void { v128.store64_lane(p, canonical64(x), 0) }
}

// @ts-ignore: decorator
@unmanaged @final
export class F32 {
  // @ts-ignore: decorator
  @inline get bytes(): usize { return 4 }
  // @ts-ignore: decorator
  @inline load(p: usize): v128 { return v128.load(p) }
  // @ts-ignore: decorator
  @inline load1(p: usize): v128 { return v128.load32_zero(p) }
  // @ts-ignore: decorator
  @inline half0(p: usize): v128 { return v128.load(p) }
  // @ts-ignore: decorator
  @inline half1(p: usize): v128 { return v128.load(p, 16) }
  // @ts-ignore: decorator
  @inline join(p: usize, a: v128, b: v128): void {
    v128.store(p, a)
    v128.store(p, b, 16)
  }
  // @ts-ignore: decorator
  @inline store2(p: usize, lo: v128, hi: v128): void {
    v128.store(p, canonical32(lo))
    v128.store(p, canonical32(hi), 16)
  }
  // @ts-ignore: decorator
  @inline store1(p: usize, x: v128): void { v128.store32_lane(p, canonical32(x), 0) }
}

// @ts-ignore: decorator
@unmanaged @final
export class BF16 {
  // @ts-ignore: decorator
  @inline get bytes(): usize { return 2 }
  // @ts-ignore: decorator
  @inline load(p: usize): v128 { return i32x4.shl(v128.load16x4_u(p), 16) }
  // @ts-ignore: decorator
  @inline load1(p: usize): v128 { return i32x4.splat(<i32>load<u16>(p) << 16) }
  /** Elements 0, 2, 4, 6; these and their neighbours cost one operation each, where two vectors in order cost four. */
  // @ts-ignore: decorator
  @inline half0(p: usize): v128 { return i32x4.shl(v128.load(p), 16) }
  // @ts-ignore: decorator
  @inline half1(p: usize): v128 { return v128.and(v128.load(p), word(UPPER)) }
  // @ts-ignore: decorator
  @inline join(p: usize, a: v128, b: v128): void {
    // Every other half from each: one operation where two masks and an `or` are three.
    v128.store(p, v128.shuffle<u16>(i32x4.shr_u(this.round(a), 16), this.round(b), 0, 9, 2, 11, 4, 13, 6, 15))
  }
  /** To nearest even, in the upper halves. A canonical NaN is not moved. */
  // @ts-ignore: decorator
  @inline round(x: v128): v128 {
    const odd = v128.and(i32x4.shr_u(x, 16), word(ONE))
    return i32x4.add(i32x4.add(x, word(BELOW_HALF)), odd)
  }
  /** Four f32 to their bits in the low halves. */
  // @ts-ignore: decorator
  @inline encode(x: v128): v128 { return i32x4.shr_u(this.round(canonical32(x)), 16) }
  // @ts-ignore: decorator
  @inline store2(p: usize, lo: v128, hi: v128): void {
    v128.store(p, i16x8.narrow_i32x4_u(this.encode(lo), this.encode(hi)))
  }
  // @ts-ignore: decorator
  @inline store1(p: usize, x: v128): void { v128.store16_lane(p, this.encode(x), 0) }
}

/** binary16 bits in the upper halves of four lanes to f32. Exact: subnormals come from an exact subtraction. */
// @ts-ignore: decorator
@inline
function halves(upper: v128): v128 {
  // Signed comparisons throughout: unsigned ones cost more instructions on x86, and no operand has its sign bit set.
  const magnitude = i32x4.shr_u(v128.and(upper, word(UPPER_MAGNITUDE)), 3)
  const tiny = word(LEAST16)
  const subnormal = i32x4.gt_s(word(NORMAL16), magnitude)
  // A subnormal number gets the exponent of the least normal ones, and the leading bit this implies taken off again.
  const exponent = i32x4.sub(word(REBIAS16), i32x4.shl(subnormal, 23))
  const finite = f32x4.sub(i32x4.add(magnitude, exponent), v128.and(subnormal, tiny))
  const special = v128.and(i32x4.gt_s(magnitude, word(FINITE16)), word(INFINITY32))
  return v128.or(v128.or(finite, special), v128.and(upper, word(SIGN)))
}

// @ts-ignore: decorator
@unmanaged @final
export class F16 {
  // @ts-ignore: decorator
  @inline get bytes(): usize { return 2 }
  // @ts-ignore: decorator
  @inline load(p: usize): v128 { return halves(i32x4.shl(v128.load16x4_u(p), 16)) }
  // @ts-ignore: decorator
  @inline load1(p: usize): v128 { return halves(i32x4.splat(<i32>load<u16>(p) << 16)) }
  // @ts-ignore: decorator
  @inline half0(p: usize): v128 { return halves(i32x4.shl(v128.load(p), 16)) }
  // @ts-ignore: decorator
  @inline half1(p: usize): v128 { return halves(v128.load(p)) }
  // @ts-ignore: decorator
  @inline join(p: usize, a: v128, b: v128): void {
    v128.store(p, v128.or(this.round(a), i32x4.shl(this.round(b), 16)))
  }
  /** Four f32 to their bits in the low halves; NaN to infinity. */
  // @ts-ignore: decorator
  @inline round(x: v128): v128 {
    const magnitude = v128.and(x, word(MAGNITUDE))
    // From 2^16 on, infinities and NaN too, 2^16 stands for all: it rounds to the bits of infinity.
    const clamped = i32x4.min_s(magnitude, word(OVERFLOW16))
    const odd = v128.and(i32x4.shr_u(clamped, 13), word(ONE))
    const normal = i32x4.shr_u(i32x4.add(i32x4.add(clamped, word(ROUND16)), odd), 13)
    // Below 2^-14 the unit is 2^-24, the last bit of 0.5: the addition does the rounding.
    const half = word(HALF32)
    const subnormal = i32x4.sub(f32x4.add(clamped, half), half)
    const rounded = v128.bitselect(subnormal, normal, i32x4.gt_s(word(LEAST16), magnitude))
    return v128.or(rounded, v128.and(i32x4.shr_u(x, 16), word(SIGN16)))
  }
  // @ts-ignore: decorator
  @inline encode(x: v128): v128 { return v128.bitselect(this.round(x), word(NAN16), f32x4.eq(x, x)) }
  // @ts-ignore: decorator
  @inline store2(p: usize, lo: v128, hi: v128): void {
    v128.store(p, i16x8.narrow_i32x4_u(this.encode(lo), this.encode(hi)))
  }
  // @ts-ignore: decorator
  @inline store1(p: usize, x: v128): void { v128.store16_lane(p, this.encode(x), 0) }
}

/** Four bytes, widened to four lanes. */
// @ts-ignore: decorator
@inline
function load4Bytes(p: usize): v128 {
  return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(p)))
}

/** E5M2 is the upper byte of a binary16. Read only. */
// @ts-ignore: decorator
@unmanaged @final
export class F8_E5M2 {
  // @ts-ignore: decorator
  @inline get bytes(): usize { return 1 }
  // @ts-ignore: decorator
  @inline load(p: usize): v128 { return halves(i32x4.shl(load4Bytes(p), 24)) }
  // @ts-ignore: decorator
  @inline load1(p: usize): v128 { return halves(i32x4.splat(<i32>load<u8>(p) << 24)) }
}

/** E4M3 as the OCP 8-bit floating point specification has it: no infinities, NaN where all bits but the sign are set. Read only. */
// @ts-ignore: decorator
@unmanaged @final
export class F8_E4M3 {
  // @ts-ignore: decorator
  @inline get bytes(): usize { return 1 }
  // @ts-ignore: decorator
  @inline decode(bits: v128): v128 {
    const magnitude = i32x4.shl(v128.and(bits, word(MAGNITUDE8)), 20)
    const tiny = word(LEAST8)
    const subnormal = i32x4.gt_s(word(NORMAL8), magnitude)
    const exponent = i32x4.sub(word(REBIAS8), i32x4.shl(subnormal, 23))
    const finite = f32x4.sub(i32x4.add(magnitude, exponent), v128.and(subnormal, tiny))
    const nan = v128.and(i32x4.eq(magnitude, word(NAN8)), word(NAN32))
    return v128.or(v128.or(finite, nan), i32x4.shl(v128.and(bits, word(SIGN8)), 24))
  }
  // @ts-ignore: decorator
  @inline load(p: usize): v128 { return this.decode(load4Bytes(p)) }
  // @ts-ignore: decorator
  @inline load1(p: usize): v128 { return this.decode(i32x4.splat(<i32>load<u8>(p))) }
}

/** Rounds n elements of f32 to storage; S is not F64. */
export function encode32<S>(src: usize, dst: usize, n: usize): void {
  const bytes = at<S>().bytes
  const blocks = src + ((n & ~7) << 2), end = src + (n << 2)
  while (src < blocks) {
    at<S>().store2(dst, v128.load(src), v128.load(src, 16))
    src += 32
    dst += 8 * bytes
  }
  while (src < end) {
    at<S>().store1(dst, v128.load32_zero(src))
    src += 4
    dst += bytes
  }
}

/**
 * How elements lie in memory, one class a dtype. Kernels are generic over such a class: `at<BF16>().load(p)` reads
 * the elements that fill one vector of the class's own lanes (four f32; two f64 for F64). The classes have no
 * instances: methods are called on a null reference, and inlined.
 *
 *   bytes            of an element
 *   load, load1      a full vector; one element in lane 0 (other lanes: anything)
 *   store2, store1   two vectors, rounded once to nearest even; lane 0
 *
 * Storing makes every NaN the dtype's positive quiet NaN without payload: the bits of a computed NaN are the one thing
 * that WebAssembly leaves to the machine.
 */

// @ts-ignore: decorator
@inline
export function at<S>(): S {
  return changetype<S>(0)
}

// @ts-ignore: decorator
@inline
export function canonical32(x: v128): v128 {
  return v128.bitselect(x, i32x4.splat(0x7fc00000), f32x4.eq(x, x))
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
  /** Four f32 to their bits in the low halves. A canonical NaN is not moved by the rounding. */
  // @ts-ignore: decorator
  @inline encode(x: v128): v128 {
    const c = canonical32(x)
    const odd = v128.and(i32x4.shr_u(c, 16), i32x4.splat(1))
    return i32x4.shr_u(i32x4.add(i32x4.add(c, i32x4.splat(0x7fff)), odd), 16)
  }
  // @ts-ignore: decorator
  @inline store2(p: usize, lo: v128, hi: v128): void {
    v128.store(p, i16x8.narrow_i32x4_u(this.encode(lo), this.encode(hi)))
  }
  // @ts-ignore: decorator
  @inline store1(p: usize, x: v128): void { v128.store16_lane(p, this.encode(x), 0) }
}

/** binary16 bits in the low halves of four lanes to f32. Exact, so subnormals come from an exact subtraction. */
// @ts-ignore: decorator
@inline
function halves(bits: v128): v128 {
  const magnitude = i32x4.shl(v128.and(bits, i32x4.splat(0x7fff)), 13)
  const normal = i32x4.add(magnitude, i32x4.splat((127 - 15) << 23))
  const tiny = i32x4.splat((127 - 14) << 23)
  const subnormal = f32x4.sub(i32x4.add(magnitude, tiny), tiny)
  const finite = v128.bitselect(subnormal, normal, i32x4.lt_u(magnitude, i32x4.splat(0x0400 << 13)))
  const special = v128.and(i32x4.ge_u(magnitude, i32x4.splat(0x7c00 << 13)), i32x4.splat(0x7f800000))
  return v128.or(v128.or(finite, special), i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16))
}

// @ts-ignore: decorator
@unmanaged @final
export class F16 {
  // @ts-ignore: decorator
  @inline get bytes(): usize { return 2 }
  // @ts-ignore: decorator
  @inline load(p: usize): v128 { return halves(v128.load16x4_u(p)) }
  // @ts-ignore: decorator
  @inline load1(p: usize): v128 { return halves(i32x4.splat(<i32>load<u16>(p))) }
  /** Four f32 to their bits in the low halves. */
  // @ts-ignore: decorator
  @inline encode(x: v128): v128 {
    const magnitude = v128.and(x, i32x4.splat(0x7fffffff))
    // From 2^16 on, infinities and NaN too, 2^16 stands for all: it rounds to the bits of infinity.
    const clamped = i32x4.min_s(magnitude, i32x4.splat((127 + 16) << 23))
    const odd = v128.and(i32x4.shr_u(clamped, 13), i32x4.splat(1))
    const normal = i32x4.shr_u(
      i32x4.add(i32x4.add(clamped, i32x4.splat(0xfff - ((127 - 15) << 23))), odd),
      13,
    )
    // Below 2^-14 the unit is 2^-24, the last bit of 0.5: the addition does the rounding.
    const half = i32x4.splat(0x3f000000)
    const subnormal = i32x4.sub(f32x4.add(clamped, half), half)
    const rounded = v128.bitselect(subnormal, normal, i32x4.lt_s(magnitude, i32x4.splat((127 - 14) << 23)))
    const signed = v128.or(rounded, v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000)))
    return v128.bitselect(signed, i32x4.splat(0x7e00), f32x4.eq(x, x))
  }
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
  @inline load(p: usize): v128 { return halves(i32x4.shl(load4Bytes(p), 8)) }
  // @ts-ignore: decorator
  @inline load1(p: usize): v128 { return halves(i32x4.splat(<i32>load<u8>(p) << 8)) }
}

/** E4M3 as the OCP 8-bit floating point specification has it: no infinities, NaN where all bits but the sign are set. Read only. */
// @ts-ignore: decorator
@unmanaged @final
export class F8_E4M3 {
  // @ts-ignore: decorator
  @inline get bytes(): usize { return 1 }
  // @ts-ignore: decorator
  @inline decode(bits: v128): v128 {
    const magnitude = i32x4.shl(v128.and(bits, i32x4.splat(0x7f)), 20)
    const normal = i32x4.add(magnitude, i32x4.splat((127 - 7) << 23))
    const tiny = i32x4.splat((127 - 6) << 23)
    const subnormal = f32x4.sub(i32x4.add(magnitude, tiny), tiny)
    const finite = v128.bitselect(subnormal, normal, i32x4.lt_u(magnitude, i32x4.splat(0x08 << 20)))
    const nan = v128.and(i32x4.eq(magnitude, i32x4.splat(0x7f << 20)), i32x4.splat(0x7fc00000))
    return v128.or(v128.or(finite, nan), i32x4.shl(v128.and(bits, i32x4.splat(0x80)), 24))
  }
  // @ts-ignore: decorator
  @inline load(p: usize): v128 { return this.decode(load4Bytes(p)) }
  // @ts-ignore: decorator
  @inline load1(p: usize): v128 { return this.decode(i32x4.splat(<i32>load<u8>(p))) }
}

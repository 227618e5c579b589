/**
 * Philox4x32-10 as core/random.ts has it, eight blocks at a time: element i of a stream takes word i mod 4 of block ⌊i/4⌋.
 *
 * Four blocks are four vectors, one for each word. A product of four lanes takes two operations, and two shuffles part it into
 * upper and lower halves. Two times four blocks take turns at the multiplier.
 */

/** Upper halves of the products of four lanes, given as two vectors. */
// @ts-ignore: decorator
@inline
function upperHalves(a: v128, b: v128): v128 { return v128.shuffle<u32>(a, b, 1, 3, 5, 7) }

// @ts-ignore: decorator
@inline
function lowerHalves(a: v128, b: v128): v128 { return v128.shuffle<u32>(a, b, 0, 2, 4, 6) }

/** Stores four blocks, of which each vector has one word. */
// @ts-ignore: decorator
@inline
function storeBlocks(p: usize, c0: v128, c1: v128, c2: v128, c3: v128): void {
  const a = v128.shuffle<u32>(c0, c1, 0, 4, 1, 5), b = v128.shuffle<u32>(c2, c3, 0, 4, 1, 5)
  const c = v128.shuffle<u32>(c0, c1, 2, 6, 3, 7), d = v128.shuffle<u32>(c2, c3, 2, 6, 3, 7)
  v128.store(p, v128.shuffle<u64>(a, b, 0, 2))
  v128.store(p, v128.shuffle<u64>(a, b, 1, 3), 16)
  v128.store(p, v128.shuffle<u64>(c, d, 0, 2), 32)
  v128.store(p, v128.shuffle<u64>(c, d, 1, 3), 48)
}

/** The lower words of the counters of four blocks from one on. */
// @ts-ignore: decorator
@inline
function lowerWords(block: u64): v128 {
  return i32x4(<i32>block, <i32>(block + 1), <i32>(block + 2), <i32>(block + 3))
}

// @ts-ignore: decorator
@inline
function upperWords(block: u64): v128 {
  return i32x4(<i32>(block >> 32), <i32>((block + 1) >> 32), <i32>((block + 2) >> 32), <i32>((block + 3) >> 32))
}

/**
 * Words of the elements from `first` on, at least m of them, for a stream of four u32 stored as f64. `room` has place
 * for m + 34 words; returns where the first one lies.
 */
export function randomWords(stream: usize, first: u64, m: usize, room: usize): usize {
  const factor0 = i32x4.splat(0xd2511f53), factor1 = i32x4.splat(0xcd9e8d57)
  const weyl0 = i32x4.splat(0x9e3779b9), weyl1 = i32x4.splat(0xbb67ae85)
  const key0 = i32x4.splat(<i32><u32>load<f64>(stream)), key1 = i32x4.splat(<i32><u32>load<f64>(stream, 8))
  const third = i32x4.splat(<i32><u32>load<f64>(stream, 16)), fourth = i32x4.splat(<i32><u32>load<f64>(stream, 24))
  const skipped = <usize>(first & 3)
  const end = room + ((m + skipped) << 2)
  let block = first >> 2
  for (let p = room; p < end; p += 128) {
    let a0 = lowerWords(block), a1 = upperWords(block), a2 = third, a3 = fourth
    let b0 = lowerWords(block + 4), b1 = upperWords(block + 4), b2 = third, b3 = fourth
    let k0 = key0, k1 = key1
    for (let round = 0; round < 10; round++) {
      const x0 = i64x2.extmul_low_i32x4_u(a0, factor0), x1 = i64x2.extmul_high_i32x4_u(a0, factor0)
      const x2 = i64x2.extmul_low_i32x4_u(a2, factor1), x3 = i64x2.extmul_high_i32x4_u(a2, factor1)
      const y0 = i64x2.extmul_low_i32x4_u(b0, factor0), y1 = i64x2.extmul_high_i32x4_u(b0, factor0)
      const y2 = i64x2.extmul_low_i32x4_u(b2, factor1), y3 = i64x2.extmul_high_i32x4_u(b2, factor1)
      a0 = v128.xor(v128.xor(upperHalves(x2, x3), a1), k0)
      a2 = v128.xor(v128.xor(upperHalves(x0, x1), a3), k1)
      a1 = lowerHalves(x2, x3)
      a3 = lowerHalves(x0, x1)
      b0 = v128.xor(v128.xor(upperHalves(y2, y3), b1), k0)
      b2 = v128.xor(v128.xor(upperHalves(y0, y1), b3), k1)
      b1 = lowerHalves(y2, y3)
      b3 = lowerHalves(y0, y1)
      k0 = i32x4.add(k0, weyl0)
      k1 = i32x4.add(k1, weyl1)
    }
    storeBlocks(p, a0, a1, a2, a3)
    storeBlocks(p + 64, b0, b1, b2, b3)
    block += 8
  }
  return room + (skipped << 2)
}

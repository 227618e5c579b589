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

const FACTOR0: u64 = 0xd2511f53
const FACTOR1: u64 = 0xcd9e8d57
const WEYL0: u32 = 0x9e3779b9
const WEYL1: u32 = 0xbb67ae85

/**
 * Words of the elements from `first` on, at least m of them, for a stream of four u32 stored as f64. `room` has place
 * for m + 34 words; returns where the first one lies.
 */
export function randomWords(stream: usize, first: u64, m: usize, room: usize): usize {
  const skipped = <usize>(first & 3)
  const end = room + ((m + skipped) << 2)
  let block = first >> 2, p = room
  for (;;) {
    // What is beyond the last block with these upper words is made again with the next ones.
    const left = (((block >> 32) + 1) << 32) - block, turn = p + (<usize>min<u64>(left, 1 << 20) << 4)
    wordsOf(stream, block, p, min(turn, end))
    if (turn >= end) break
    block += left
    p = turn
  }
  return room + (skipped << 2)
}

/**
 * Blocks from one on to before `end`, and as many as make eight. Only the lowest words of their counters differ, so that of the first
 * two rounds one product each is the same for all.
 */
function wordsOf(stream: usize, block: u64, p: usize, end: usize): void {
  const first = <u32>load<f64>(stream), second = <u32>load<f64>(stream, 8)
  const one = <u64>(<u32>load<f64>(stream, 16)) * FACTOR1
  const two = <u64>(<u32>(one >> 32) ^ <u32>(block >> 32) ^ first) * FACTOR0
  const factor0 = i32x4.splat(<i32>FACTOR0), factor1 = i32x4.splat(<i32>FACTOR1)
  const weyl0 = i32x4.splat(<i32>WEYL0), weyl1 = i32x4.splat(<i32>WEYL1)
  const inRound1 = i32x4.splat(<i32>(<u32>load<f64>(stream, 24) ^ second))
  const zeroInRound2 = i32x4.splat(<i32>(<u32>one ^ (first + WEYL0)))
  const twoInRound2 = i32x4.splat(<i32>(<u32>(two >> 32) ^ (second + WEYL1)))
  const threeAfter = i32x4.splat(<i32>two)
  const key0 = i32x4.splat(<i32>(first + 2 * WEYL0)), key1 = i32x4.splat(<i32>(second + 2 * WEYL1))
  const four = i32x4.splat(4)
  let counters = i32x4.add(i32x4.splat(<i32>block), i32x4(0, 1, 2, 3))
  for (; p < end; p += 128) {
    const others = i32x4.add(counters, four)
    let x0 = i64x2.extmul_low_i32x4_u(counters, factor0), x1 = i64x2.extmul_high_i32x4_u(counters, factor0)
    let y0 = i64x2.extmul_low_i32x4_u(others, factor0), y1 = i64x2.extmul_high_i32x4_u(others, factor0)
    counters = i32x4.add(others, four)
    let a2 = v128.xor(upperHalves(x0, x1), inRound1), a3 = lowerHalves(x0, x1)
    let b2 = v128.xor(upperHalves(y0, y1), inRound1), b3 = lowerHalves(y0, y1)
    x0 = i64x2.extmul_low_i32x4_u(a2, factor1)
    x1 = i64x2.extmul_high_i32x4_u(a2, factor1)
    y0 = i64x2.extmul_low_i32x4_u(b2, factor1)
    y1 = i64x2.extmul_high_i32x4_u(b2, factor1)
    let a0 = v128.xor(upperHalves(x0, x1), zeroInRound2), a1 = lowerHalves(x0, x1)
    let b0 = v128.xor(upperHalves(y0, y1), zeroInRound2), b1 = lowerHalves(y0, y1)
    a2 = v128.xor(a3, twoInRound2)
    b2 = v128.xor(b3, twoInRound2)
    a3 = threeAfter
    b3 = threeAfter
    let k0 = key0, k1 = key1
    for (let round = 2; round < 10; round++) {
      x0 = i64x2.extmul_low_i32x4_u(a0, factor0)
      x1 = i64x2.extmul_high_i32x4_u(a0, factor0)
      const x2 = i64x2.extmul_low_i32x4_u(a2, factor1), x3 = i64x2.extmul_high_i32x4_u(a2, factor1)
      y0 = i64x2.extmul_low_i32x4_u(b0, factor0)
      y1 = i64x2.extmul_high_i32x4_u(b0, factor0)
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
  }
}

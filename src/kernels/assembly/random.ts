/**
 * Philox4x32-10 as core/random.ts has it, four blocks at a time: element i of a stream takes word i mod 4 of block ⌊i/4⌋.
 */

// @ts-ignore: decorator
@inline
function lows(even: v128, odd: v128): v128 { return v128.shuffle<u32>(even, odd, 0, 2, 4, 6) }
// @ts-ignore: decorator
@inline
function highs(even: v128, odd: v128): v128 { return v128.shuffle<u32>(even, odd, 1, 3, 5, 7) }

// @ts-ignore: decorator
@inline
function counters(block: u64, shift: u64): v128 {
  return i32x4(
    <i32>(block >> shift), <i32>((block + 1) >> shift), <i32>((block + 2) >> shift), <i32>((block + 3) >> shift),
  )
}

/**
 * Words of the elements from `first` on, at least m of them, for a stream of four u32 stored as f64. `room` has place
 * for m + 19 words; returns where the first one lies.
 */
export function randomWords(stream: usize, first: u64, m: usize, room: usize): usize {
  const m0 = i32x4.splat(0xd2511f53), m1 = i32x4.splat(0xcd9e8d57)
  const w0 = i32x4.splat(0x9e3779b9), w1 = i32x4.splat(0xbb67ae85)
  const key0 = i32x4.splat(<i32><u32>load<f64>(stream)), key1 = i32x4.splat(<i32><u32>load<f64>(stream, 8))
  const upper0 = i32x4.splat(<i32><u32>load<f64>(stream, 16)), upper1 = i32x4.splat(<i32><u32>load<f64>(stream, 24))
  const skipped = <usize>(first & 3)
  const end = room + ((m + skipped) << 2)
  let block = first >> 2
  for (let p = room; p < end; p += 64) {
    let c0 = counters(block, 0), c1 = counters(block, 32), c2 = upper0, c3 = upper1
    let k0 = key0, k1 = key1
    for (let round = 0; round < 10; round++) {
      const even0 = i64x2.extmul_low_i32x4_u(m0, c0), odd0 = i64x2.extmul_high_i32x4_u(m0, c0)
      const even1 = i64x2.extmul_low_i32x4_u(m1, c2), odd1 = i64x2.extmul_high_i32x4_u(m1, c2)
      c0 = v128.xor(v128.xor(highs(even1, odd1), c1), k0)
      c1 = lows(even1, odd1)
      c2 = v128.xor(v128.xor(highs(even0, odd0), c3), k1)
      c3 = lows(even0, odd0)
      k0 = i32x4.add(k0, w0)
      k1 = i32x4.add(k1, w1)
    }
    // Lane j of c0 … c3 are the words of block j: four by four, turned.
    const a = v128.shuffle<u32>(c0, c1, 0, 4, 1, 5), b = v128.shuffle<u32>(c2, c3, 0, 4, 1, 5)
    const c = v128.shuffle<u32>(c0, c1, 2, 6, 3, 7), d = v128.shuffle<u32>(c2, c3, 2, 6, 3, 7)
    v128.store(p, v128.shuffle<u64>(a, b, 0, 2))
    v128.store(p, v128.shuffle<u64>(a, b, 1, 3), 16)
    v128.store(p, v128.shuffle<u64>(c, d, 0, 2), 32)
    v128.store(p, v128.shuffle<u64>(c, d, 1, 3), 48)
    block += 4
  }
  return room + (skipped << 2)
}

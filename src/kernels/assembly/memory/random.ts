/**
 * Philox4x32-10 as core/random.ts has it, four blocks at a time: element i of a stream takes word i mod 4 of block ⌊i/4⌋.
 *
 * A block is one vector [c0, c2, c1, c3]: then one product of two lanes does both multiplications of a round, what it gives
 * is put in order by one shuffle, and four blocks take turns at the multiplier.
 */

/** The products of a block's c0 and c2, in the order of the next round: high of c2, high of c0, low of c2, low of c0. */
// @ts-ignore: decorator
@inline
function multiplied(x: v128, factors: v128): v128 {
  const product = i64x2.extmul_low_i32x4_u(x, factors)
  return v128.shuffle<u32>(product, product, 3, 1, 2, 0)
}

/** The next c0 and c2; c1 and c3 are the products' low halves as they stand. */
// @ts-ignore: decorator
@inline
function mixed(products: v128, before: v128, key: v128): v128 {
  return v128.xor(v128.xor(products, v128.shuffle<u32>(before, before, 2, 3, 2, 3)), key)
}

// @ts-ignore: decorator
@inline
function counter(block: u64): v128 { return i32x4(<i32>block, 0, <i32>(block >> 32), 0) }

/** c0, c1, c2, c3 from [c0, c2] and [.., .., c1, c3]. */
// @ts-ignore: decorator
@inline
function inOrder(even: v128, odd: v128): v128 { return v128.shuffle<u32>(even, odd, 0, 6, 1, 7) }

/**
 * Words of the elements from `first` on, at least m of them, for a stream of four u32 stored as f64. `room` has place
 * for m + 19 words; returns where the first one lies.
 */
export function randomWords(stream: usize, first: u64, m: usize, room: usize): usize {
  const factors = i32x4(0xd2511f53, 0xcd9e8d57, 0, 0), weyl = i32x4(0x9e3779b9, 0xbb67ae85, 0, 0)
  const key = i32x4(<i32><u32>load<f64>(stream), <i32><u32>load<f64>(stream, 8), 0, 0)
  const upper = i32x4(0, <i32><u32>load<f64>(stream, 16), 0, <i32><u32>load<f64>(stream, 24))
  const skipped = <usize>(first & 3)
  const end = room + ((m + skipped) << 2)
  let block = first >> 2
  for (let p = room; p < end; p += 64) {
    let a = v128.or(counter(block), upper), b = v128.or(counter(block + 1), upper)
    let c = v128.or(counter(block + 2), upper), d = v128.or(counter(block + 3), upper)
    let a1 = a, b1 = b, c1 = c, d1 = d
    let k = key
    for (let round = 0; round < 10; round++) {
      const a2 = multiplied(a, factors), b2 = multiplied(b, factors)
      const c2 = multiplied(c, factors), d2 = multiplied(d, factors)
      a = mixed(a2, a1, k)
      b = mixed(b2, b1, k)
      c = mixed(c2, c1, k)
      d = mixed(d2, d1, k)
      a1 = a2
      b1 = b2
      c1 = c2
      d1 = d2
      k = i32x4.add(k, weyl)
    }
    v128.store(p, inOrder(a, a1))
    v128.store(p, inOrder(b, b1), 16)
    v128.store(p, inOrder(c, c1), 32)
    v128.store(p, inOrder(d, d1), 48)
    block += 4
  }
  return room + (skipped << 2)
}

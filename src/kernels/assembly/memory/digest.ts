/**
 * XXH3 with 128 bits, seed 0 and the default secret, after the public description of XXH3 (xxHash 0.8): all length
 * classes. Digests are written in canonical form: 16 bytes, big-endian, high word first.
 */

const SECRET = memory.data<u8>([
  0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
  0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
  0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
  0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
  0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
  0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
  0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
  0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
  0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
  0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
  0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
  0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
])
const SECRET_BYTES: usize = 192
/** A stripe of input for every 8 bytes of secret; then the accumulators are scrambled. */
const STRIPE: usize = 64
const STRIPES_A_BLOCK: usize = (SECRET_BYTES - STRIPE) / 8

const P32_1: u64 = 0x9e3779b1
const P32_2: u64 = 0x85ebca77
const P32_3: u64 = 0xc2b2ae3d
const P64_1: u64 = 0x9e3779b185ebca87
const P64_2: u64 = 0xc2b2ae3d27d4eb4f
const P64_3: u64 = 0x165667b19e3779f9
const P64_4: u64 = 0x85ebca77c2b2ae63
const P64_5: u64 = 0x27d4eb2f165667c5
const MIX_1: u64 = 0x165667919e3779f9
const MIX_2: u64 = 0x9fb21c651e98df25

// @ts-ignore: decorator
@inline
function secret(offset: usize): u64 { return load<u64>(SECRET + offset) }

// @ts-ignore: decorator
@inline
function write(out: usize, low: u64, high: u64): void {
  store<u64>(out, bswap(high))
  store<u64>(out, bswap(low), 8)
}

// @ts-ignore: decorator
@inline
function avalanche(h: u64): u64 {
  h = (h ^ (h >> 37)) * MIX_1
  return h ^ (h >> 32)
}

/** The finish of the older XXH64, used for the shortest inputs. */
// @ts-ignore: decorator
@inline
function avalanche64(h: u64): u64 {
  h = (h ^ (h >> 33)) * P64_2
  h = (h ^ (h >> 29)) * P64_3
  return h ^ (h >> 32)
}

/** Upper word of the 128-bit product. */
// @ts-ignore: decorator
@inline
function mulHigh(a: u64, b: u64): u64 {
  const al = a & 0xffffffff, ah = a >> 32, bl = b & 0xffffffff, bh = b >> 32
  const hl = ah * bl
  const middle = ((al * bl) >> 32) + (hl & 0xffffffff) + al * bh
  return ah * bh + (hl >> 32) + (middle >> 32)
}

// @ts-ignore: decorator
@inline
function fold(a: u64, b: u64): u64 { return (a * b) ^ mulHigh(a, b) }

function upTo3(p: usize, len: usize, out: usize): void {
  const first = <u32>load<u8>(p), middle = <u32>load<u8>(p + (len >> 1)), last = <u32>load<u8>(p + len - 1)
  const low: u32 = (first << 16) | (middle << 24) | last | (<u32>len << 8)
  const high = rotl<u32>(bswap<u32>(low), 13)
  const flipLow = <u64>(load<u32>(SECRET) ^ load<u32>(SECRET, 4))
  const flipHigh = <u64>(load<u32>(SECRET, 8) ^ load<u32>(SECRET, 12))
  write(out, avalanche64(<u64>low ^ flipLow), avalanche64(<u64>high ^ flipHigh))
}

function upTo8(p: usize, len: usize, out: usize): void {
  const input = <u64>load<u32>(p) | (<u64>load<u32>(p + len - 4) << 32)
  const keyed = input ^ secret(16) ^ secret(24), factor = P64_1 + (<u64>len << 2)
  let low = keyed * factor, high = mulHigh(keyed, factor)
  high += low << 1
  low ^= high >> 3
  low = (low ^ (low >> 35)) * MIX_2
  write(out, low ^ (low >> 28), avalanche(high))
}

function upTo16(p: usize, len: usize, out: usize): void {
  const first = load<u64>(p)
  let last = load<u64>(p + len - 8)
  const mixed = first ^ last ^ secret(32) ^ secret(40)
  let low = mixed * P64_1, high = mulHigh(mixed, P64_1)
  low += (<u64>len - 1) << 54
  last ^= secret(48) ^ secret(56)
  high += last + (last & 0xffffffff) * (P32_2 - 1)
  low ^= bswap(high)
  write(out, avalanche(low * P64_2), avalanche(mulHigh(low, P64_2) + high * P64_2))
}

// @ts-ignore: decorator
@inline
function mix16(p: usize, key: usize): u64 {
  return fold(load<u64>(p) ^ secret(key), load<u64>(p, 8) ^ secret(key + 8))
}

/** One step of the low accumulator; the high one takes the same with `p` and `q` exchanged and `key` 16 further. */
// @ts-ignore: decorator
@inline
function mix32(sum: u64, p: usize, q: usize, key: usize): u64 {
  return (sum + mix16(p, key)) ^ (load<u64>(q) + load<u64>(q, 8))
}

// @ts-ignore: decorator
@inline
function finishMiddle(low: u64, high: u64, len: usize, out: usize): void {
  const mixed = low * P64_1 + high * P64_4 + <u64>len * P64_2
  write(out, avalanche(low + high), 0 - avalanche(mixed))
}

function upTo128(p: usize, len: usize, out: usize): void {
  let low = <u64>len * P64_1, high: u64 = 0
  const end = p + len
  for (let i = (len - 1) >> 5; ; i--) {
    const head = p + 16 * i, tail = end - 16 * (i + 1)
    low = mix32(low, head, tail, 32 * i)
    high = mix32(high, tail, head, 32 * i + 16)
    if (i == 0) break
  }
  finishMiddle(low, high, len, out)
}

function upTo240(p: usize, len: usize, out: usize): void {
  let low = <u64>len * P64_1, high: u64 = 0
  for (let i: usize = 0; i < 128; i += 32) {
    low = mix32(low, p + i, p + i + 16, i)
    high = mix32(high, p + i + 16, p + i, i + 16)
  }
  low = avalanche(low)
  high = avalanche(high)
  // From here the secret is read from its fourth byte on, and for the last 32 bytes, backwards, at 103 (136 − 17 − 16).
  for (let i: usize = 128; i + 32 <= len; i += 32) {
    low = mix32(low, p + i, p + i + 16, i - 125)
    high = mix32(high, p + i + 16, p + i, i - 109)
  }
  const last = p + len - 16
  low = mix32(low, last, last - 16, 103)
  high = mix32(high, last - 16, last, 119)
  finishMiddle(low, high, len, out)
}

/** What 32 bytes add to four accumulators: the input with its words exchanged, and the product of the keyed halves. */
// @ts-ignore: decorator
@inline
function products(k0: v128, k1: v128, high: bool): v128 {
  const lows = v128.shuffle<u32>(k0, k1, 0, 2, 4, 6), highs = v128.shuffle<u32>(k0, k1, 1, 3, 5, 7)
  return high ? i64x2.extmul_high_i32x4_u(lows, highs) : i64x2.extmul_low_i32x4_u(lows, highs)
}

// @ts-ignore: decorator
@inline
function exchanged(x: v128): v128 { return v128.shuffle<u64>(x, x, 1, 0) }

// @ts-ignore: decorator
@inline
function scramble(a: v128, key: v128): v128 {
  const x = v128.xor(v128.xor(a, i64x2.shr_u(a, 47)), key)
  return i64x2.mul(x, i64x2.splat(P32_1))
}

// @ts-ignore: decorator
@inline
function merge(a0: v128, a1: v128, a2: v128, a3: v128, key: usize, start: u64): u64 {
  const s0 = v128.xor(a0, v128.load(SECRET + key)), s1 = v128.xor(a1, v128.load(SECRET + key + 16))
  const s2 = v128.xor(a2, v128.load(SECRET + key + 32)), s3 = v128.xor(a3, v128.load(SECRET + key + 48))
  return avalanche(
    start +
      fold(i64x2.extract_lane(s0, 0), i64x2.extract_lane(s0, 1)) +
      fold(i64x2.extract_lane(s1, 0), i64x2.extract_lane(s1, 1)) +
      fold(i64x2.extract_lane(s2, 0), i64x2.extract_lane(s2, 1)) +
      fold(i64x2.extract_lane(s3, 0), i64x2.extract_lane(s3, 1)),
  )
}

/**
 * Blocks of stripes, each with its own 8 bytes of the secret; after a block the accumulators are scrambled. What the input itself
 * adds, with its words exchanged, is summed up apart and exchanged once a block: an exchange for every 16 bytes would take a third
 * of the time.
 */
function long(p: usize, len: usize, out: usize): void {
  let a0 = i64x2(P32_3, P64_1), a1 = i64x2(P64_2, P64_3), a2 = i64x2(P64_4, P32_2), a3 = i64x2(P64_5, P32_1)
  // The last stripe ends with the input, whether or not it overlaps the one before, and has its own key.
  const last = p + len - STRIPE
  const stripes = (len - 1) / STRIPE, blocks = stripes / STRIPES_A_BLOCK
  for (let block: usize = 0; block <= blocks; block++) {
    const final = block == blocks
    const end = SECRET + ((final ? stripes - blocks * STRIPES_A_BLOCK : STRIPES_A_BLOCK) << 3)
    let s0 = i64x2.splat(0), s1 = s0, s2 = s0, s3 = s0
    for (let key = SECRET; key < end; key += 8) {
      const x0 = v128.load(p), x1 = v128.load(p, 16), x2 = v128.load(p, 32), x3 = v128.load(p, 48)
      s0 = i64x2.add(s0, x0)
      s1 = i64x2.add(s1, x1)
      s2 = i64x2.add(s2, x2)
      s3 = i64x2.add(s3, x3)
      const k0 = v128.xor(x0, v128.load(key)), k1 = v128.xor(x1, v128.load(key, 16))
      a0 = i64x2.add(a0, products(k0, k1, false))
      a1 = i64x2.add(a1, products(k0, k1, true))
      const k2 = v128.xor(x2, v128.load(key, 32)), k3 = v128.xor(x3, v128.load(key, 48))
      a2 = i64x2.add(a2, products(k2, k3, false))
      a3 = i64x2.add(a3, products(k2, k3, true))
      p += STRIPE
    }
    if (final) {
      const key = SECRET + SECRET_BYTES - STRIPE - 7
      const x0 = v128.load(last), x1 = v128.load(last, 16), x2 = v128.load(last, 32), x3 = v128.load(last, 48)
      const k0 = v128.xor(x0, v128.load(key)), k1 = v128.xor(x1, v128.load(key, 16))
      const k2 = v128.xor(x2, v128.load(key, 32)), k3 = v128.xor(x3, v128.load(key, 48))
      s0 = i64x2.add(s0, x0)
      s1 = i64x2.add(s1, x1)
      s2 = i64x2.add(s2, x2)
      s3 = i64x2.add(s3, x3)
      a0 = i64x2.add(a0, products(k0, k1, false))
      a1 = i64x2.add(a1, products(k0, k1, true))
      a2 = i64x2.add(a2, products(k2, k3, false))
      a3 = i64x2.add(a3, products(k2, k3, true))
    }
    a0 = i64x2.add(a0, exchanged(s0))
    a1 = i64x2.add(a1, exchanged(s1))
    a2 = i64x2.add(a2, exchanged(s2))
    a3 = i64x2.add(a3, exchanged(s3))
    if (final) break
    const key = SECRET + SECRET_BYTES - STRIPE
    a0 = scramble(a0, v128.load(key))
    a1 = scramble(a1, v128.load(key, 16))
    a2 = scramble(a2, v128.load(key, 32))
    a3 = scramble(a3, v128.load(key, 48))
  }
  write(
    out,
    merge(a0, a1, a2, a3, 11, <u64>len * P64_1),
    merge(a0, a1, a2, a3, SECRET_BYTES - STRIPE - 11, ~(<u64>len * P64_2)),
  )
}

/** Writes the digest of `len` bytes at `p` to the 16 bytes at `out`. */
export function xxh3_128(p: usize, len: usize, out: usize): void {
  if (len > 240) long(p, len, out)
  else if (len > 128) upTo240(p, len, out)
  else if (len > 16) upTo128(p, len, out)
  else if (len > 8) upTo16(p, len, out)
  else if (len > 3) upTo8(p, len, out)
  else if (len > 0) upTo3(p, len, out)
  else write(out, avalanche64(secret(64) ^ secret(72)), avalanche64(secret(80) ^ secret(88)))
}

/** Writes 16 bytes a leaf of `leafBytes` bytes, the last one perhaps shorter. */
export function xxh3_leaves(p: usize, bytes: usize, leafBytes: usize, out: usize): void {
  for (let done: usize = 0; done < bytes; done += leafBytes) {
    xxh3_128(p + done, min(leafBytes, bytes - done), out)
    out += 16
  }
}

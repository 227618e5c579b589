/** Whether n stored elements are all finite, by the largest of their magnitudes. */
const MAGNITUDES16 = memory.data<u32>([0x7fff7fff])
const MAGNITUDES32 = memory.data<u32>([0x7fffffff])
const UPPER_HALVES = memory.data<u32>([0, 0x7fffffff, 0, 0x7fffffff])

function most16(p: usize, n: usize): i32 {
  const blocks = p + ((n & ~31) << 1), end = p + (n << 1)
  const mask = v128.load32_splat(MAGNITUDES16)
  let a = i16x8.splat(0), b = a, c = a, d = a
  for (; p < blocks; p += 64) {
    a = i16x8.max_s(a, v128.and(v128.load(p), mask))
    b = i16x8.max_s(b, v128.and(v128.load(p, 16), mask))
    c = i16x8.max_s(c, v128.and(v128.load(p, 32), mask))
    d = i16x8.max_s(d, v128.and(v128.load(p, 48), mask))
  }
  a = i16x8.max_s(i16x8.max_s(a, b), i16x8.max_s(c, d))
  a = i16x8.max_s(a, v128.shuffle<u64>(a, a, 1, 0))
  a = i16x8.max_s(a, v128.shuffle<u32>(a, a, 1, 0, 3, 2))
  let most = max<i32>(i16x8.extract_lane_s(a, 0), i16x8.extract_lane_s(a, 1))
  for (; p < end; p += 2) most = max<i32>(most, <i32>load<u16>(p) & 0x7fff)
  return most
}

/** Of magnitudes of 32 bits, or of the upper halves of those of 64. */
// @ts-ignore: decorator
@inline
function most32(p: usize, bytes: usize, wide: bool): i32 {
  const blocks = p + (bytes & ~63), end = p + bytes
  const mask = wide ? v128.load(UPPER_HALVES) : v128.load32_splat(MAGNITUDES32)
  let a = i32x4.splat(0), b = a, c = a, d = a
  for (; p < blocks; p += 64) {
    a = i32x4.max_s(a, v128.and(v128.load(p), mask))
    b = i32x4.max_s(b, v128.and(v128.load(p, 16), mask))
    c = i32x4.max_s(c, v128.and(v128.load(p, 32), mask))
    d = i32x4.max_s(d, v128.and(v128.load(p, 48), mask))
  }
  a = i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d))
  a = i32x4.max_s(a, v128.shuffle<u64>(a, a, 1, 0))
  let most = max<i32>(i32x4.extract_lane(a, 0), i32x4.extract_lane(a, 1))
  for (; p < end; p += wide ? 8 : 4) most = max<i32>(most, <i32>load<u32>(wide ? p + 4 : p) & 0x7fffffff)
  return most
}

export function finite_BF16(p: usize, n: usize): bool { return most16(p, n) < 0x7f80 }
export function finite_F16(p: usize, n: usize): bool { return most16(p, n) < 0x7c00 }
export function finite_F32(p: usize, n: usize): bool { return most32(p, n << 2, false) < 0x7f800000 }
export function finite_F64(p: usize, n: usize): bool { return most32(p, n << 3, true) < 0x7ff00000 }
export function finite_F8_E4M3(p: usize, n: usize): bool {
  for (const end = p + n; p < end; p++) if ((load<u8>(p) & 0x7f) == 0x7f) return false
  return true
}

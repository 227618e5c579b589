/**
 * Kernels of the sparsifying methods work on blocks that stay in the first-level cache, in stages: differences, their
 * keys, masks, combination. Loops go by four elements; the last ones of a tile are copied to where reading on does no harm.
 */
import { encode_f64_F64 } from '../memory/convert'
import { minus } from '../memory/equal'
import { at, encode32, narrow } from '../memory/storage'

/** Elements of a block: a divisor of a chunk. The same number as BLOCK in ../types.ts. */
export const BLOCK: usize = 256

const PAD = memory.data(2 * 256 * 8, 16)
/** A block of results in C, on their way to the output. */
export const OUT = memory.data(256 * 8, 16)
/** A block's masks. */
export const KEPT = memory.data(256 * 4, 16)
/** A block's random words, and as many more as `randomWords` asks for. */
export const WORDS = memory.data((256 + 36) * 4, 16)
const MAGNITUDE = memory.data<u32>([0x7fffffff])
const NAN_KEY = memory.data<u32>([0x7fc00000])

// @ts-ignore: decorator
@inline
function padded<S>(p: usize, m: usize, pad: usize): usize {
  if ((m & 3) == 0) return p
  memory.copy(pad, p, m * at<S>().bytes)
  return pad
}

/** m ≤ BLOCK elements from p on, to be read by fours. */
// @ts-ignore: decorator
@inline
export function block<S>(p: usize, m: usize): usize { return padded<S>(p, m, PAD) }
/** The same for the base: a block of each may be in use. */
// @ts-ignore: decorator
@inline
export function baseBlock<S>(p: usize, m: usize): usize { return padded<S>(p, m, PAD + BLOCK * 8) }

/** x − b of one vector, +0 where both are the same bits; of F64 four elements are two vectors, the second 16 bytes on. */
// @ts-ignore: decorator
@inline
export function difference<S, C>(x: usize, b: usize): v128 {
  return minus<C>(at<S>().load(x), at<S>().load(b))
}

/** Keys of four differences: bits of the magnitude as float32, all NaN alike (a computed one is quiet). `d1` is looked at in f64 only. */
// @ts-ignore: decorator
@inline
export function keysOf<C>(d0: v128, d1: v128): v128 {
  const x = sizeof<C>() == 8 ? narrow(d0, d1) : d0
  return i32x4.min_s(v128.and(x, v128.load32_splat(MAGNITUDE)), v128.load32_splat(NAN_KEY))
}

/** Four values of C where the mask of four i32 is set, +0 elsewhere. */
// @ts-ignore: decorator
@inline
export function storeMasked<C>(p: usize, v0: v128, v1: v128, mask: v128): void {
  if (sizeof<C>() == 8) {
    v128.store(p, v128.and(v0, v128.shuffle<u32>(mask, mask, 0, 0, 1, 1)))
    v128.store(p, v128.and(v1, v128.shuffle<u32>(mask, mask, 2, 2, 3, 3)), 16)
  } else v128.store(p, v128.and(v0, mask))
}

/** Rounds m computed elements to storage. */
// @ts-ignore: decorator
@inline
export function storeBlock<S, C>(source: usize, destination: usize, m: usize): void {
  if (sizeof<C>() == 8) encode_f64_F64(source, destination, m)
  else encode32<S>(source, destination, m)
}

/** How many of the m elements from `first` on have an index under `cut`. */
// @ts-ignore: decorator
@inline
export function before(cut: f64, first: u64, m: usize): i32 {
  return <i32>max<f64>(0, min<f64>(cut - <f64>first, <f64>m))
}

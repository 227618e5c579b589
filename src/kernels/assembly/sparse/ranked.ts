/**
 * della: elements dropped at random, each with a probability by its rank in its row: `ranked_sum`, `ranked_elect`, and
 * their sums, `ranked_l1`.
 *
 * Calls are on whole rows. Of each model, from the fourth coefficient on: c, w, the stream's four words, the probability where
 * it is one for all (density 1, rows of one element), else 0, 1 where kept elements are divided by their probability, and
 * where its probabilities by rank begin in the table, a list of float32, the smallest magnitude's first.
 * Ranks go by key; of equal ones the higher index ranks lower.
 *
 * Scratch, for rows of n elements: `rankBytes(n)`, then n elements of C (rounded up to 32 bytes) a model.
 */
import { BLOCK, OUT, WORDS, baseBlock, block, difference, keysOf, storeBlock } from './block'
import {
  base, coefficients, first, input, inputCount, output, partEnd, partIsLast, partPlace, partStart, rowLength, scratch, sums, table,
} from '../memory/context'
import { ELECT, SUM, combine, entryOf } from './elect'
import { addTo } from '../memory/lanes'
import { randomWords } from '../memory/random'
import { CHUNK, F32, F64, at } from '../memory/storage'

/** Under it, counting by digits costs more than moving elements about. */
const SHORT: usize = 48
/** Of a digit of 11 bits. */
const BINS: usize = 2048

/** Elements of a row that fill whole vectors. */
// @ts-ignore: decorator
@inline
function full(n: usize): usize { return (n + 3) & ~3 }

/** Bytes that ranking a row takes: probabilities, keys, two lists of u64, three tables of counts. The same as RANK_BYTES in ../types.ts. */
// @ts-ignore: decorator
@inline
function rankBytes(n: usize): usize { return 24 * full(n) + 3 * BINS * 4 }

/** The keys of a row's differences, n of them, at `to`. */
// @ts-ignore: decorator
@inline
function rowKeys<S, C>(x: usize, b: usize, n: usize, to: usize): void {
  const bytes = at<S>().bytes
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o)
    let p = block<S>(x + o * bytes, m), q = baseBlock<S>(b + o * bytes, m)
    const start = to + (o << 2), end = start + (m << 2)
    for (let k = start; k < end; k += 16, p += bytes << 2, q += bytes << 2) {
      const d0 = difference<S, C>(p, q)
      v128.store(k, keysOf<C>(d0, sizeof<C>() == 8 ? difference<S, C>(p + 16, q + 16) : d0))
    }
  }
}

/** probabilities[i] = byRank[rank of keys[i]], by insertion: for short rows. `list` has n u64. */
function rankShort(keys: usize, n: usize, byRank: usize, probabilities: usize, list: usize): void {
  let length: usize = 0
  // From the last index on: of equal keys the one that comes first stays below.
  for (let i = n; i-- > 0; ) {
    const item = (<u64>load<u32>(keys + (i << 2)) << 32) | i
    const key = item >> 32
    let at = length++
    while (at > 0 && load<u64>(list + ((at - 1) << 3)) >> 32 > key) {
      store<u64>(list + (at << 3), load<u64>(list + ((at - 1) << 3)))
      at--
    }
    store<u64>(list + (at << 3), item)
  }
  for (let rank: usize = 0; rank < n; rank++)
    store<f32>(probabilities + (load<u32>(list + (rank << 3)) << 2), load<f32>(byRank + (rank << 2)))
}

/** Counts to places: each bin's first. */
// @ts-ignore: decorator
@inline
function accumulate(counts: usize, bins: usize): void {
  let sum: u32 = 0
  for (let p = counts; p < counts + (bins << 2); p += 4) {
    const count = load<u32>(p)
    store<u32>(p, sum)
    sum += count
  }
}

// @ts-ignore: decorator
@inline
function place(counts: usize, digit: u64): usize {
  const p = counts + (<usize>digit << 2), at = load<u32>(p)
  store<u32>(p, at + 1)
  return at
}

/** Bits of keys that `rankFew` takes: its two tables of counts are as large as the three of `rankLong`. */
const FEW_BITS: u32 = 23
/** Indices have 16 bits there. */
const MOST_FEW: usize = 1 << 16

/**
 * The same where all keys end in zeros, as differences of bfloat16 numbers do: what is left is two digits. The upper one and the
 * index fit into 32 bits, so that all lists of a usual row stay in the first-level cache. False if keys have too many bits.
 */
function rankFew(keys: usize, n: usize, byRank: usize, probabilities: usize, room: usize): bool {
  let bits = i32x4.splat(0)
  let rest: u32 = 0
  const whole = keys + ((n & ~3) << 2), end = keys + (n << 2)
  for (let p = keys; p < whole; p += 16) bits = v128.or(bits, v128.load(p))
  for (let p = whole; p < end; p += 4) rest |= load<u32>(p)
  bits = v128.or(bits, v128.shuffle<u64>(bits, bits, 1, 0))
  rest |= <u32>(i32x4.extract_lane(bits, 0) | i32x4.extract_lane(bits, 1))
  const shift: u32 = rest == 0 ? 31 : ctz<u32>(rest), used: u32 = 32 - clz<u32>(rest >> shift)
  if (used > FEW_BITS || n > MOST_FEW) return false
  const low = (used + 1) >> 1, mask: u32 = (1 << low) - 1, lowers: usize = 1 << low, uppers: usize = 1 << (used - low)
  const counts = room + (n << 4), upper = counts + (lowers << 2)
  memory.fill(counts, 0, (lowers + uppers) << 2)
  for (let p = keys; p < end; p += 4) {
    const key = load<u32>(p) >> shift
    const a = counts + ((key & mask) << 2), b = upper + ((key >> low) << 2)
    store<u32>(a, load<u32>(a) + 1)
    store<u32>(b, load<u32>(b) + 1)
  }
  accumulate(counts, lowers)
  accumulate(upper, uppers)
  for (let i = n; i-- > 0; ) {
    const key = load<u32>(keys + (i << 2)) >> shift
    store<u32>(room + (place(counts, key & mask) << 2), ((key >> low) << 16) | <u32>i)
  }
  for (let p = room; p < room + (n << 2); p += 4) {
    const item = load<u32>(p)
    store<f32>(probabilities + ((item & 0xffff) << 2), load<f32>(byRank + (place(upper, item >> 16) << 2)))
  }
  return true
}

/** The same by digits of 11, 11 and 10 bits, the lowest first. `room`: 16 n bytes and the counts. */
function rankLong(keys: usize, n: usize, byRank: usize, probabilities: usize, room: usize): void {
  const one = room, other = room + (n << 3), c0 = room + (n << 4), c1 = c0 + BINS * 4, c2 = c1 + BINS * 4
  memory.fill(c0, 0, 3 * BINS * 4)
  for (let p = keys; p < keys + (n << 2); p += 4) {
    const key = load<u32>(p)
    const a = c0 + ((key & 2047) << 2), b = c1 + (((key >> 11) & 2047) << 2), c = c2 + ((key >> 22) << 2)
    store<u32>(a, load<u32>(a) + 1)
    store<u32>(b, load<u32>(b) + 1)
    store<u32>(c, load<u32>(c) + 1)
  }
  accumulate(c0, BINS)
  accumulate(c1, BINS)
  accumulate(c2, BINS)
  for (let i = n; i-- > 0; ) {
    const key = <u64>load<u32>(keys + (i << 2))
    store<u64>(one + (place(c0, key & 2047) << 3), (key << 32) | i)
  }
  for (let p = one; p < one + (n << 3); p += 8) {
    const item = load<u64>(p)
    store<u64>(other + (place(c1, (item >> 43) & 2047) << 3), item)
  }
  for (let p = other; p < other + (n << 3); p += 8) {
    const item = load<u64>(p)
    store<f32>(probabilities + (<usize><u32>item << 2), load<f32>(byRank + (place(c2, item >> 54) << 2)))
  }
}

/** The probabilities of a row's elements of one model, into the scratch space's beginning. */
// @ts-ignore: decorator
@inline
function rank<S, C>(context: usize, entry: usize, x: usize, b: usize, n: usize): void {
  const probabilities = scratch(context), keys = probabilities + (full(n) << 2), room = keys + (full(n) << 2)
  const byRank = table(context) + (<usize>load<f64>(entry, 64) << 2)
  rowKeys<S, C>(x, b, n, keys)
  if (n < SHORT) rankShort(keys, n, byRank, probabilities, room)
  else if (!rankFew(keys, n, byRank, probabilities, room)) rankLong(keys, n, byRank, probabilities, room)
}

/** Of four elements: masks of those that are kept. `words` and `probabilities` lie one after the other. */
// @ts-ignore: decorator
@inline
function keeps(words: usize, p: v128): v128 {
  const uniform = f32x4.mul(f32x4.convert_i32x4_u(i32x4.shr_u(v128.load(words), 8)), f32x4.splat(5.9604644775390625e-8))
  return f32x4.lt(uniform, p)
}

/** c·v of a row, kept elements only, to `to`. */
// @ts-ignore: decorator
@inline
function fill<S, C>(context: usize, entry: usize, x: usize, b: usize, n: usize, index: u64, to: usize): void {
  const bytes = at<S>().bytes, common = load<f64>(entry, 48), divides = load<f64>(entry, 56) != 0
  const c = v128.splat<C>(<C>load<f64>(entry))
  if (common == 0) rank<S, C>(context, entry, x, b, n)
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o)
    let words = randomWords(entry + 16, index + o, m, WORDS)
    let p = block<S>(x + o * bytes, m), q = baseBlock<S>(b + o * bytes, m), r = scratch(context) + (o << 2)
    const end = p + m * bytes
    for (; p < end; p += bytes << 2, q += bytes << 2, r += 16, words += 16, to += sizeof<C>() << 2) {
      let d0 = difference<S, C>(p, q), d1 = sizeof<C>() == 8 ? difference<S, C>(p + 16, q + 16) : d0
      const chance = common == 0 ? v128.load(r) : f32x4.splat(<f32>common)
      const kept = keeps(words, chance)
      if (sizeof<C>() == 8) {
        if (divides) {
          d0 = f64x2.div(d0, f64x2.promote_low_f32x4(chance))
          d1 = f64x2.div(d1, f64x2.promote_low_f32x4(v128.shuffle<u64>(chance, chance, 1, 1)))
        }
        v128.store(to, v128.and(f64x2.mul(c, d0), v128.shuffle<u32>(kept, kept, 0, 0, 1, 1)))
        v128.store(to, v128.and(f64x2.mul(c, d1), v128.shuffle<u32>(kept, kept, 2, 2, 3, 3)), 16)
      } else v128.store(to, v128.and(f32x4.mul(c, divides ? f32x4.div(d0, chance) : d0), kept))
    }
  }
}

// @ts-ignore: decorator
@inline
function ranked<S, C>(context: usize, n: usize, how: i32): void {
  const list = coefficients(context), count = <usize>inputCount(context), bytes = at<S>().bytes
  const length = rowLength(context), stride = full(length) * sizeof<C>()
  const parts = scratch(context) + ((rankBytes(length) + 15) & ~15)
  for (let row: usize = 0; row < n; row += length) {
    const b = base(context) + row * bytes
    for (let i: usize = 0; i < count; i++) {
      const entry = entryOf(list, i), to = parts + i * stride
      if (<C>load<f64>(entry) == 0) memory.fill(to, 0, stride)
      else fill<S, C>(context, entry, input(context, i) + row * bytes, b, length, first(context) + row, to)
    }
    for (let o: usize = 0; o < length; o += BLOCK) {
      const m = min(BLOCK, length - o), d = parts + o * sizeof<C>()
      const origin = baseBlock<S>(b + o * bytes, m)
      combine<S, C>(origin, d, stride, count, list, m, OUT, how)
      storeBlock<S, C>(OUT, output(context) + (row + o) * bytes, m)
    }
  }
}

export function ranked_sum_f32(context: usize, n: usize): void { ranked<F32, f32>(context, n, SUM) }
export function ranked_sum_f64(context: usize, n: usize): void { ranked<F64, f64>(context, n, SUM) }
export function ranked_elect_f32(context: usize, n: usize): void { ranked<F32, f32>(context, n, ELECT) }
export function ranked_elect_f64(context: usize, n: usize): void { ranked<F64, f64>(context, n, ELECT) }

/**
 * A row's part that lies in a tile: Σ abs(δ) of every model, then Σ abs(δ) kept of every model, then for each model the
 * four lanes of both sums as they stand within the chunk under way.
 */
// @ts-ignore: decorator
@inline
function l1<S, C>(context: usize, n: usize): void {
  const list = coefficients(context), count = <usize>inputCount(context), bytes = at<S>().bytes, out = sums(context)
  const from = partStart(context), end = partEnd(context)
  for (let i: usize = 0; i < count; i++) {
    const entry = entryOf(list, i), x = input(context, i), b = base(context), common = load<f64>(entry, 48)
    if (common == 0) rank<S, C>(context, entry, x, b, n)
    const all = out + (i << 3), kept = out + ((count + i) << 3), lanes = out + (count << 4) + (i << 6)
    let place = partPlace(context)
    for (let o = from; o < end; o += BLOCK) {
      const m = min(BLOCK, end - o), words = randomWords(entry + 16, first(context) + o, m, WORDS)
      for (let j: usize = 0; j < m; j++) {
        const d = v128.sub<C>(at<S>().load1(x + (o + j) * bytes), at<S>().load1(b + (o + j) * bytes))
        const size = abs<f64>(sizeof<C>() == 8 ? f64x2.extract_lane(d, 0) : <f64>f32x4.extract_lane(d, 0))
        const chance = common == 0 ? load<f32>(scratch(context) + ((o + j) << 2)) : <f32>common
        const lane = lanes + ((place & 3) << 3)
        addTo(lane, size)
        if (<f32>(load<u32>(words + (j << 2)) >> 8) * <f32>5.9604644775390625e-8 < chance) addTo(lane + 32, size)
        place++
        if (place % CHUNK == 0) flush(lanes, all, kept)
      }
    }
    if (partIsLast(context)) flush(lanes, all, kept)
  }
}

function flush(lanes: usize, all: usize, kept: usize): void {
  addTo(all, load<f64>(lanes) + load<f64>(lanes, 16) + (load<f64>(lanes, 8) + load<f64>(lanes, 24)))
  addTo(kept, load<f64>(lanes, 32) + load<f64>(lanes, 48) + (load<f64>(lanes, 40) + load<f64>(lanes, 56)))
  memory.fill(lanes, 0, 64)
}

export function ranked_l1_f32(context: usize, n: usize): void { l1<F32, f32>(context, n) }
export function ranked_l1_f64(context: usize, n: usize): void { l1<F64, f64>(context, n) }

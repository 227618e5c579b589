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
import { isFinite1 } from '../memory/equal'
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

/** Of the keys of a row that were made last, by lanes: all bits, the smallest but 0 (as one less), the largest. */
const KEY_BITS = memory.data(16, 16)
const LEAST_KEY = memory.data(16, 16)
const LARGEST_KEY = memory.data(16, 16)

/** The keys of a row's differences, n of them, at `to`. Up to three more may be anything, and count for what is known of all. */
// @ts-ignore: decorator
@inline
function rowKeys<S, C>(x: usize, b: usize, n: usize, to: usize): void {
  const bytes = at<S>().bytes, one = i32x4.splat(1)
  let bits = i32x4.splat(0), least = i32x4.splat(-1), largest = bits
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o)
    let p = block<S>(x + o * bytes, m), q = baseBlock<S>(b + o * bytes, m)
    const start = to + (o << 2), end = start + (m << 2)
    for (let k = start; k < end; k += 16, p += bytes << 2, q += bytes << 2) {
      const d0 = difference<S, C>(p, q), keys = keysOf<C>(d0, sizeof<C>() == 8 ? difference<S, C>(p + 16, q + 16) : d0)
      v128.store(k, keys)
      bits = v128.or(bits, keys)
      largest = i32x4.max_u(largest, keys)
      // 0 becomes the largest.
      least = i32x4.min_u(least, i32x4.sub(keys, one))
    }
  }
  v128.store(KEY_BITS, v128.or(bits, v128.shuffle<u64>(bits, bits, 1, 0)))
  v128.store(LEAST_KEY, i32x4.min_u(least, v128.shuffle<u64>(least, least, 1, 0)))
  v128.store(LARGEST_KEY, i32x4.max_u(largest, v128.shuffle<u64>(largest, largest, 1, 0)))
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

/** Counts to places, each bin's first: from `start` on, in the unit of the counts. `bins`: a multiple of four. */
// @ts-ignore: decorator
@inline
function accumulate(counts: usize, bins: usize, start: usize): void {
  const zero = i32x4.splat(0)
  let before = i32x4.splat(<i32>start)
  for (let p = counts, end = counts + (bins << 2); p < end; p += 16) {
    const x = v128.load(p)
    const pairs = i32x4.add(x, v128.shuffle<u32>(zero, x, 3, 4, 5, 6))
    const sums = i32x4.add(pairs, v128.shuffle<u32>(zero, pairs, 2, 3, 4, 5))
    v128.store(p, i32x4.add(before, i32x4.sub(sums, x)))
    before = i32x4.add(before, v128.shuffle<u32>(sums, sums, 3, 3, 3, 3))
  }
}

// @ts-ignore: decorator
@inline
function place(counts: usize, digit: u64): usize {
  const p = counts + (<usize>digit << 2), at = load<u32>(p)
  store<u32>(p, at + 1)
  return at
}

/** One more element in a bin, whose count is in bytes of a list of u32. */
// @ts-ignore: decorator
@inline
function countAt(bin: usize): void { store<u32>(bin, load<u32>(bin) + 4) }

/** The address of a bin's next element. */
// @ts-ignore: decorator
@inline
function nextAt(bin: usize): usize {
  const at = load<u32>(bin)
  store<u32>(bin, at + 4)
  return at
}

/** Bits of keys that `rankFew` takes: its two tables of counts are as large as the three of `rankLong`. */
const FEW_BITS: u32 = 23
/** So many make one digit. */
const DIGIT_BITS: u32 = 12
/** Elements of a row there: indices have 16 bits. */
const MOST_FEW: usize = 1 << 16
/** Where an item's upper digit begins, after its index; both count bytes of lists of u32. */
const UPPER: u32 = 18

/** Bits of the keys that were made last. */
// @ts-ignore: decorator
@inline
function keyBits(): u32 { return load<u32>(KEY_BITS) | load<u32>(KEY_BITS, 4) }

/**
 * The same where keys have few bits that differ, as differences of bfloat16 numbers do: all end in zeros, and those that are not 0
 * lie close to each other. What is left is one digit or two. The upper one and the index fit into 32 bits, so that all lists of a
 * usual row stay in the first-level cache. Counts are addresses, which saves computing them. False if keys have too many bits;
 * otherwise the keys are lost.
 */
function rankFew(keys: usize, n: usize, byRank: usize, probabilities: usize, room: usize): bool {
  const all = keyBits(), shift: u32 = all == 0 ? 0 : ctz<u32>(all)
  // The smallest key but 0 becomes 1.
  const skipped: u32 = all == 0 ? 0 : ((min(load<u32>(LEAST_KEY), load<u32>(LEAST_KEY, 4)) + 1) >> shift) - 1
  const used: u32 = 32 - clz<u32>((max(load<u32>(LARGEST_KEY), load<u32>(LARGEST_KEY, 4)) >> shift) - skipped)
  if (used > FEW_BITS || n > MOST_FEW) return false
  const single = used <= DIGIT_BITS
  const low = max<u32>(2, single ? used : (used + 1) >> 1), lowers: usize = 1 << low
  const uppers: usize = single ? 0 : 1 << max<u32>(2, used - low)
  const counts = room + (full(n) << 4), upper = counts + (lowers << 2)
  memory.fill(counts, 0, (lowers + uppers) << 2)
  // Bins lie where probabilities will, items where keys did.
  const toProbabilities = probabilities - keys, toRoom = room - keys, end = keys + (n << 2)
  const taken = i32x4.splat(<i32>skipped), mask = i32x4.splat((1 << low) - 1)
  const lowerBins = i32x4.splat(<i32>counts), upperBins = i32x4.splat(<i32>upper), zero = i32x4.splat(0), step = i32x4.splat(16)
  let index = i32x4(0, 4, 8, 12)
  for (let p = keys; p < end; p += 16) {
    const key = i32x4.max_s(zero, i32x4.sub(i32x4.shr_u(v128.load(p), shift), taken))
    v128.store(p + toProbabilities, i32x4.add(i32x4.shl(v128.and(key, mask), 2), lowerBins))
    if (!single) {
      const digit = i32x4.shl(i32x4.shr_u(key, low), 2)
      v128.store(p + toRoom, i32x4.add(digit, upperBins))
      v128.store(p, v128.or(i32x4.shl(digit, UPPER), index))
      index = i32x4.add(index, step)
    }
  }
  const bins = probabilities, last = probabilities + (n << 2)
  if (single) {
    for (let p = bins; p < last; p += 4) countAt(load<u32>(p))
    accumulate(counts, lowers, byRank)
    for (let p = last; p > bins; ) {
      p -= 4
      store<f32>(p, load<f32>(nextAt(load<u32>(p))))
    }
    return true
  }
  for (let p = keys; p < end; p += 4) {
    countAt(load<u32>(p + toProbabilities))
    countAt(load<u32>(p + toRoom))
  }
  accumulate(counts, lowers, room)
  accumulate(upper, uppers, byRank)
  for (let p = end; p > keys; ) {
    p -= 4
    store<u32>(nextAt(load<u32>(p + toProbabilities)), load<u32>(p))
  }
  for (let p = room, last = room + (n << 2); p < last; p += 4) {
    const item = load<u32>(p)
    store<f32>(probabilities + (item & ((1 << UPPER) - 1)), load<f32>(nextAt(upper + (item >> UPPER))))
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
  accumulate(c0, BINS, 0)
  accumulate(c1, BINS, 0)
  accumulate(c2, BINS, 0)
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

/** The probabilities of a row's elements of one model, into the scratch space's beginning. False if all differences are 0. */
// @ts-ignore: decorator
@inline
function rank<S, C>(context: usize, entry: usize, x: usize, b: usize, n: usize): bool {
  const probabilities = scratch(context), keys = probabilities + (full(n) << 2), room = keys + (full(n) << 2)
  const byRank = table(context) + (<usize>load<f64>(entry, 64) << 2)
  rowKeys<S, C>(x, b, n, keys)
  if (keyBits() == 0) return false
  if (n < SHORT) rankShort(keys, n, byRank, probabilities, room)
  else if (!rankFew(keys, n, byRank, probabilities, room)) rankLong(keys, n, byRank, probabilities, room)
  return true
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
  if (common == 0 && !rank<S, C>(context, entry, x, b, n) && isFinite1<C>(<C>load<f64>(entry))) {
    // Whatever is kept.
    memory.fill(to, 0, full(n) * sizeof<C>())
    return
  }
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

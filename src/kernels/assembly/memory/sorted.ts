/** The median of vectors, lane by lane: sorted by exchanging neighbours. */

/** More vectors than a program can have inputs. */
export const SORTED = memory.data(16 * 2048, 16)

/** Puts x among the first `count` vectors at `sorted`. Equal ones stay in order, zeros of both signs among them. */
// @ts-ignore: decorator
@inline
export function sortIn<C>(sorted: usize, count: usize, x: v128): void {
  let before = v128.splat<C>(0)
  for (let p = sorted, end = sorted + (count << 4); p < end; p += 16) {
    const y = v128.load(p)
    before = v128.or(before, v128.lt<C>(x, y))
    v128.store(p, v128.bitselect(x, y, before))
    x = v128.bitselect(y, x, before)
  }
  v128.store(sorted + (count << 4), x)
}

/** The middle of sorted vectors; of an even number half the sum of the middle two. */
// @ts-ignore: decorator
@inline
export function middleOf<C>(sorted: usize, count: usize): v128 {
  const middle = sorted + ((count >> 1) << 4), result = v128.load(middle)
  if ((count & 1) != 0) return result
  const half = v128.splat<C>(0.5), low = v128.load(middle - 16)
  const mean = v128.mul<C>(v128.add<C>(low, result), half)
  // The sum of two large numbers overflows where their mean does not. Halves first would lose the last bit of small ones.
  const large = v128.eq<C>(v128.abs<C>(mean), v128.splat<C>(<C>Infinity))
  return v128.bitselect(v128.add<C>(v128.mul<C>(low, half), v128.mul<C>(result, half)), mean, large)
}

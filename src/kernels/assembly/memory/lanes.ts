/** What sums and counts of a chunk have in common. */

// @ts-ignore: decorator
@inline
export function total(l01: v128, l23: v128): f64 {
  const s = f64x2.add(l01, l23)
  return f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1)
}

// @ts-ignore: decorator
@inline
export function addTo(p: usize, x: f64): void { store<f64>(p, load<f64>(p) + x) }

/** One more in a count. */
// @ts-ignore: decorator
@inline
export function count(p: usize): void { store<u32>(p, load<u32>(p) + 1) }

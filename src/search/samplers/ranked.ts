/** Trials in an order that every method agrees on. */
import type { Trial } from '../types.js'

/** The best first; failed trials last; equal ones as they were proposed. */
export const ranked = (trials: readonly Trial[]): Trial[] =>
  [...trials].sort(
    (a, b) => (b.score ?? Number.NEGATIVE_INFINITY) - (a.score ?? Number.NEGATIVE_INFINITY) || a.index - b.index,
  )

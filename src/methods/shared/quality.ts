/** The note of methods that are on no set of bench/quality over half a point better than the average: a test compares. */
export const NEVER_ABOVE_AVERAGE =
  'on no set of models that docs/methods.md measures, it is over half a point better than the average (linear)'

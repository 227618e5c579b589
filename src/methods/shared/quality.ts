/** The note of methods that are on no set of bench/quality better than the average: a test compares them with its results. */
export const NEVER_ABOVE_AVERAGE =
  'in the measurements of docs/methods.md, it is on no set of models better than the plain average (linear)'

/** Why tensors are copied, and why models have no part in one: codes in plans and lineages, words for people. */

export const COPY_REASONS = {
  'not-included': 'not included by filters',
  excluded: 'excluded by filters',
  'not-float': 'not a floating-point dtype',
  packed: 'packed weights, kept as they are',
  'too-few': 'too few models have it',
  'same-model': 'the output is this model',
  stacked: 'taken from its layer',
  aligned: 'aligned by a rebasin',
  untouched: 'not touched by the alignment',
  repaired: 'repaired',
  'saved-whole': 'saved whole beside the adapter',
} as const

export type CopyReason = keyof typeof COPY_REASONS

export const ABSENT_REASONS = {
  missing: 'lacks them',
  shape: 'has them in another shape',
  dtype: 'has no floats there',
} as const

export type AbsentReason = keyof typeof ABSENT_REASONS

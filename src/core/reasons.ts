/**
 * Why a tensor is copied, and why a model is skipped for a tensor. Plans and lineages store the codes; messages show
 * the texts.
 */

export const COPY_REASONS = {
  'not-included': 'not included by filters',
  excluded: 'excluded by filters',
  'not-float': 'not a floating-point dtype',
  packed: 'packed weights, copied unchanged',
  'too-few': 'too few models have it',
  'same-model': 'the output is this model',
  stacked: 'copied by a stack step',
  aligned: 'aligned by a rebasin',
  untouched: 'not changed by the alignment',
  repaired: 'repaired',
  zipped: 'zipped',
  transplanted: 'rows of another vocabulary',
  'saved-whole': 'saved in full in the adapter',
  mixture: 'from the base of a mixture',
  expert: 'an expert of a mixture',
  router: 'a router of a mixture',
} as const

/** Why a tensor of an output is copied and not merged. `COPY_REASONS` has the text for people. */
export type CopyReason = keyof typeof COPY_REASONS

/** Lineages of version 1 have these texts instead of codes. They must not change. */
export const REASONS_OF_VERSION_1: Readonly<Record<CopyReason, string>> = {
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
  zipped: 'zipped',
  transplanted: 'rows of another vocabulary',
  'saved-whole': 'saved whole beside the adapter',
  mixture: 'from the base of a mixture',
  expert: 'an expert of a mixture',
  router: 'a router of a mixture',
}

export const ABSENT_REASONS = {
  missing: 'lacks them',
  shape: 'has them in another shape',
  dtype: 'has no floating-point values there',
  unchanged: 'has no update for them: it counts as 0',
} as const

/** Why a model's tensor is not part of a merged tensor. `ABSENT_REASONS` has the text for people. */
export type AbsentReason = keyof typeof ABSENT_REASONS

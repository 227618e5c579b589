import type { Missing, NearestWeights, SubwordWeights } from './types.js'

export const MISSING: readonly Missing[] = ['omp', 'nearest', 'subword', 'mean', 'zero']
export const NEAREST_WEIGHTS: readonly NearestWeights[] = ['distance', 'cosine', 'barycentric', 'least_squares']
export const SUBWORD_WEIGHTS: readonly SubwordWeights[] = ['even', 'first', 'last']
export const DEFAULT_K = 64

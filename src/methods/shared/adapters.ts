/** How methods merge low-rank changes of adapters. */
import type { Method, OnAdapters } from '../types.js'

/** The result depends on norms, inner products or singular vectors only, which are the same in every basis. */
export const ANY_BASIS: OnAdapters = { kind: 'core', elements: false }

const BY_ELEMENTS: OnAdapters = { kind: 'core', elements: true }

export const onAdapters = ({ adapters = BY_ELEMENTS }: Method): OnAdapters => adapters

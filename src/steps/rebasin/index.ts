/** `rebasin`: permutes or rotates a model so that it lies close to another one. */
import { LARGEST_SQUARE } from '../../kernels/linalg.js'
import type { AnalysisKind } from '../types.js'
import { alignedMaps, alignedTensor } from './aligned.js'
import { findAlignment } from './analyse.js'
import { largestGroup, rebasinCost } from './cost.js'
import type { RebasinAnalysis, RebasinRecord } from './types.js'

export const alignment: AnalysisKind<RebasinAnalysis, RebasinRecord> = {
  tensors: ({ onto, models }) => [onto, ...models].flatMap(({ tensors }) => tensors),
  cost: rebasinCost,
  refuse(analysis) {
    // Similarities of all pairs of a group's units lie in one memory.
    const units = largestGroup(analysis)
    if (units <= LARGEST_SQUARE) return undefined
    return {
      code: 'group-too-large',
      message: `${analysis.models[0]!.name} has a group of ${units} units to match; at most ${LARGEST_SQUARE} work`,
      hint: 'a spec of your own can leave this group as it is',
    }
  },
  run: findAlignment,
  maps: alignedMaps,
  computed: alignedTensor,
}

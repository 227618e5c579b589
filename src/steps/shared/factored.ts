/** Results of factorings, from which a step makes its record. */
import type { PlanFactoring } from '../../expr/types.js'

/** ‖δ‖², the number of triplets found, and Σ σ² over them. */
export type FactorFigures = readonly [squares: number, found: number, kept: number]

/** Factors that were computed. */
export interface Factored extends Pick<PlanFactoring, 'tensor' | 'work'> {
  readonly figures: FactorFigures
}

import { elements } from '../core/dtypes.js'
import { computeOf, heldCost } from '../expr/cost.js'
import type { AnalysisTensor, Expr } from '../expr/types.js'
import { inputsOf, partsOf } from '../expr/walk.js'
import type { AnalysisCost } from '../steps/analysis.js'
import { type Analysis, analysisKindOf } from '../steps/index.js'
import type { Plan } from './types.js'

const most = (numbers: readonly number[]): number => numbers.reduce((top, n) => Math.max(top, n), 0)

/** Every tensor that an analysis reads. */
export const tensorsOf = (analysis: Analysis): readonly AnalysisTensor[] => analysisKindOf(analysis).tensors(analysis)

/** What an analysis takes where the recipe asks for this arithmetic. */
export function analysisCost(analysis: Analysis, compute: Plan['compute']): AnalysisCost {
  const { bytes, ...cost } = analysisKindOf(analysis).cost(analysis)
  // Merges that hold matrices do so in memory of the analysis' own, one tensor at a time.
  const held = tensorsOf(analysis).map(
    ({ name, shape, expr }) => heldCost(expr, name, shape, computeOf(compute, expr))?.bytes ?? 0,
  )
  const computed = tensorsOf(analysis).map(({ expr }) => computedBytes(expr))
  return { ...cost, bytes: bytes + most(held) + most(computed) }
}

/** Bytes while what an earlier alignment computes below an expression is made: read, mapped, and in the team's hands. */
function computedBytes(expr: Expr): number {
  const known = new Map<Expr, number>()
  for (const part of partsOf([expr])) {
    const below = most(inputsOf(part).map((input) => known.get(input)!))
    known.set(part, part.kind === 'computed' ? below + 4 * 4 * elements(part.shape) : below)
  }
  return known.get(expr)!
}

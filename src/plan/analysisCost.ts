import { elements } from '../core/dtypes.js'
import { computeOf, heldCost } from '../expr/cost.js'
import type { AnalysisTensor, Expr } from '../expr/types.js'
import { inputsOf, partsOf } from '../expr/walk.js'
import type { AnalysisCost } from '../steps/analysis.js'
import { type Analysis, analysisKindOf } from '../steps/index.js'
import type { Plan } from './types.js'

const most = (numbers: readonly number[]): number => numbers.reduce((top, n) => Math.max(top, n), 0)

/** The kind of analysis by step. A step of an analysis is not always a step of the recipe. */
export const kindsOfAnalyses = ({ analyses }: Pick<Plan, 'analyses'>): (readonly [step: string, kind: string])[] =>
  analyses.flatMap(({ steps, kind }) => steps.map((step) => [step, kind] as const))

/** Every tensor that an analysis reads. */
export const tensorsOf = (analysis: Analysis): readonly AnalysisTensor[] => analysisKindOf(analysis).tensors(analysis)

/** Memory and work of an analysis at the recipe's compute precision. */
export function analysisCost(analysis: Analysis, compute: Plan['compute']): AnalysisCost {
  const { bytes, ...cost } = analysisKindOf(analysis).cost(analysis)
  // An analysis holds the matrices of such merges in its own memory, one tensor at a time.
  const held = tensorsOf(analysis).map(
    ({ name, shape, expr }) => heldCost(expr, name, shape, computeOf(compute, expr))?.bytes ?? 0,
  )
  const computed = tensorsOf(analysis).map(({ expr }) => computedBytes(expr))
  return { ...cost, bytes: bytes + most(held) + most(computed) }
}

/**
 * Peak bytes while the tensors that an earlier alignment computes below `expr` are made: each exists as read, as
 * mapped, and in the team's memory.
 */
function computedBytes(expr: Expr): number {
  const known = new Map<Expr, number>()
  for (const part of partsOf([expr])) {
    const below = most(inputsOf(part).map((input) => known.get(input)!))
    known.set(part, part.kind === 'computed' ? below + 4 * 4 * elements(part.shape) : below)
  }
  return known.get(expr)!
}

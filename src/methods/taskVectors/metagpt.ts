/**
 * MetaGPT: task arithmetic with weights proportional to the squared norms of the task vectors.
 *
 *   b + λ Σ (‖δ_i‖² / Σ_k ‖δ_k‖²) δ_i
 *
 * b: the base's tensor; δ_i = x_i − b; λ: `lambda`; norms over all tensors that the step merges by this method with the
 * same models. Tensors that a model lacks form a group of their own. A pass over the whole model computes the norms
 * before the first tensor is made; tensors are summed in the plan's order. If all norms are 0, the result is the base.
 * Source: arXiv 2406.11385.
 */
import { ANY_BASIS } from '../shared/adapters.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { scaleOf, squaredShares } from '../shared/weights.js'
import type { Method, PassInput } from '../types.js'

/** The squares and their divisor. They are separate so that scale·square/divisor is rounded in this order. */
function squaresOf(scope: PassInput['scope'], note?: PassInput['note']): { squares: readonly number[]; total: number } {
  const [sums] = scope
  if (!sums) throw new Error('internal: metagpt before the norms of the whole model are known')
  const { squares, sum, beyond } = squaredShares([...sums])
  if (beyond) note?.('metagpt used equal weights: the norms of the task vectors overflow float64')
  return { squares, total: sum || 1 }
}

export const metagpt: Method = {
  ...ON_TASK_VECTORS,
  name: 'metagpt',
  summary: 'task arithmetic weighted by the squared norms of whole task vectors',
  formula: 'b + λ Σ (‖δ_i‖²/Σ_k ‖δ_k‖²) δ_i, norms over all merged tensors',
  paper: '2406.11385',
  weights: false,
  parameters: [LAMBDA],
  adapters: ANY_BASIS,
  effective({ weights, scope }) {
    if (!scope) return weights.map(() => null)
    const { squares, total } = squaresOf(scope)
    return squares.map((square) => square / total)
  },
  passes: ({ models }) => ({
    scope: { key: '', reduces: [{ kernel: 'squares', slots: models.length, combine: 'sums' }] },
    reduces: [],
    map: {
      kernel: 'task',
      coefficients(input) {
        const { squares, total } = squaresOf(input.scope, input.note)
        return squares.map((square) => (scaleOf(input) * square) / total)
      },
    },
  }),
}

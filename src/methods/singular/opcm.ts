/**
 * opcm: the models one after another, each projected off what came before, and one scale for the whole model at the end.
 *
 *   P = δ_1;  for i = 2 … n:  P = U S Vᵀ,  P ← P + δ_i − U M Vᵀ,
 *   M: the diagonal of Uᵀ δ_i V, and all of it in the first s rows and columns
 *   b + λ · P · (mean_i ‖δ_i‖)/‖P‖,  norms over all tensors that the step merges by this method with the same models
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; s: how many leading singular values come before their sum
 * first exceeds `alpha` of the whole; λ: `lambda`. P in float64, rounded to the compute type once before it is scaled. The order of
 * the models matters. Singular values ≤ 1e-6 of the largest count as 0, and only directions that count are taken out. Tensors with
 * fewer than two axes: P = Σ δ_i. If all norms are 0, the result is the base. The authors' program scales after every model, which
 * cancels, and draws a random order unless told not to.
 * Source: arXiv 2501.09522.
 */
import { matrixPasses } from '../shared/held.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { scaleOf } from '../shared/weights.js'
import type { Method, PassInput } from '../types.js'

/** Mean ‖δ_i‖ / ‖P‖ of the squares of P and of all δ_i. */
function shrinking({ scope: [squares] }: PassInput): number {
  const [sum = 0, ...own] = squares ?? []
  if (squares === undefined) throw new Error('internal: opcm before the norms of the whole model are known')
  const mean = own.reduce((total, square) => total + Math.sqrt(square), 0) / own.length
  return sum === 0 ? 0 : mean / Math.sqrt(sum)
}

export const opcm: Method = {
  ...ON_TASK_VECTORS,
  name: 'opcm',
  summary: 'models one after another, each projected off the strongest directions of those before',
  formula:
    'P ← P + δ_i without its part in P’s directions; b + λ · P · (mean ‖δ_i‖)/‖P‖, norms over all merged tensors',
  paper: '2501.09522',
  weights: false,
  parameters: [
    LAMBDA,
    {
      name: 'alpha',
      type: 'number',
      default: 0.5,
      minimum: 0,
      maximum: 1,
      describe: 'Share of the sum of singular values whose directions are taken out together.',
    },
  ],
  adapters: { kind: 'refused', why: 'it scales by norms of the whole model' },
  effective: ({ weights }) => weights.map(() => null),
  // Once for P, in the place of the first input; the second time with it.
  inner: ({ alpha, ...own }) => ({ method: 'opcm', parameters: { alpha: alpha! }, own }),
  passes(settings) {
    const { parameters, shape, models } = settings
    if (parameters.alpha === undefined)
      return {
        scope: { key: '', reduces: [{ kernel: 'squares', slots: models.length, combine: 'sums' }] },
        reduces: [],
        map: {
          kernel: 'task',
          coefficients: (input) => models.map((_, place) => (place === 0 ? scaleOf(input) * shrinking(input) : 0)),
        },
      }
    if (shape.length < 2) return { reduces: [], map: { kernel: 'task', coefficients: () => models.map(() => 1) } }
    return matrixPasses(settings, 'opcm', { alpha: Number(parameters.alpha) })
  },
}

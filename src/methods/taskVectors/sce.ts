/**
 * SCE: selects the elements in which the models differ most, calculates weights from them, and erases the minority
 * sign.
 *
 *   select_topk < 1: keep in every δ_i the k = int(topk·V) positions of largest variance over the models, V those of variance > 0
 *   w_i = mean(δ_i²) / Σ_k mean(δ_k²), all equal where that sum is < 1e-6
 *   sign + where Σ δ_i ≥ 0, else −; m_i: δ_i has that sign;  b + Σ w_i δ_i m_i / max(Σ w_i m_i, 1e-6)
 *
 * b: the base's tensor; δ_i = x_i − b. The variance is the population variance, computed in float64 and rounded to
 * float32. Among equal variances, the lowest index comes first. With k = 0 the result is the base.
 * Source: arXiv 2408.07990.
 */
import { BLOCK } from '../../kernels/types.js'
import { elementsOf, select } from '../shared/selection.js'
import { kernelCoefficients } from '../shared/sparse.js'
import { ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { scaleOf, squaredShares } from '../shared/weights.js'
import type { Method, Passes, PassInput, ReducePass, TensorSettings } from '../types.js'

const LEAST = 1e-6

function passes(settings: TensorSettings): Passes {
  const { models } = settings
  const topk = Number(settings.parameters.select_topk)
  const selection =
    topk < 1
      ? select(settings, [{ model: 0, position: 0 }], {
          source: 'variance_',
          positionOf: (nonZero) => Math.trunc(topk * nonZero) - 1,
        })
      : undefined
  /** Elements whose variance has a larger key are kept, and those with this key up to the index. */
  const threshold = (input: PassInput): [low: number, lowCut: number] => {
    const found = selection?.thresholds(input)[0]
    return found ? [found.key, found.cut] : [-1, 0]
  }
  const squares: ReducePass = {
    kernel: 'sce_squares',
    // The sums and scratch space of the kernel.
    slots: 5 * models.length,
    combine: 'sums',
    coefficients: threshold,
  }
  return {
    reduces: [...(selection?.passes ?? []), squares],
    map: {
      kernel: 'sce',
      scratch: models.length * BLOCK * 8,
      coefficients: (input) => {
        const elements = elementsOf(input)
        const means = [...input.results.at(-1)!.subarray(0, models.length)].map((square) => square / elements)
        const { squares, sum, beyond } = squaredShares(means)
        if (beyond) input.note?.('sce used equal weights: the norms of the task vectors overflow float64')
        const weights = squares.map((square) => (sum < LEAST ? 1 / models.length : square / sum))
        return kernelCoefficients(
          [scaleOf(input), 0, ...threshold(input)],
          weights.map((weight) => [0, weight]),
        )
      },
    },
  }
}

export const sce: Method = {
  ...ON_TASK_VECTORS,
  name: 'sce',
  summary:
    'the elements with the largest variance across task vectors, weighted by their size, without the minority sign',
  formula: 'b + Σ w_i δ_i m_i / Σ w_i m_i, w_i by mean(δ_i²), m_i where δ_i has the sign of Σ δ_i',
  paper: '2408.07990',
  byPlace: true,
  weights: false,
  parameters: [
    {
      name: 'select_topk',
      type: 'number',
      default: 1,
      minimum: 0,
      maximum: 1,
      describe: 'Fraction of elements to keep, those with the largest variance across models first.',
    },
  ],
  effective: ({ weights }) => weights.map(() => null),
  passes,
}

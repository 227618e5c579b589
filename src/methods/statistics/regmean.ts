/**
 * RegMean: the matrix that best reproduces each model's outputs on its own inputs, by least squares.
 *
 *   W = (Σ W_i G_i)(Σ G_i)⁻¹,  the stored form of (Σ G_i)⁻¹ Σ G_i W_i
 *
 * W_i: the models' matrices [outputs, inputs]; G_i: XᵀX of the layer's inputs in model i [inputs, inputs], stored under
 * the matrix's name in the model's `statistics`, with off-diagonal elements times alpha. The system is solved by
 * Cholesky decomposition in float64 and rounded once at the end. An input that is 0 in all data (all its diagonals are
 * 0) uses the mean of the W_i. Tensors that are not matrices, or that a statistics file lacks, use the mean. Source:
 * arXiv 2212.09849.
 */
import type { Method } from '../types.js'

export const regmean: Method = {
  name: 'regmean',
  aliases: [],
  summary: 'the matrices that best reproduce each model’s outputs on its own inputs, by least squares',
  formula: '(Σ G_i)⁻¹ Σ G_i W_i, G_i the Gram matrix of model i’s inputs, off-diagonals times alpha; else the mean',
  paper: '2212.09849',
  base: 'none',
  weights: false,
  divides: () => false,
  statistics: 'gram',
  models: { least: 2, needed: 2 },
  parameters: [
    {
      name: 'alpha',
      type: 'number',
      default: 0.9,
      minimum: 0,
      maximum: 1,
      describe: 'Factor on the off-diagonal elements of the Gram matrices.',
    },
  ],
  adapters: {
    kind: 'refused',
    why: 'it divides by the sum of the Gram matrices, so that the result is not low-rank',
  },
  effective: ({ weights }) => weights.map(() => null),
  passes({ tensor, shape, models, parameters, statistics = false }) {
    const [rows, columns] = shape
    if (!statistics || rows === undefined || columns === undefined)
      return { reduces: [], map: { kernel: 'linear', coefficients: () => models.map(() => 1 / models.length) } }
    return {
      reduces: [],
      held: {
        kernel: 'regmean',
        rows,
        columns,
        weights: models.map(() => 1),
        scale: 1,
        options: { alpha: Number(parameters.alpha), tensor },
      },
      map: { kernel: 'linear', coefficients: () => [1] },
    }
  },
}

/**
 * ace: regmean with covariances that are estimated from the task vectors.
 *
 *   c_i = δ_i − its column means;  Σ_i = c_iᵀc_i, ε_i = ε;  S = Σ(Σ_i + ε_i I);  p: the column means of ΣΣ_i
 *   W = (Σ c_i(Σ_i + ε_i I))(S + 1pᵀ)⁻¹;   b + λ · W
 *   uneven: Σ_i and ε_i divided by tr Σ_i, p by mean ‖δ_i‖²;  F = W + Σ δ_i(Σ_i − S/n), of which the k first singular vectors:
 *   W += mean(s_1 … s_k) U_k V_kᵀ,  k = max(1, int(0.3·m))
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; n models; m = min(rows, columns); ε: `eps`; λ: `lambda`.
 * Uneven: the variance (over n − 1) of ln ‖δ_i‖² is over 0.3 of its squared mean, which depends on the unit of the weights. All in
 * float64. Models with δ_i = 0 are left out of the norms, and of the sums where norms are uneven. A matrix of one row has no
 * covariance and stays as it is. Tensors with fewer than two axes: b + λ · mean δ_i. As the authors' program does: the paper keeps the column means and does not divide p, and uses
 * 4e-2 (GPT-2), 2e-4 (RoBERTa) and 1e-5 as ε.
 * Source: arXiv 2603.02945.
 */
import { matrixPasses } from '../shared/held.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import type { Method } from '../types.js'

export const ace: Method = {
  ...ON_TASK_VECTORS,
  name: 'ace',
  summary: 'regmean with covariances of the inputs that are estimated from the task vectors',
  formula: 'b + λ · (Σ c_i(Σ_i + ε_i I))(Σ(Σ_i + ε_i I) + 1pᵀ)⁻¹, Σ_i = c_iᵀc_i, c_i: δ_i without its column means',
  paper: '2603.02945',
  weights: false,
  parameters: [
    LAMBDA,
    {
      name: 'eps',
      type: 'number',
      default: 0.01,
      minimum: 1e-300,
      describe: 'What is added to the diagonal of each covariance.',
    },
  ],
  adapters: { kind: 'refused', why: 'it removes column means, which depend on the basis' },
  effective: ({ weights }) => weights.map(() => null),
  passes: (settings) => matrixPasses(settings, 'ace', { eps: Number(settings.parameters.eps) }),
}

/**
 * svc: singular value calibration; after another method, singular values are scaled down where the tasks overlap.
 *
 *   m: the result of `inner`;  D = m − b = Σ_r σ_r u_r v_rᵀ;  a_ri = u_rᵀ δ_i;  s_ri = σ_r (v_r · a_ri)/(a_ri · a_ri), 0 where a_ri = 0
 *   γ_r = n / Σ_i max(α, s_ri);   b + Σ_r γ_r σ_r u_r v_rᵀ
 *
 * b: the base's tensor; δ_i = x_i − b, as the matrix [first axis, the rest]; n models; α: `alpha`. α = 1 (the authors' program) only
 * shrinks. With less, values are also stretched, up to 1/α times (0.1 in their README; 0.2 after iso_cts). All in float64. `lambda`
 * and the other parameters are those of the inner method. Singular values ≤ 1e-6 of the largest count as 0. Tensors with fewer than two
 * axes are what the inner method made. iso_c and iso_cts make all singular values equal, so that their vectors are arbitrary: they
 * are no inner methods.
 * Source: arXiv 2602.05536.
 */
import { eitherOf } from '../../core/words.js'
import { matrixPasses } from '../shared/held.js'
import { ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { breadcrumbs, breadcrumbsTies } from '../sparse/breadcrumbs.js'
import { dareLinear, dareTies } from '../sparse/dare.js'
import { della, dellaLinear } from '../sparse/della.js'
import { ties } from '../sparse/ties.js'
import { consensusTa } from '../taskVectors/consensus_ta.js'
import { magmax } from '../taskVectors/magmax.js'
import { metagpt } from '../taskVectors/metagpt.js'
import { pcb } from '../taskVectors/pcb.js'
import { sce } from '../taskVectors/sce.js'
import { taskArithmetic } from '../taskVectors/task_arithmetic.js'
import type { Method } from '../types.js'
import { dcMerge } from './dc_merge.js'
import { knots } from './knots.js'
import { star } from './star.js'
import { tsvM } from './tsv_m.js'
import { actmat, wudi } from './wudi.js'

/** The default is the first. */
// biome-ignore format: by family
const INNER: readonly Method[] = [
  taskArithmetic, sce, magmax, consensusTa, metagpt, pcb,
  ties, dareLinear, dareTies, dellaLinear, della, breadcrumbs, breadcrumbsTies,
  tsvM, knots, star, wudi, actmat, dcMerge,
]

export const svc: Method = {
  ...ON_TASK_VECTORS,
  name: 'svc',
  summary: 'after another method: its singular values scaled by how much they overlap with those of each task',
  formula:
    'inner − b = Σ σ_r u_r v_rᵀ; b + Σ γ_r σ_r u_r v_rᵀ, γ_r = n / Σ_i max(alpha, σ_r (v_r · a)/(a · a)), a = u_rᵀ δ_i',
  paper: '2602.05536',
  parameters: [
    {
      name: 'inner',
      type: 'choice',
      default: INNER[0]!.name,
      choices: INNER.map(({ name }) => name),
      describe: `The method whose result is calibrated, with its own parameters beside: ${eitherOf(INNER.map(({ name }) => name))}.`,
    },
    {
      name: 'alpha',
      type: 'number',
      default: 1,
      minimum: 1e-6,
      describe:
        'The least overlap that counts: 1 only shrinks singular values, less can stretch them up to 1/alpha times.',
    },
  ],
  around: INNER,
  adapters: { kind: 'refused', why: 'it needs the result of another merge' },
  effective: ({ weights }) => weights.map(() => null),
  inner: ({ inner, alpha, ...parameters }) => ({
    method: String(inner),
    parameters,
    own: { inner: inner!, alpha: alpha! },
  }),
  passes(settings) {
    const { shape, parameters, weights } = settings
    if (shape.length < 2)
      return {
        reduces: [],
        map: { kernel: 'linear', coefficients: () => weights.map((_, input) => (input === 0 ? 1 : 0)) },
      }
    return matrixPasses(settings, 'svc', { alpha: Number(parameters.alpha) })
  },
}

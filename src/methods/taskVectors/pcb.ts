/**
 * PCB (parameter competition balancing): models compete for each element, and only the top share of each model is
 * kept.
 *
 * Over all D elements of the scope (`model`: all tensors that the step merges by this method; `tensor`: one tensor),
 * for n models:
 *
 *   a_i     |δ_i|, clipped to [sorted[int(D·1e-4)], sorted[max(0, int(D·(1 − 1e-4)) − 1)]];  c_i = sign(δ_i)·a_i
 *   score   exp(n·u²) · tanh(δ_i · Σ_k δ_k), rounded to float32;  u: a_i scaled to [0, 1] between the ends of the clip
 *   s_i     (score − q_i)/(largest − q_i), 0 below q_i = sorted[int(D·(1 − ratio))]
 *   result  b + λ Σ s_i c_i / max(Σ s_i, 1e-12)
 *
 * b: the base's tensor; δ_i = x_i − b; λ: `lambda`. Quantiles are exact and need two histograms each. With `scope:
 * model`, terge reads the tensors five times, four of them before the first tensor is made. Tensors with different
 * `ratio` (a gradient), or that a model lacks, form separate groups.
 * Interpretation: the paper describes softmax for both scores and a hard mask. terge computes what the authors' program
 * does. Source: arXiv 2410.02396 and its program.
 */
import { magnitudeOf, numberOf } from '../shared/keys.js'
import { LAMBDA, ON_TASK_VECTORS } from '../shared/taskVectors.js'
import { scaleOf } from '../shared/weights.js'
import type { Method, PassInput, ReducePass } from '../types.js'

const CLIPPED = 1e-4
const BINS = 2 ** 16
/** Models per pass. This limits the size of the histograms. */
const MODELS_A_PASS = 4

/** The results of the passes, whether per scope or per tensor. */
const found = ({ parameters, results, scope }: PassInput): readonly Float64Array[] =>
  parameters.scope === 'tensor' ? results : scope

/** A ranking of magnitudes of δ or of scores. It finds the values at two indexes of the ascending order per model. */
interface Ranking {
  readonly coarse: 'coarse' | 'pcb_coarse'
  readonly fine: 'fine' | 'pcb_fine'
  /** Additional coefficients, from earlier passes. */
  readonly before: (input: PassInput) => readonly number[]
  readonly indexes: (elements: number, input: PassInput) => readonly [number, number]
  readonly valueOf: (key: number) => number
}

/**
 * The coarse and the fine pass over `models` models from `first`. `at`: the index of the coarse pass among all passes.
 */
function rank(ranking: Ranking, first: number, models: number, at: number): ReducePass[] {
  const own = Array.from({ length: models }, (_, i) => first + i)
  const scores = ranking.coarse === 'pcb_coarse'
  return [
    {
      kernel: ranking.coarse,
      slots: models * BINS,
      combine: 'counts',
      coefficients: (input) => (scores ? [first, models, ...ranking.before(input)] : [models, ...own]),
      // By model and index: its bin, and its index within the bin.
      conclude: (counts, input) =>
        Float64Array.from(
          own.flatMap((_, i) => {
            const bins = folded(counts.subarray(i * BINS, (i + 1) * BINS), scores)
            const elements = bins.reduce((sum, bin) => sum + bin, 0)
            return ranking.indexes(elements, input).flatMap((index) => descend(bins, clamped(index, elements)))
          }),
        ),
    },
    {
      kernel: ranking.fine,
      slots: 2 * models * BINS,
      combine: 'counts',
      coefficients: (input) => [
        2 * models,
        ...own.flatMap((model, i) =>
          [2 * i, 2 * i + 1].flatMap((entry) => [model, found(input)[at]![2 * entry]!, entry]),
        ),
        ...(scores ? ranking.before(input) : []),
      ],
      // By model and index: the value.
      conclude: (counts, input) =>
        Float64Array.from({ length: 2 * models }, (_, entry) => {
          const [bucket, left] = input.results[at]!.subarray(2 * entry)
          const [low] = descend(counts.subarray(entry * BINS, (entry + 1) * BINS), left!)
          return ranking.valueOf(bucket! * BINS + low!)
        }),
    },
  ]
}

const clamped = (index: number, elements: number): number => Math.min(elements - 1, Math.max(0, Math.trunc(index)))

/** Magnitudes have 2^15 bins, counted separately for even and odd indexes. */
const folded = (counts: Float64Array, scores: boolean): Float64Array =>
  scores ? counts : counts.subarray(0, BINS / 2).map((count, bin) => count + counts[BINS / 2 + bin]!)

/**
 * The bin with a place of the ascending order, and the place within the bin. The first bin if there are no elements.
 */
function descend(bins: Float64Array, place: number): [bin: number, left: number] {
  let left = place
  for (const [bin, count] of bins.entries()) {
    if (left < count) return [bin, left]
    left -= count
  }
  return [0, 0]
}

/** All passes of a ranking over n models. */
const ranked = (ranking: Ranking, n: number, after: number): ReducePass[] =>
  groups(n).flatMap(([first, models], group) => rank(ranking, first, models, after + 2 * group))

const groups = (n: number): (readonly [first: number, models: number])[] =>
  Array.from({ length: Math.ceil(n / MODELS_A_PASS) }, (_, group) => {
    const first = group * MODELS_A_PASS
    return [first, Math.min(MODELS_A_PASS, n - first)] as const
  })

/** Per model, the two values of a ranking whose passes start at `after`. */
const values = (input: PassInput, after: number): number[] =>
  groups(input.models.length).flatMap((_, group) => [...found(input)[after + 2 * group + 1]!])

const magnitudes: Ranking = {
  coarse: 'coarse',
  fine: 'fine',
  before: () => [],
  indexes: (elements) => [elements * CLIPPED, Math.trunc(elements * (1 - CLIPPED)) - 1],
  valueOf: magnitudeOf,
}

const scores: Ranking = {
  coarse: 'pcb_coarse',
  fine: 'pcb_fine',
  before: (input) => values(input, 0),
  indexes: (elements, { parameters }) => [elements * (1 - Number(parameters.ratio)), elements - 1],
  valueOf: numberOf,
}

export const pcb: Method = {
  ...ON_TASK_VECTORS,
  name: 'pcb',
  summary: 'task vectors in which models compete for each element; only the top share of each is kept',
  formula: 'b + λ Σ s_i c_i/Σ s_i, s_i the scaled scores exp(n·u²)·tanh(δ_i Σ δ_k) of the top ratio',
  paper: '2410.02396',
  byPlace: true,
  weights: false,
  parameters: [
    {
      name: 'ratio',
      type: 'number',
      default: 0.2,
      minimum: 0,
      maximum: 1,
      describe: 'Fraction of the elements to keep.',
    },
    LAMBDA,
    {
      name: 'scope',
      type: 'choice',
      choices: ['model', 'tensor'],
      default: 'model',
      describe: 'What is ranked together: all merged tensors (model) or each tensor by itself (tensor).',
    },
  ],
  effective: ({ weights }) => weights.map(() => null),
  passes({ models, parameters }) {
    const n = models.length
    const after = 2 * groups(n).length
    const passes = [...ranked(magnitudes, n, 0), ...ranked(scores, n, after)]
    const whole = parameters.scope !== 'tensor'
    return {
      ...(whole ? { scope: { key: String(parameters.ratio), reduces: passes } } : {}),
      reduces: whole ? [] : passes,
      map: {
        kernel: 'pcb',
        coefficients(input) {
          const [clips, ends] = [values(input, 0), values(input, after)]
          return [
            ...models.flatMap((_, i) => [clips[2 * i]!, clips[2 * i + 1]!, ends[2 * i]!, ends[2 * i + 1]!]),
            scaleOf(input),
          ]
        },
      },
    }
  },
}

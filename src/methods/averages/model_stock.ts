/**
 * Model stock: interpolates between the base and the models' average by the angle between the task vectors.
 *
 *   c = mean over pairs of cos(δ_i, δ_j);  t = n c/(1 + (n−1) c);  t·mean(x_i) + (1−t)·b, computed as b + Σ (t/n) δ_i
 *
 * b: the base's tensor; δ_i = x_i − b; n: the number of models. Products of norms are at least 1e-6, and cosines are
 * clamped to ±1. `filter_wise`: one t per row (along the last axis; a 1-D tensor is one row). If the denominator is
 * below 1e-6, the ratio is undefined: then t = 1, the average of the models, and a note reports it.
 * Source: arXiv 2403.19522; its form for two models is n = 2.
 */

import { ANY_BASIS } from '../shared/adapters.js'
import { clampUnit, type Gram, gramFrom, gramPasses, rowsOf } from '../shared/gram.js'
import { NEVER_ABOVE_AVERAGE } from '../shared/quality.js'
import { scaleOf } from '../shared/weights.js'
import type { Method, PassInput } from '../types.js'

const LEAST_NORMS = 1e-6
/** A smaller denominator is only rounding noise of float32 tensors. */
const NO_RATIO = 1e-6

function ratio(gram: Gram, note: PassInput['note']): number {
  const n = gram.length
  let cosines = 0
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++) {
      const norms = Math.max(Math.sqrt(gram[i]![i]!) * Math.sqrt(gram[j]![j]!), LEAST_NORMS)
      cosines += clampUnit(gram[i]![j]! / norms)
    }
  const c = cosines / ((n * (n - 1)) / 2)
  const denominator = 1 + (n - 1) * c
  if (Math.abs(denominator) < NO_RATIO) {
    note?.(`model_stock used the average: the task vectors cancel (mean cosine −1/${n - 1}), so the ratio is undefined`)
    return 1
  }
  return (n * c) / denominator
}

/** The factor of every δ_i. */
function factor(input: PassInput, row = 0): number {
  const n = input.models.length
  return ratio(gramFrom(input, n, row), input.note) * (scaleOf(input) / n)
}

export const modelStock: Method = {
  name: 'model_stock',
  aliases: [],
  summary: 'interpolation between the base and the average of the models, by the angle between task vectors',
  formula: 't·mean(x_i) + (1−t)·b, t = n c/(1 + (n−1)c), c the mean cosine of pairs of δ_i',
  paper: '2403.19522',
  note: NEVER_ABOVE_AVERAGE,
  base: 'required',
  weights: false,
  divides: () => false,
  models: { least: 2, needed: 2 },
  parameters: [{ name: 'filter_wise', type: 'boolean', default: false, describe: 'Use one ratio per row.' }],
  adapters: ANY_BASIS,
  effective: ({ weights }) => weights.map(() => null),
  passes(settings) {
    const { models, parameters, shape } = settings
    const rows = rowsOf(shape)
    if (parameters.filter_wise !== true || rows === 1)
      return {
        reduces: gramPasses(settings, models.length),
        map: {
          kernel: 'task',
          coefficients: (input) => {
            const shared = factor(input)
            return input.models.map(() => shared)
          },
        },
      }
    return {
      reduces: gramPasses(settings, models.length, 'rows'),
      map: {
        kernel: 'byRow',
        rows: true,
        coefficients: () => [],
        table(input) {
          const slots = models.length
          const values = new Float64Array(rows * slots)
          for (let row = 0; row < rows; row++) values.fill(factor(input, row), row * slots, (row + 1) * slots)
          return { per: 'row', slots, values }
        },
      },
    }
  },
}

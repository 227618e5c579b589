/**
 * A weight that an adapter changes in a way without low-rank factors, such as a Kronecker product of two whole matrices: the sum of all
 * changes is made as one matrix, and its best approximation of a rank is the result.
 */
import { quote } from '../../../core/suggest.js'
import { computeOf } from '../../../expr/cost.js'
import type { MergeExpr } from '../../../expr/types.js'
import { factorWork } from '../../shared/factorWork.js'
import { isOpen, type MergedWeight, pair, partsIn, scalesOf, type Weighing } from './weighing.js'

/** As for extractions. */
const RANDOM = { method: 'auto', oversampling: 16, iterations: 4 } as const

/** Errors: `adapter-arithmetic` for a method that is not a sum; `adapter-rank` without a rank. */
export function isFactorable({ context, step, mixture, weight, ...of }: Weighing): boolean {
  const { recipe, faults } = context
  const parts = partsIn({ context, step, mixture, weight, ...of })
  const [name] = parts.find(([, { low }]) => !low)!
  const place = recipe.placeOf(step.at, 'key')
  const full = `${weight.module} has no factors of a rank below ${Math.min(weight.rows, weight.columns)} in ${quote(name)}`
  if (mixture.how.kind !== 'sum') {
    faults.error(
      'adapter-arithmetic',
      `${full}, and ${mixture.method.name} merges adapters by their factors`,
      place,
      'merge with linear or task_arithmetic and a rank, or apply each adapter to the base ({path: BASE, lora: ADAPTER}) and merge the models',
    )
    return false
  }
  if (typeof step.rank === 'number' || step.energy !== undefined) return true
  faults.error(
    'adapter-rank',
    `${full}: the exact result is as large as the weight`,
    place,
    'write rank: N for the best approximation of that rank, or energy: 0.99 for the rank that keeps this share',
  )
  return false
}

/** The factors of the result. `width`: their rank. */
export function factored(of: Weighing, width: number): MergedWeight {
  const { context, step, mixture, target, weight } = of
  const { module, embedding, rows, columns, inputs } = weight
  const parts = partsIn(of)
  const names = parts.map(([name]) => name)
  const sum: MergeExpr = {
    ...{ kind: 'merge', step: step.name, method: 'linear', models: names, weights: scalesOf(mixture, parts) },
    ...{ parameters: { normalize: false }, inputs: parts.map(([, { whole }]) => whole()) },
  }
  const compute = computeOf(context.recipe.compute, sum)
  const side = Math.min(rows, columns)
  const bound = typeof step.rank === 'number' ? Math.min(step.rank, side) : side
  const open = isOpen(context, step, target) ? { energy: step.energy! } : {}
  const form = { rows, columns, compute, rank: width, bound, scale: 1, turned: false, ...RANDOM, ...open }
  const work = factorWork(context.recipe, { ...form, stream: [step.name, target] })
  const factoring =
    context.factorings.push({ step: step.name, tensor: target, shape: [rows, ...inputs], from: sum, work }) - 1
  return { module, embedding, rank: width, scale: 1, ...pair(of, [{ factoring, inputs: [sum] }], width) }
}

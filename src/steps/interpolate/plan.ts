import { sameShape } from '../../core/dtypes.js'
import type { AbsentReason } from '../../core/reasons.js'
import { isFloat } from '../../encodings/index.js'
import type { Expr } from '../../expr/types.js'
import { stackedLike, type Value, type ValueTensor } from '../../expr/values.js'
import type { Config } from '../../networks/layerCounts.js'
import { refuseAnyPacked } from '../../networks/packed.js'
import { type RepairContext, repaired } from '../repair/plan.js'
import type { BatchNormRepair } from '../repair/types.js'
import { unmergedBook } from '../shared/unmerged.js'
import type { Point } from '../types.js'
import { innerPoints, pointNames } from './names.js'
import type { InterpolateStep } from './types.js'

/**
 * The checkpoints of an interpolate step, in order: `from` at t = 0 and `to` at t = 1, both bit for bit, and (1 −
 * t)·from + t·to or their slerp in between. Names, shapes, configuration and tokenizer are those of `from`. A tensor
 * that `to` lacks, or has in another shape, is copied from `from` everywhere. Error: `nothing-to-merge` if the models
 * share no tensor.
 */
export function planPoints(
  step: InterpolateStep,
  config: Config | undefined,
  context: RepairContext,
): readonly Point[] {
  const { recipe, values, faults } = context
  const [from, to] = [values.get(step.from)!, values.get(step.to)!]
  const packed = refuseAnyPacked(recipe, [from, to], step.at, faults)
  const shared = [...from.tensors].filter(([name, tensor]) => partnerOf(tensor, to.tensors.get(name)))
  if (shared.length === 0 && !packed) {
    const message = `${step.from} and ${step.to} share no floating-point tensor of the same shape`
    faults.error(
      'nothing-to-merge',
      message,
      recipe.placeOf(step.at, 'key'),
      'name two models of the same architecture',
    )
  }
  if (shared.length > 0) {
    const book = unmergedBook(
      recipe,
      { name: step.name, at: step.at, keep: false, canKeep: false, base: from, values, config },
      faults,
    )
    for (const [name, tensor] of from.tensors) {
      if (!isFloat(tensor.dtype)) continue
      const other = to.tensors.get(name)
      const reason: AbsentReason | undefined = !other
        ? 'missing'
        : !isFloat(other.dtype)
          ? 'dtype'
          : sameShape(other.shape, tensor.shape)
            ? undefined
            : 'shape'
      const absent = reason ? [{ model: step.to, reason }] : []
      book.note(name, tensor, [step.to], absent, reason !== undefined)
    }
    book.close()
  }
  const names = pointNames(step.points)
  const points = step.points.map((t, index) => {
    return { name: names[index]!, t, value: valueAt(step, from, to, t, names[index]!) }
  })
  return step.repair && shared.length > 0 ? repairedPoints(step, step.repair, points, context) : points
}

/** The points with repaired norms. The ends are models as they are. */
function repairedPoints(
  step: InterpolateStep,
  how: BatchNormRepair,
  points: readonly Point[],
  context: RepairContext,
): readonly Point[] {
  const inner = innerPoints(step.points)
  if (inner.length === 0) return points
  const models = inner.map((index) => {
    const { name, t, value } = points[index]!
    return { step: `${step.name}/${name}`, value, weights: [1 - t, t] }
  })
  const values = repaired(step, how, models, context) ?? models.map(({ value }) => value)
  return points.map((point, index) => {
    const at = inner.indexOf(index)
    return at < 0 ? point : { ...point, value: values[at]! }
  })
}

const partnerOf = (tensor: ValueTensor, other: ValueTensor | undefined): ValueTensor | undefined =>
  other && isFloat(tensor.dtype) && isFloat(other.dtype) && sameShape(tensor.shape, other.shape) ? other : undefined

function valueAt(step: InterpolateStep, from: Value, to: Value, t: number, point: string): Value {
  const tensors = new Map<string, ValueTensor>()
  for (const [name, tensor] of from.tensors) {
    const other = partnerOf(tensor, to.tensors.get(name))
    const { rule: _, ...rest } = tensor
    const keep = (kept: ValueTensor, reason: ValueTensor['reason']): ValueTensor => ({
      ...rest,
      expr: kept.expr,
      ...(kept.expr.kind === 'read' && reason ? { reason } : {}),
    })
    if (!isFloat(tensor.dtype)) tensors.set(name, keep(tensor, 'not-float'))
    else if (!other) tensors.set(name, keep(tensor, 'too-few'))
    else if (t === 0) tensors.set(name, keep(tensor, 'same-model'))
    else if (t === 1) tensors.set(name, keep(other, 'same-model'))
    else {
      const { reason: _reason, ...plain } = rest
      tensors.set(name, { ...plain, expr: between(step, tensor.expr, other.expr, t) })
    }
  }
  return { name: `${step.name}/${point}`, tensors, origin: from.origin, ...stackedLike(from) }
}

const between = ({ name, method, from, to }: InterpolateStep, a: Expr, b: Expr, t: number): Expr => ({
  kind: 'merge',
  step: name,
  method,
  models: [from, to],
  weights: method === 'slerp' ? [1, 1] : [1 - t, t],
  parameters: method === 'slerp' ? { t } : { normalize: false },
  inputs: [a, b],
})

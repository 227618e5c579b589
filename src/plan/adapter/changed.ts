import { kindOf } from '../../adapters/kinds/index.js'
import { misfit, RIGHT_BASE, report } from '../../adapters/misfit.js'
import type { Change, Misfit, Product, Update, Weight } from '../../adapters/types.js'
import { elements } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import type { Expr } from '../../expr/types.js'
import type { ValueTensor } from '../../expr/values.js'
import type { Orientation } from '../../networks/orientation.js'
import type { Application } from './application.js'
import { between, type Names, normed, plus, reflected, rotated, times, without } from './compose.js'

/**
 * A tensor with an update; undefined if it stays as it is or after an error: those of the update's kind, `adapter-shape`
 * and `lora-scale`.
 */
export function changed(
  application: Application,
  tensor: ValueTensor,
  update: Update,
  oriented: (module: string) => Orientation | undefined,
): ValueTensor | undefined {
  const { module, parts, target } = update
  const { rows } = target
  const shape = rows ? [rows.count, ...tensor.shape.slice(1)] : tensor.shape
  const weight: Weight = { ...tensor, shape, orientation: () => oriented(module) }
  const change = kindOf(update.kind).change(update, weight)
  if (!change) return undefined
  const whole = Object.values(parts).find(({ dtype }) => !isFloat(dtype)) ?? tensor
  const made =
    change.kind === 'misfit'
      ? change
      : isFloat(whole.dtype)
        ? exprOf(application, tensor, update, change)
        : misfit('adapter-shape', `: terge can't compute with ${whole.dtype}`, RIGHT_BASE)
  if (made?.kind === 'misfit') {
    report(made, module, application.reporter)
    return undefined
  }
  const { reason: _, ...rest } = tensor
  return made && { ...rest, expr: made }
}

/** A tensor with a product of two factors added to it. */
export function withProduct(
  { base, adapterName, loraScale }: Application,
  tensor: ValueTensor,
  product: Product,
  scale: number,
): ValueTensor {
  const names: Names = { model: base.name, adapter: adapterName }
  const { reason: _, ...rest } = tensor
  if (loraScale * scale === 0) return tensor
  return { ...rest, expr: plus(names, tensor.expr, tensor.shape, product, loraScale * scale, undefined) }
}

function exprOf(
  { base, adapterName, loraScale }: Application,
  tensor: ValueTensor,
  update: Update,
  change: Change,
): Expr | Misfit | undefined {
  const { shape } = tensor
  const names: Names = { model: base.name, adapter: adapterName }
  const { scale, magnitude, target, start, rank = 1 } = update
  if (change.kind === 'replace') return change.expr
  // PEFT decomposes the stored weight.
  const decomposes =
    shape.length === 2 && !update.embedding && (start !== 'olora' || change.kind !== 'add' || !change.turned)
  if (start && !decomposes)
    return misfit(
      'adapter-arithmetic',
      `: terge can't compute what ${start} takes from a weight of this kind`,
      'save it with PEFT as a plain LoRA (path_initial_model_for_weight_conversion)',
    )
  const expr = start ? without(names, tensor, start, rank, scale) : tensor.expr
  if (change.kind !== 'add') {
    if (loraScale !== 1)
      return misfit(
        'adapter-arithmetic',
        `: lora_scale has no meaning for ${kindOf(update.kind).title}, which multiplies weights`,
        'remove lora_scale',
      )
    if (change.kind === 'times') return times(names, expr, change.factor)
    return change.kind === 'reflect' ? reflected(names, expr, shape, change) : rotated(names, expr, shape, change)
  }
  const own = magnitude?.scales === 'norms' ? scale : loraScale * scale
  const updated = own === 0 ? expr : plus(names, expr, shape, change.delta, own, target.rows)
  if (!magnitude) return own === 0 && !start ? undefined : updated
  const per = magnitude.per ?? (change.turned ? 'columns' : 'rows')
  const wanted = per === 'rows' ? shape[0]! : per === 'channels' ? shape[1]! : elements(shape.slice(1))
  if (elements(magnitude.tensor.shape) !== wanted || target.rows)
    return misfit(
      'adapter-shape',
      `: it has ${elements(magnitude.tensor.shape)} magnitudes, but the weight [${shape.join(', ')}] has ${wanted} ${per}`,
      RIGHT_BASE,
    )
  const whole = normed(names, updated, shape, magnitude, per)
  return magnitude.scales === 'norms' && loraScale !== 1 ? between(names, updated, whole, loraScale) : whole
}

import { kindOf } from '../../adapters/kinds/index.js'
import { misfit, RIGHT_BASE, report } from '../../adapters/misfit.js'
import type { Update, Weight } from '../../adapters/types.js'
import { isFloat } from '../../encodings/index.js'
import type { LoraExpr } from '../../expr/types.js'
import type { ValueTensor } from '../../expr/values.js'
import type { Orientation } from '../../networks/orientation.js'
import type { Application } from './application.js'

/**
 * A tensor with an update; undefined if it stays as it is or after an error: those of the update's kind, and
 * `adapter-shape`.
 */
export function changed(
  { loraScale, reporter }: Application,
  tensor: ValueTensor,
  update: Update,
  oriented: (module: string) => Orientation | undefined,
): ValueTensor | undefined {
  const { module, scale } = update
  const weight: Weight = { ...tensor, orientation: () => oriented(module) }
  const found = kindOf(update.kind).change(update, weight)
  if (!found) return undefined
  if (found.kind === 'misfit') {
    report(found, module, reporter)
    return undefined
  }
  if (!isFloat(tensor.dtype) || tensor.expr.kind !== 'read') {
    const why = isFloat(tensor.dtype) ? 'the adapter changes it twice' : `the model has it in ${tensor.dtype}`
    report(misfit('adapter-shape', `: ${why}`, RIGHT_BASE), module, reporter)
    return undefined
  }
  const factor = loraScale * scale
  if (factor === 0) return undefined
  const { kind: _, rank, left, right } = found.delta
  const { reason: __, expr: base, shape, ...rest } = tensor
  const expr: LoraExpr = { kind: 'lora', base, shape, rank, scale: factor, ...(left ? { left } : {}), right }
  return { ...rest, shape, expr }
}

/** IA³ (arXiv 2205.05638): W times one number per input or per output; biases of outputs alike. */
import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Change, Kind, Misfit, Update, Weight } from '../types.js'
import { along, read, reshape, viewOf } from '../views.js'

function change({ parts, settings }: Update, { shape, orientation }: Weight): Change | Misfit | undefined {
  const { l } = parts as { l: ValueTensor }
  const count = elements(l.shape)
  const unfit = (): Misfit =>
    misfit(
      'adapter-shape',
      `: the vector has shape [${l.shape.join(', ')}] and the tensor [${shape.join(', ')}]`,
      RIGHT_BASE,
    )
  const perInput = settings?.perInput === true
  if (shape.length === 1)
    return count === shape[0] ? { kind: 'times', factor: read(reshape(viewOf(l), shape)) } : unfit()
  const [outputs, inputs] = [shape[0]!, shape[1]!]
  const wanted = perInput ? [inputs, outputs] : [outputs, inputs]
  const isStraight = count === wanted[0]
  const isTurned = shape.length === 2 && count === wanted[1]
  if (!isStraight && !isTurned) return unfit()
  const decided = isStraight && isTurned ? orientation() : isStraight ? 'straight' : 'turned'
  if (decided === undefined) return undefined
  const byRow = perInput === (decided === 'turned')
  // The inputs of a convolution: one number per place along the second axis.
  if (!byRow && shape.length > 2) {
    const kernel = elements(shape.slice(2))
    const across = along(reshape(viewOf(l), [count]), 'rows', [count, kernel])
    return { kind: 'times', factor: read(along(reshape(across, [count * kernel]), 'columns', shape)) }
  }
  return { kind: 'times', factor: read(along(viewOf(l), byRow ? 'rows' : 'columns', shape)) }
}

export const ia3: Kind = { name: 'ia3', title: 'IA³', parts: ['l'], change }

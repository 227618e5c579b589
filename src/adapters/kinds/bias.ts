/** A difference of a bias (`lora_bias`), scaled like the update of the weight. */

import { sameShape } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import type { ValueTensor } from '../../expr/values.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Change, Kind, Misfit, Update, Weight } from '../types.js'
import { factorOf } from './lora.js'

function change({ module, parts }: Update, { shape }: Weight): Change | Misfit {
  const { b } = parts as { b: ValueTensor }
  if (!sameShape(shape, b.shape) || !isFloat(b.dtype))
    return misfit(
      'adapter-shape',
      `its bias of ${module} does not fit the shape [${shape.join(', ')}] in the model`,
      RIGHT_BASE,
      true,
    )
  return { kind: 'add', delta: { kind: 'product', rank: 1, right: factorOf(b, true) } }
}

export const bias: Kind = { name: 'bias', title: 'bias', parts: ['b'], change }

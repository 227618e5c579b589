/** A difference of a whole tensor: `diff`, `diff_b` and those of norms in LyCORIS. */
import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Alone, Change, Kind, Misfit, Update, Weight } from '../types.js'
import { read, reshape, viewOf } from '../views.js'

function change({ parts }: Update, { shape }: Weight): Change | Misfit {
  const { diff } = parts as { diff: ValueTensor }
  if (diff.shape[0] !== shape[0] || elements(diff.shape) !== elements(shape))
    return misfit(
      'adapter-shape',
      `: the difference has shape [${diff.shape.join(', ')}] and the tensor [${shape.join(', ')}]`,
      RIGHT_BASE,
    )
  return { kind: 'add', delta: read(reshape(viewOf(diff), shape)) }
}

function alone({ parts }: Update): Alone | undefined {
  const { diff } = parts as { diff: ValueTensor }
  const [rows = 0, ...inputs] = diff.shape
  return inputs.length === 0 ? undefined : { rows, inputs, whole: () => diff.expr }
}

export const full: Kind = { name: 'full', title: 'difference', parts: ['diff'], change, alone }

/** HRA (arXiv 2405.17484): W times Householder reflections of its inputs. */
import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Change, Kind, Misfit, Update, Weight } from '../types.js'
import { read, viewOf } from '../views.js'

function change({ parts, settings }: Update, { shape }: Weight): Change | Misfit {
  const { u } = parts as { u: ValueTensor }
  if (u.shape.length !== 2 || u.shape[0] !== elements(shape.slice(1)) || shape.length < 2)
    return misfit(
      'adapter-shape',
      `: it has vectors [${u.shape.join(', ')}] for the weight [${shape.join(', ')}]`,
      RIGHT_BASE,
    )
  return { kind: 'reflect', by: read(viewOf(u)), rank: u.shape[1]!, orthonormal: settings?.orthonormal === true }
}

export const hra: Kind = { name: 'hra', title: 'HRA', parts: ['u'], change }

/** OFT (arXiv 2306.07280): blocks of inputs of W are rotated. */
import { elements } from '../../core/dtypes.js'
import type { ValueTensor } from '../../expr/values.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Change, Kind, Misfit, Update, Weight } from '../types.js'
import { read, viewOf } from '../views.js'

/** A rotation is in memory as a whole. */
const MOST_SIZE = 4096

function change({ parts, settings }: Update, { shape, expr }: Weight): Change | Misfit {
  const { r } = parts as { r: ValueTensor }
  const [vectors = 0, count = 0] = r.shape
  // A triangle without its diagonal has this many elements.
  const size = (1 + Math.sqrt(1 + 8 * count)) / 2
  const columns = elements(shape.slice(1))
  const blocks = columns / size
  const isShared = settings?.shared === true
  const fits = shape.length >= 2 && r.shape.length === 2 && Number.isInteger(size) && size <= MOST_SIZE
  if (!fits || !Number.isInteger(blocks) || vectors !== (isShared ? 1 : blocks))
    return misfit(
      'adapter-shape',
      `: it has rotations [${r.shape.join(', ')}] for the weight [${shape.join(', ')}]`,
      RIGHT_BASE,
    )
  // Blocks of one input have nothing to rotate, and no numbers.
  if (size === 1) return { kind: 'replace', expr }
  return { kind: 'rotate', by: read(viewOf(r)), size, vectors, terms: Number(settings?.terms) }
}

export const oft: Kind = { name: 'oft', title: 'OFT', parts: ['r'], change }

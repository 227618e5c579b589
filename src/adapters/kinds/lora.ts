/** LoRA (arXiv 2106.09685): ΔW = B·A, in linear, convolution and embedding layers. */
import { elements, sameShape } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import type { LoraFactor, ReadExpr } from '../../expr/types.js'
import type { ValueTensor } from '../../expr/values.js'
import { made, multiplied, wholeOf } from '../alone.js'
import { misfit, RIGHT_BASE, rankMisfit } from '../misfit.js'
import type { Alone, Change, Kind, Misfit, Parts, Update, Weight } from '../types.js'
import { along, read, reshape, spread, viewOf } from '../views.js'

/** The kernel packs at least one panel of a factor, and a worker's scratch space is limited. */
const MOST_RANK = 1 << 16

export const factorOf = ({ expr }: ValueTensor, byRank: boolean): LoraFactor => ({ read: expr as ReadExpr, byRank })

function change(
  { embedding, rank: written, parts }: Update,
  { shape, dtype, orientation }: Weight,
): Change | Misfit | undefined {
  const { a, b, aScale, bScale } = parts as Parts & { a: ValueTensor; b: ValueTensor }
  const shapes = `A [${a.shape.join(', ')}], B [${b.shape.join(', ')}] and the weight [${shape.join(', ')}]`
  const unfit = (why: string): Misfit => misfit('adapter-shape', `: ${why}: ${shapes}`, RIGHT_BASE)
  if (a.shape.length < 2 || b.shape.length < 2) return unfit('the factors are not matrices')
  const rank = written ?? a.shape[0]!
  if (a.shape[0] !== rank || b.shape[1] !== rank) {
    if (a.shape[0] === b.shape[1]) return rankMisfit(a.shape[0]!, rank)
    return a.shape[0] === rank
      ? unfit('this is a grouped convolution, or its factors have different ranks')
      : unfit('the ranks differ')
  }
  if (rank > MOST_RANK)
    return misfit(
      'adapter-rank',
      ` has rank ${rank}; terge supports ranks up to ${MOST_RANK}`,
      'merge the adapter with PEFT',
    )
  if (![a, b].every(({ dtype }) => isFloat(dtype)) || !isFloat(dtype))
    return unfit(`terge can't add factors in ${a.dtype} and ${b.dtype} to a weight in ${dtype}`)
  const [inputs, outputs] = [a.shape.slice(1), b.shape[0]!]
  if ((aScale && elements(aScale.shape) !== rank) || (bScale && elements(bScale.shape) !== outputs))
    return unfit('the numbers per rank or per output do not fit')
  const [down, up] = [scaled(a, true, aScale), scaled(b, false, bScale)]
  const straight = { left: up, right: down }
  const turned = { left: down, right: up }
  const fits = b.shape.slice(2).every((size) => size === 1)
  // Merged adapters do not always show the kernel of a convolution.
  const isFlat = shape.length > 2 && inputs.length === 1 && inputs[0] === elements(shape.slice(1))
  const isStraight = fits && !embedding && (sameShape(shape, [outputs, ...inputs]) || (isFlat && shape[0] === outputs))
  const isTurned = fits && inputs.length === 1 && sameShape(shape, [inputs[0]!, outputs])
  if (!isStraight && !isTurned) return unfit('the shapes do not fit')
  // A square weight fits in both orientations.
  const decided = isStraight && isTurned ? orientation() : isStraight ? 'straight' : 'turned'
  if (decided === undefined) return undefined
  if (decided === 'turned') return { kind: 'add', turned: true, delta: { kind: 'product', rank, ...turned } }
  return { kind: 'add', delta: { kind: 'product', rank, ...straight } }
}

/** A factor, each row of which is multiplied by a number. */
function scaled(tensor: ValueTensor, byRank: boolean, scale: ValueTensor | undefined): LoraFactor {
  const own = factorOf(tensor, byRank)
  if (!scale) return own
  const { shape } = tensor
  return { ...own, times: read(along(viewOf(scale), 'rows', shape)) }
}

/** `alpha`: a number that is stored as a tensor and multiplies the update. */
function alone({ parts }: Update): Alone | undefined {
  const { a, b, alpha, aScale, bScale } = parts as Parts & { a: ValueTensor; b: ValueTensor }
  const [rank = 0, ...inputs] = a.shape
  const [rows = 0, width, ...kernel] = b.shape
  const isProduct = inputs.length > 0 && rank > 0 && width === rank && kernel.every((size) => size === 1)
  if (!isProduct || ![a, b].every(({ dtype }) => isFloat(dtype))) return undefined
  if ((aScale && elements(aScale.shape) !== rank) || (bScale && elements(bScale.shape) !== rows)) return undefined
  const shape = [rows, ...inputs]
  const product = { kind: 'product', rank, left: scaled(b, false, bScale), right: scaled(a, true, aScale) } as const
  const each = (by: ValueTensor, size: readonly number[]) =>
    read(reshape(spread(reshape(viewOf(by), [1]), 0, elements(size)), size))
  const numbers = (by: ValueTensor, of: ValueTensor) =>
    made(of.shape, multiplied(of.expr, read(along(viewOf(by), 'rows', of.shape))), [of, by])
  const byAlpha = { step: 'alpha', models: ['alpha'], weights: [1] }
  const up = alpha ? { ...b, expr: { ...multiplied(b.expr, each(alpha, b.shape)), ...byAlpha } } : b
  return {
    ...{ rows, inputs },
    factors: { rank, a: aScale ? numbers(aScale, a) : a, b: bScale ? numbers(bScale, up) : up },
    whole: () => {
      const whole = wholeOf(product, shape)
      return alpha ? multiplied(whole, each(alpha, shape)) : whole
    },
  }
}

export const lora: Kind = { name: 'lora', title: 'LoRA', parts: ['a', 'b', 'aScale?', 'bScale?'], change, alone }

/**
 * sce: every model's difference where the variance over the models lies above a threshold, under the sign that they elect
 * unweighted. Coefficients: λ, nothing, then low and lowCut of the variance's key (low −1: all); of each model the second is
 * its weight. `scratch` has BLOCK elements of C a model.
 */
import { BLOCK, KEPT, OUT, baseBlock, block, difference, storeBlock, storeMasked } from './block'
import { base, coefficients, input, inputCount, output, scratch } from '../memory/context'
import { SCE, combine } from './elect'
import { keptByVariance } from './keys'
import { BF16, F16, F32, F64, at } from '../memory/storage'


// @ts-ignore: decorator
@inline
function merge<S, C>(context: usize, n: usize): void {
  const list = coefficients(context), count = <usize>inputCount(context), bytes = at<S>().bytes
  const parts = scratch(context), stride = BLOCK * sizeof<C>(), four = bytes << 2
  const low = <i32>load<f64>(list, 16), lowCut = load<f64>(list, 24)
  if (low < 0) memory.fill(KEPT, 0xff, BLOCK << 2)
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o)
    if (low >= 0) keptByVariance<S, C>(context, o, m, low, lowCut, KEPT)
    const b = baseBlock<S>(base(context) + o * bytes, m)
    for (let i: usize = 0; i < count; i++) {
      let x = block<S>(input(context, i) + o * bytes, m), origin = b, kept: usize = KEPT
      let to = parts + i * stride
      const end = x + m * bytes
      for (; x < end; x += four, origin += four, kept += 16, to += sizeof<C>() << 2) {
        const d0 = difference<S, C>(x, origin), d1 = sizeof<C>() == 8 ? difference<S, C>(x + 16, origin + 16) : d0
        storeMasked<C>(to, d0, d1, v128.load(kept))
      }
    }
    combine<S, C>(b, parts, stride, count, list, m, OUT, SCE)
    storeBlock<S, C>(OUT, output(context) + o * bytes, m)
  }
}

export function sce_f32(context: usize, n: usize): void { merge<F32, f32>(context, n) }
export function sce_f64(context: usize, n: usize): void { merge<F64, f64>(context, n) }
export function sce_F16(context: usize, n: usize): void { merge<F16, f32>(context, n) }
export function sce_BF16(context: usize, n: usize): void { merge<BF16, f32>(context, n) }

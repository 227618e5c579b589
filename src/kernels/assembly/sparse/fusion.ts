/**
 * arcee_fusion. divergence: of one row, the sum is KL = Σ p ln(p/q), p = softmax(x) + 1e-8, q = softmax(b) + 1e-8, in float64, not
 * under 0, rounded to C; sums go by lanes, chunks and tiles counted from the row's start.
 * choose: x where its importance (see keys.ts) is at least the coefficient, the base elsewhere.
 */
import { isFinite1, same1 } from '../memory/equal'
import { BLOCK, OUT, storeBlock } from './block'
import { base, coefficients, input, output, sums } from '../memory/context'
import { IMPORTANCE, KEYS, keysOfBlock } from './keys'
import { CHUNK, F32, F64, TILE, at } from '../memory/storage'

// @ts-ignore: decorator
@inline
function element<C>(p: usize, i: usize): f64 {
  return sizeof<C>() == 8 ? load<f64>(p + (i << 3)) : <f64>load<f32>(p + (i << 2))
}

/** Not finite, and the same in both: it says nothing of a difference, and is left out. */
// @ts-ignore: decorator
@inline
function shared<C>(x: usize, y: usize, i: usize): bool {
  const at = i * sizeof<C>()
  return !isFinite1<C>(load<C>(x + at)) && same1<C>(load<C>(x + at), load<C>(y + at))
}

function largest<C>(p: usize, other: usize, n: usize): f64 {
  let most = -Infinity
  for (let i: usize = 0; i < n; i++) if (!shared<C>(p, other, i)) most = max(most, element<C>(p, i))
  return most
}

/** What is summed up: exp(x − its largest), or the row's divergence. Elements that are shared with `other` count as exp(−inf). */
// @ts-ignore: decorator
@inline
function total<C>(
  x: usize, n: usize, most: f64, scale: f64, other: usize, otherMost: f64, otherScale: f64, diverging: bool,
): f64 {
  let sum: f64 = 0
  for (let tile: usize = 0; tile < n; tile += TILE) {
    let part: f64 = 0
    const end = min(n, tile + TILE)
    for (let chunk = tile; chunk < end; chunk += CHUNK) {
      let l0: f64 = 0, l1: f64 = 0, l2: f64 = 0, l3: f64 = 0
      for (let i = chunk; i < min(end, chunk + CHUNK); i++) {
        if (shared<C>(x, other, i)) continue
        let term = NativeMath.exp(element<C>(x, i) - most)
        if (diverging) {
          const p = term / scale + 1e-8, q = NativeMath.exp(element<C>(other, i) - otherMost) / otherScale + 1e-8
          term = p * NativeMath.log(p / q)
        }
        const lane = (i - chunk) & 3
        if (lane == 0) l0 += term
        else if (lane == 1) l1 += term
        else if (lane == 2) l2 += term
        else l3 += term
      }
      part += l0 + l2 + (l1 + l3)
    }
    sum += part
  }
  return sum
}

// @ts-ignore: decorator
@inline
function divergence<C>(context: usize, n: usize): void {
  const x = input(context, 0), b = base(context)
  const most = largest<C>(x, b, n), baseMost = largest<C>(b, x, n)
  const scale = total<C>(x, n, most, 1, b, 0, 1, false), baseScale = total<C>(b, n, baseMost, 1, x, 0, 1, false)
  store<f64>(sums(context), <f64><C>max<f64>(0, total<C>(x, n, most, scale, b, baseMost, baseScale, true)))
}

export function divergence_f32(context: usize, n: usize): void { divergence<f32>(context, n) }
export function divergence_f64(context: usize, n: usize): void { divergence<f64>(context, n) }

// @ts-ignore: decorator
@inline
function choose<S, C>(context: usize, n: usize): void {
  const threshold = <f32>load<f64>(coefficients(context)), bytes = at<S>().bytes
  for (let o: usize = 0; o < n; o += BLOCK) {
    const m = min(BLOCK, n - o)
    keysOfBlock<S, C>(context, IMPORTANCE, 0, o, m)
    const x = input(context, 0) + o * bytes, b = base(context) + o * bytes
    for (let i: usize = 0; i < m; i++) {
      const chosen = load<f32>(KEYS + (i << 2)) >= threshold ? x : b
      store<C>(OUT + i * sizeof<C>(), load<C>(chosen + i * sizeof<C>()))
    }
    storeBlock<S, C>(OUT, output(context) + o * bytes, m)
  }
}

export function choose_f32(context: usize, n: usize): void { choose<F32, f32>(context, n) }
export function choose_f64(context: usize, n: usize): void { choose<F64, f64>(context, n) }

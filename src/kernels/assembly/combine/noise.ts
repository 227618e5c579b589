/**
 * noised: (x + size · z) · factor for blocks of elements, z being random: N(0, 1), or uniform in (−1, 1).
 *
 * The table: the length of a block, 1 where z is uniform, then for each block its stream (four u32), size and factor. Elements 2p and
 * 2p + 1 of a block take the four words of block p of the stream. A pair of words is a number of 53 bits between 0 and 1.
 * N(0, 1) is by Box and Muller: √(−2 ln u) · cos 2πv and √(−2 ln u) · sin 2πv. All is computed in f64 and rounded once.
 */
import { first, input, output, scratch, table } from '../memory/context'
import { randomWords } from '../memory/random'

/** Elements at once. An odd start and end can make one pair more. */
const AT_ONCE: usize = 256

// @ts-ignore: decorator
@inline
function share(words: usize): f64 {
  const high = <f64>(load<u32>(words) >> 5), low = <f64>(load<u32>(words, 4) >> 6)
  return (high * 67108864.0 + low + 0.5) * 1.1102230246251565e-16
}

/** Element `index` of a block; `words`: those of its pair. */
function randomOf(words: usize, index: u64, uniform: bool): f64 {
  const odd = (index & 1) != 0
  if (uniform) return 2.0 * share(words + (odd ? 8 : 0)) - 1.0
  const radius = sqrt<f64>(-2.0 * NativeMath.log(share(words)))
  const angle = 6.283185307179586 * share(words + 8)
  return radius * (odd ? NativeMath.sin(angle) : NativeMath.cos(angle))
}

// @ts-ignore: decorator
@inline
function noised<C>(context: usize, n: usize): void {
  const rule = table(context), room = scratch(context)
  const length = <u64>load<f64>(rule), uniform = load<f64>(rule, 8) != 0
  const x = input(context, 0), out = output(context)
  for (let i: usize = 0; i < n; ) {
    const at = first(context) + i
    const entry = rule + 16 + <usize>(at / length) * 48
    const size = load<f64>(entry, 32), factor = load<f64>(entry, 40)
    let index = at % length
    const end = i + <usize>min<u64>(min<u64>(n - i, AT_ONCE), length - index)
    const pair = index >> 1
    const words = randomWords(entry, pair << 2, <usize>((((index + (end - i) + 1) >> 1) - pair) << 2), room)
    for (; i < end; i++, index++) {
      const z = randomOf(words + <usize>(((index >> 1) - pair) << 4), index, uniform)
      store<C>(out + i * sizeof<C>(), <C>((<f64>load<C>(x + i * sizeof<C>()) + size * z) * factor))
    }
  }
}

export function noised_f32(context: usize, n: usize): void { noised<f32>(context, n) }
export function noised_f64(context: usize, n: usize): void { noised<f64>(context, n) }

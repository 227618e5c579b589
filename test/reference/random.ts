/** The random numbers of elements, one at a time: the kernels draw four at once. */
import { philox, type RandomStream } from '../../src/core/random.js'

/** The uniform number of element `index` (a whole number from 0 to 2⁵³ − 1): in [0, 1), a multiple of 2⁻²⁴. */
export function uniform(stream: RandomStream, index: number): number {
  const [key0, key1, counter2, counter3] = stream
  const block = Math.floor(index / 4)
  const words = philox([block >>> 0, Math.floor(block / 2 ** 32), counter2, counter3], [key0, key1])
  return (words[(index % 4) as 0 | 1 | 2 | 3] >>> 8) * 2 ** -24
}

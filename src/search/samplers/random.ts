/** Points drawn evenly from the whole space. */
import type { Sampler } from '../types.js'
import { uniforms, valueAt } from './ranges.js'

const BATCH = 16

export const random: Sampler = {
  name: 'random',
  describe: 'draws points evenly from the whole space',
  check: () => undefined,
  batch: () => BATCH,
  propose: (space, { seed, trials }, batch) =>
    Array.from({ length: Math.min(BATCH, trials - batch * BATCH) }, (_, index) => {
      const places = uniforms(seed, `trial ${batch * BATCH + index}`, space.length)
      return space.map(({ range }, dimension) => valueAt(range, places[dimension]!))
    }),
}

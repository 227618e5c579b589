/**
 * Nearswap: interpolates towards the other model where it is near the base.
 *
 *   s = clamp(t / max(|b − x|, 1e-6), 0, 1);  s·x + (1−s)·b
 *
 * b: the base's tensor (the base is one of the two models); x: the other model's; t: the distance that counts as near.
 * Computed in the compute dtype.
 * Source: mergekit.
 */
import type { Method } from '../types.js'

export const nearswap: Method = {
  name: 'nearswap',
  aliases: [],
  summary: 'interpolation towards the other model where it is close to the base',
  formula: 's·x + (1−s)·b, s = clamp(t/max(|b − x|, 1e-6), 0, 1)',
  base: 'listed',
  weights: false,
  divides: () => false,
  models: { least: 2, most: 2, needed: 'all' },
  parameters: [{ name: 't', type: 'number', minimum: 0, describe: 'Distance up to which x replaces b.' }],
  effective: ({ weights }) => weights.map(() => null),
  passes: () => ({
    reduces: [],
    map: { kernel: 'nearswap', coefficients: ({ parameters }) => [Number(parameters.t)] },
  }),
}

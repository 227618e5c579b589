/**
 * Passthrough: one model's tensors, unchanged or scaled.
 *
 *   scale · x
 *
 * With scale 1, terge copies the stored bytes, unless the output has another dtype.
 */
import type { Method, TensorSettings } from '../types.js'

const factors = ({ parameters: { scale } }: Pick<TensorSettings, 'parameters'>): readonly number[] =>
  Array.isArray(scale) ? (scale as number[]) : [Number(scale)]

export const passthrough: Method = {
  name: 'passthrough',
  aliases: [],
  summary: "one model's tensors, unchanged or scaled",
  formula: 'scale·x',
  base: 'none',
  weights: false,
  divides: () => false,
  models: { least: 1, most: 1, needed: 1 },
  parameters: [{ name: 'scale', type: 'number', default: 1, perModel: true, describe: 'Factor on every element.' }],
  adapters: { kind: 'sum', coefficients: factors },
  effective: ({ weights }) => weights.map(() => null),
  passes: () => ({
    reduces: [],
    map: { kernel: 'linear', coefficients: factors },
  }),
}

/** Quantizing a result: not a merge method, but passes over one tensor like those of one. */
import type { MapPass, Passes, ReducePass, TensorSettings } from './types.js'

/** How results are quantized. Names as in recipes. */
export type Quantizer = 'fp8-block' | 'fp8-channel'

export const QUANTIZERS = ['fp8-block', 'fp8-channel'] as const satisfies readonly Quantizer[]

/** Rows and columns of a block of `fp8-block`. */
export const FP8_BLOCK = 128
/** The largest number of E4M3. */
const LARGEST = 448

/** Rows and columns that share a scale; `undefined`: all of a row. */
const BLOCKS: Readonly<Record<Quantizer, readonly [rows: number, columns: number | undefined]>> = {
  'fp8-block': [FP8_BLOCK, FP8_BLOCK],
  'fp8-channel': [1, undefined],
}

/** The shape of the scales of a matrix. */
export function scaleShape(quantizer: Quantizer, [rows, columns]: readonly number[]): readonly [number, number] {
  const [a, b] = BLOCKS[quantizer]
  return [Math.ceil(rows! / a), b === undefined ? 1 : Math.ceil(columns! / b)]
}

const isQuantizer = (name: string): name is Quantizer => QUANTIZERS.some((one) => one === name)

/** The passes that quantize a tensor; undefined if this is not the name of a quantizer. */
export function quantizerPasses(name: string): ((settings: TensorSettings) => Passes) | undefined {
  return isQuantizer(name) ? (settings) => passes(name, settings) : undefined
}

/** The first pass finds the largest magnitudes, and its result are the scales, row by row. */
function passes(quantizer: Quantizer, { shape }: TensorSettings): Passes {
  const [rows, columns] = [shape[0]!, shape[1]!]
  const [high, groups] = scaleShape(quantizer, shape)
  const [a, b = columns] = BLOCKS[quantizer]
  const largest: ReducePass = {
    kernel: 'largest',
    slots: groups,
    combine: 'rows',
    coefficients: () => [b],
    conclude(found) {
      const scales = new Float64Array(high * groups)
      for (let row = 0; row < rows; row++)
        for (let group = 0; group < groups; group++) {
          const at = Math.floor(row / a) * groups + group
          scales[at] = Math.max(scales[at]!, found[row * groups + group]!)
        }
      // float32, as it is stored. Zeros, and what is too small for a scale, are divided by 1.
      return scales.map((most) => Math.fround(Math.fround(most) / LARGEST) || 1)
    },
  }
  const map: MapPass = {
    kernel: 'quotients',
    coefficients: () => [b],
    table({ results }) {
      const scales = results[0]!
      const values = new Float64Array(rows * groups)
      for (let row = 0; row < rows; row++) {
        const start = Math.floor(row / a) * groups
        values.set(scales.subarray(start, start + groups), row * groups)
      }
      return { per: 'row', slots: groups, values }
    },
  }
  return { reduces: [largest], map }
}

/** Noise on a tensor: not a merge method, but passes over one tensor like those of one. See kernels/assembly/combine/noise.ts. */
import type { RandomStream } from '../core/random.js'
import type { Passes, Resolved, TensorSettings } from './types.js'

const NOISE = 'noise'
/** 256 elements at once are 129 pairs of four words, and some more are made. */
const SCRATCH = 4 * (4 * 129 + 34)

export const isNoise = (name: string): boolean => name === NOISE

/** A block of elements with an own stream: (x + size · z) · factor. */
export interface NoiseBlock {
  readonly stream: RandomStream
  readonly size: number
  readonly factor: number
}

/** What of a merge expression makes noise, block by block of `length` elements. z: N(0, 1), or uniform in (−1, 1). */
export const noiseOf = (
  length: number,
  uniform: boolean,
  blocks: readonly NoiseBlock[],
): { readonly method: string; readonly parameters: Readonly<Record<string, Resolved>> } => ({
  method: NOISE,
  parameters: {
    noise: blocks.map(({ size }) => size),
    scale: blocks.map(({ factor }) => factor),
    uniform,
    length,
    stream: blocks.flatMap(({ stream }) => stream),
  },
})

/** The passes of noise; undefined if this is not its name. */
export const noisePasses = (name: string): ((settings: TensorSettings) => Passes) | undefined =>
  isNoise(name) ? passes : undefined

function passes({ parameters }: TensorSettings): Passes {
  const [sizes, factors, stream] = [parameters.noise, parameters.scale, parameters.stream] as [
    number[],
    number[],
    number[],
  ]
  const blocks = sizes.flatMap((size, at) => [...stream.slice(4 * at, 4 * at + 4), size, factors[at]!])
  const values = Float64Array.from([Number(parameters.length), parameters.uniform === true ? 1 : 0, ...blocks])
  return {
    reduces: [],
    map: {
      kernel: 'noised',
      coefficients: () => [],
      scratch: SCRATCH,
      table: () => ({ per: 'tensor', slots: values.length, values }),
    },
  }
}

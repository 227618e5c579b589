/** Seeded tensors for the law tests: bell-shaped values, the same on every run. */
import { randomStream } from '../../src/core/random.js'
import { add, type Compute, type Given, type Tensor } from './numeric.js'
import { uniform } from './random.js'

/** n values, near normal, of deviation `scale`, as float32. */
export function bell(name: string, n: number, scale = 1): Float32Array {
  const stream = randomStream(0, name, 'sample')
  return Float32Array.from({ length: n }, (_, i) => {
    let total = -2
    for (let part = 0; part < 4; part++) total += uniform(stream, 4 * i + part)
    return total * Math.sqrt(3) * scale
  })
}

/** A base of deviation 0.1 and `models` fine-tunes, 0.01 from it. */
export function fineTunes(shape: readonly number[], models: number, compute: Compute = 'float32'): Given {
  const n = shape.reduce((product, size) => product * size, 1)
  const base = bell('base', n, 0.1)
  const inputs = Array.from({ length: models }, (_, model) => {
    const delta = bell(`model ${model}`, n, 0.01)
    return base.map((value, i) => value + delta[i]!)
  })
  return { inputs, base, shape, compute, modelNames: inputs.map((_, i) => `m${i}`), tensorName: 'w' }
}

/** Largest difference, relative to the largest magnitude of the expected. */
export function distance(result: Tensor, expected: ArrayLike<number>): number {
  let [worst, largest] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(result[i]! - expected[i]!)
    // NaN must not be passed over.
    worst = Math.max(worst, difference)
    largest = Math.max(largest, Math.abs(expected[i]!))
  }
  return result.length === expected.length ? worst / (largest || 1) : Number.NaN
}

export const SHAPE = [12, 10]
export const N = 120
const without = ({ base: _, ...given }: Given): Given => given
export const withParameters = (given: Given, parameters: Record<string, unknown>): Given => ({ ...given, parameters })

/** Exactly two participants. */
const TWO = ['slerp', 'nuslerp']
/** A base and one other model. */
export const ONE_OTHER = ['nearswap', 'arcee_fusion']
/** What has no default. */
const NEEDED: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  slerp: { t: 0.3 },
  nearswap: { t: 0.01 },
  formula: { formula: 'base + median(delta)' },
}

/** No base; of equal models the model. */
export const AVERAGES = [
  'linear',
  'multislerp',
  'karcher',
  'median',
  'geometric_median',
  'slerp',
  'nuslerp',
  'fisher',
  'regmean',
]

/** Inputs of `method` with what it must have: three fine-tunes, or as many as it takes. */
export function sample(method: string, compute: Given['compute'] = 'float32'): Given {
  const all = fineTunes(SHAPE, 3, compute)
  const count = method === 'passthrough' || ONE_OTHER.includes(method) ? 1 : TWO.includes(method) ? 2 : 3
  const given = { ...all, inputs: all.inputs.slice(0, count), parameters: NEEDED[method] ?? {} }
  if (method === 'fisher')
    return { ...without(given), statistics: given.inputs.map((_, i) => bell(`f${i}`, N).map(Math.abs)) }
  if (method === 'regmean') return { ...without(given), statistics: given.inputs.map((_, i) => gram(`g${i}`)) }
  return AVERAGES.includes(method) || method === 'passthrough' ? without(given) : given
}

function gram(name: string): Float32Array {
  const data = bell(name, 10 * 40)
  return Float32Array.from({ length: 100 }, (_, at) =>
    add(Array.from({ length: 40 }, (_, k) => data[k * 10 + Math.floor(at / 10)]! * data[k * 10 + (at % 10)]!)),
  )
}

import { axisMaps, gather, type Permutations } from '../../src/rebasin/apply.js'
import type { Spec } from '../../src/rebasin/spec.js'
import type { AxisMap } from '../../src/views/types.js'
import type { Model } from './load.js'

/** A feature map of one example: channels × height × width. */
export interface Picture {
  readonly data: Float64Array
  readonly channels: number
  readonly size: number
}

const at = (model: Model, name: string) => model.get(name)!

export function linear(model: Model, name: string, x: ArrayLike<number>): Float64Array {
  const { values, shape } = at(model, `${name}.weight`)
  const [rows, columns] = shape as [number, number]
  const bias = model.get(`${name}.bias`)?.values
  return Float64Array.from({ length: rows }, (_, i) => {
    let sum = bias?.[i] ?? 0
    for (let j = 0; j < columns; j++) sum += values[i * columns + j]! * x[j]!
    return sum
  })
}

export const relu = (x: Float64Array): Float64Array => x.map((value) => Math.max(value, 0))

/** Convolution of odd kernels, padded to keep the size, then strided; `groups` as in the framework that trained it. */
export function convolve(
  model: Model,
  name: string,
  { data, channels, size }: Picture,
  stride = 1,
  groups = 1,
): Picture {
  const { values, shape } = at(model, `${name}.weight`)
  const [rows, depth, kernel] = shape as [number, number, number, number]
  const bias = model.get(`${name}.bias`)?.values
  const pad = (kernel - 1) / 2
  const next = Math.ceil(size / stride)
  const out = new Float64Array(rows * next * next)
  for (let o = 0; o < rows; o++) {
    const first = Math.floor((o * groups) / rows) * (channels / groups)
    for (let y = 0; y < next; y++) {
      for (let x = 0; x < next; x++) {
        let sum = bias?.[o] ?? 0
        for (let c = 0; c < depth; c++) {
          for (let ky = 0; ky < kernel; ky++) {
            const row = y * stride + ky - pad
            if (row < 0 || row >= size) continue
            for (let kx = 0; kx < kernel; kx++) {
              const column = x * stride + kx - pad
              if (column < 0 || column >= size) continue
              sum +=
                values[((o * depth + c) * kernel + ky) * kernel + kx]! *
                data[((first + c) * size + row) * size + column]!
            }
          }
        }
        out[(o * next + y) * next + x] = sum
      }
    }
  }
  return { data: out, channels: rows, size: next }
}

/** A transposed convolution of stride two without padding, for kernels of two by two: each place becomes four. */
export function widen(model: Model, name: string, { data, channels, size }: Picture): Picture {
  const { values, shape } = model.get(`${name}.weight`)!
  const bias = model.get(`${name}.bias`)?.values
  const [rows, wide] = [shape[1]!, size * 2]
  const out = Float64Array.from({ length: rows * wide * wide }, (_, i) => {
    const [o, y, x] = [Math.floor(i / wide / wide), Math.floor(i / wide) % wide, i % wide]
    let sum = bias?.[o] ?? 0
    for (let c = 0; c < channels; c++)
      sum += data[(c * size + (y >> 1)) * size + (x >> 1)]! * values[((c * rows + o) * 2 + (y & 1)) * 2 + (x & 1)]!
    return sum
  })
  return { data: out, channels: rows, size: wide }
}

/** BatchNorm as at evaluation. */
export function batchNorm(model: Model, name: string, { data, channels, size }: Picture): Picture {
  const [weight, bias, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map(
    (part) => at(model, `${name}.${part}`).values,
  )
  const area = size * size
  const out = data.map((value, i) => {
    const c = Math.floor(i / area)
    return ((value - mean![c]!) / Math.sqrt(variance![c]! + 1e-5)) * weight![c]! + bias![c]!
  })
  return { data: out, channels, size }
}

export const rectify = (picture: Picture): Picture => ({ ...picture, data: relu(picture.data) })

export function mlp(model: Model, layers: readonly string[], input: ArrayLike<number>): Float64Array {
  let x: ArrayLike<number> = input
  for (const [k, layer] of layers.entries()) {
    const next = linear(model, layer, x)
    x = k < layers.length - 1 ? relu(next) : next
  }
  return x as Float64Array
}

/** The largest of each two by two. */
export function halve({ data, channels, size }: Picture): Picture {
  const half = size / 2
  const at = (c: number, y: number, x: number) => data[(c * size + y) * size + x]!
  const out = Float64Array.from({ length: channels * half * half }, (_, i) => {
    const [c, y, x] = [Math.floor(i / half / half), 2 * (Math.floor(i / half) % half), 2 * (i % half)]
    return Math.max(at(c, y, x), at(c, y, x + 1), at(c, y + 1, x), at(c, y + 1, x + 1))
  })
  return { data: out, channels, size: half }
}

/** The mean of each channel. */
export function pooled({ data, channels, size }: Picture): Float64Array {
  const area = size * size
  const sum = (c: number) => data.subarray(c * area, (c + 1) * area).reduce((total, value) => total + value, 0)
  return Float64Array.from({ length: channels }, (_, c) => sum(c) / area)
}

export function resnet(model: Model, input: Picture): Float64Array {
  let x = rectify(batchNorm(model, 'bn1', convolve(model, 'conv1', input)))
  for (const [stage, stride] of [1, 2, 2].entries()) {
    const block = `layer${stage + 1}.0`
    const inside = rectify(batchNorm(model, `${block}.bn1`, convolve(model, `${block}.conv1`, x, stride)))
    const out = batchNorm(model, `${block}.bn2`, convolve(model, `${block}.conv2`, inside))
    const short = model.has(`${block}.downsample.0.weight`)
      ? batchNorm(model, `${block}.downsample.1`, convolve(model, `${block}.downsample.0`, x, stride))
      : x
    x = rectify({ ...out, data: out.data.map((value, i) => value + short.data[i]!) })
  }
  return linear(model, 'fc', pooled(x))
}

/** Accuracy and mean cross-entropy of a classifier on the digits. */
export function evaluate(
  digits: Model,
  logits: (pixels: Float64Array) => Float64Array,
  count = 360,
): { accuracy: number; loss: number } {
  const images = digits.get('images')!.values
  const labels = digits.get('labels')!.values
  let right = 0
  let loss = 0
  for (let n = 0; n < count; n++) {
    const out = logits(Float64Array.from({ length: 64 }, (_, i) => images[n * 64 + i]! / 16))
    const top = out.reduce((best, value, i) => (value > out[best]! ? i : best), 0)
    if (top === labels[n]) right++
    const peak = Math.max(...out)
    loss += peak + Math.log(out.reduce((sum, value) => sum + Math.exp(value - peak), 0)) - out[labels[n]!]!
  }
  return { accuracy: right / count, loss: loss / count }
}

export function aligned(spec: Spec, model: Model, perms: Permutations): Model {
  return new Map(
    [...model].map(([name, { dtype, shape, values }]) => {
      const maps: AxisMap[] = axisMaps(spec, perms, name, shape)
      return [name, { dtype, shape, values: gather(values, shape, maps) }]
    }),
  )
}

export function average(...models: Model[]): Model {
  return new Map(
    [...models[0]!].map(([name, { dtype, shape, values }]) => [
      name,
      {
        dtype,
        shape,
        values: values.map(
          (_, i) => models.reduce((sum, model) => sum + model.get(name)!.values[i]!, 0) / models.length,
        ),
      },
    ]),
  )
}

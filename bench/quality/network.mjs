// Small networks in plain JavaScript: forward passes, and what fisher and regmean need to know of them.
import { readFileSync } from 'node:fs'

const READERS = {
  F16: (bytes, count) => Float32Array.from({ length: count }, (_, i) => half(bytes.readUInt16LE(2 * i))),
  F32: (bytes, count) => Float32Array.from({ length: count }, (_, i) => bytes.readFloatLE(4 * i)),
  U8: (bytes) => new Uint8Array(bytes),
}

function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023]
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}

/** The tensors of a safetensors file by name: `{shape, values}`. */
export function readTensors(file) {
  const bytes = readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, start).toString('utf8'))
  delete header.__metadata__
  return Object.fromEntries(
    Object.entries(header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        const count = shape.reduce((product, side) => product * side, 1)
        return [name, { shape, values: READERS[dtype](bytes.subarray(start + from, start + to), count) }]
      },
    ),
  )
}

/** A safetensors file of float32 tensors. */
export function writeTensors(tensors) {
  const header = {}
  let offset = 0
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + 4 * values.length] }
    offset += 4 * values.length
  }
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([
    length,
    text,
    ...Object.values(tensors).map(({ values }) => Buffer.from(Float32Array.from(values).buffer)),
  ])
}

/** Rows of inputs become rows of `places`: which input each number of a row is, or -1 for 0. */
function patches(side, stride, channels) {
  const out = Math.floor((side - 1) / stride) + 1
  const rows = []
  for (let y = 0; y < out; y++)
    for (let x = 0; x < out; x++) {
      const row = []
      for (let c = 0; c < channels; c++)
        for (let dy = -1; dy <= 1; dy++)
          for (let dx = -1; dx <= 1; dx++) {
            const [v, u] = [y * stride + dy, x * stride + dx]
            row.push(v < 0 || u < 0 || v >= side || u >= side ? -1 : (c * side + v) * side + u)
          }
      rows.push(row)
    }
  return { rows, out }
}

const linear = (name) => ({ kind: 'linear', name })
const conv = (name, side, stride, channels) => ({ kind: 'conv', name, ...patches(side, stride, channels) })
const RELU = { kind: 'relu' }

/** By set: the layers. */
export const NETWORKS = {
  pixels: [linear('fc1'), RELU, linear('fc2'), RELU, linear('fc3')],
  conv: [conv('conv1', 8, 1, 1), RELU, conv('conv2', 8, 2, 12), RELU, conv('conv3', 4, 2, 24), RELU, linear('fc')],
  text: [{ kind: 'embedding', name: 'embed' }, linear('fc1'), RELU, linear('fc2'), RELU, linear('head')],
}

/** W x + b. */
function affine(weight, bias, x) {
  const width = x.length
  const found = new Float64Array(bias.length)
  for (let o = 0; o < bias.length; o++) {
    let sum = bias[o]
    for (let i = 0, at = o * width; i < width; i++, at++) sum += weight[at] * x[i]
    found[o] = sum
  }
  return found
}

function taken(x, row) {
  const found = new Float64Array(row.length)
  for (let i = 0; i < row.length; i++) if (row[i] >= 0) found[i] = x[row[i]]
  return found
}

function applied(layer, tensors, x) {
  if (layer.kind === 'relu') return x.map((value) => Math.max(0, value))
  const weight = tensors[`${layer.name}.weight`].values
  if (layer.kind === 'embedding') {
    const width = tensors[`${layer.name}.weight`].shape[1]
    const found = new Float64Array(x.length * width)
    for (let i = 0; i < x.length; i++) found.set(weight.subarray(x[i] * width, (x[i] + 1) * width), i * width)
    return found
  }
  const bias = tensors[`${layer.name}.bias`].values
  if (layer.kind === 'linear') return affine(weight, bias, x)
  const found = new Float64Array(bias.length * layer.rows.length)
  for (let place = 0; place < layer.rows.length; place++) {
    const own = affine(weight, bias, taken(x, layer.rows[place]))
    for (let channel = 0; channel < own.length; channel++) found[channel * layer.rows.length + place] = own[channel]
  }
  return found
}

/** The values before each layer, and the result as the last. */
function forward(layers, tensors, x) {
  const all = [x]
  for (const layer of layers) all.push(applied(layer, tensors, all.at(-1)))
  return all
}

const largest = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0)

/** The share of samples whose label is the largest result. */
export const accuracy = (layers, tensors, { x, y }) =>
  x.filter((sample, i) => largest(forward(layers, tensors, sample).at(-1)) === y[i]).length / y.length

/** Sums over samples of squared gradients of the log-likelihood, and of outer products of the inputs of linear layers. */
export function statistics(layers, tensors, { x, y }) {
  const squares = Object.fromEntries(
    Object.entries(tensors).map(([name, { shape, values }]) => [
      name,
      { shape, values: new Float64Array(values.length) },
    ]),
  )
  const grams = {}
  for (const [i, sample] of x.entries()) {
    const all = forward(layers, tensors, sample)
    const gradients = Object.fromEntries(
      Object.keys(tensors).map((name) => [name, new Float64Array(tensors[name].values.length)]),
    )
    const last = all.at(-1)
    const most = Math.max(...last)
    const total = last.reduce((sum, value) => sum + Math.exp(value - most), 0)
    let back = last.map((value, label) => Math.exp(value - most) / total - (label === y[i] ? 1 : 0))
    for (let at = layers.length - 1; at >= 0; at--) {
      const layer = layers[at]
      if (layer.kind === 'linear') addGram(grams, `${layer.name}.weight`, all[at])
      back = backward(layer, tensors, gradients, all[at], back)
    }
    for (const [name, { values }] of Object.entries(squares))
      for (let k = 0; k < values.length; k++) values[k] += gradients[name][k] ** 2 / x.length
  }
  return { fisher: squares, gram: grams }
}

function addGram(grams, name, x) {
  grams[name] ??= { shape: [x.length, x.length], values: new Float64Array(x.length ** 2) }
  const { values } = grams[name]
  for (let a = 0; a < x.length; a++) for (let b = 0; b < x.length; b++) values[a * x.length + b] += x[a] * x[b]
}

/** Adds to the gradients of a layer's tensors; the gradient of its input. */
function backward(layer, tensors, gradients, x, back) {
  if (layer.kind === 'relu') return back.map((value, i) => (x[i] > 0 ? value : 0))
  const name = `${layer.name}.weight`
  const weight = tensors[name].values
  if (layer.kind === 'embedding') {
    const width = tensors[name].shape[1]
    for (const [i, value] of back.entries()) gradients[name][x[Math.floor(i / width)] * width + (i % width)] += value
    return back
  }
  const bias = gradients[`${layer.name}.bias`]
  const through = new Float64Array(x.length)
  const rows = layer.rows ?? [Array.from(x, (_, i) => i)]
  for (const [place, row] of rows.entries()) {
    const own = taken(x, row)
    for (let o = 0; o < bias.length; o++) {
      const value = back[o * rows.length + place]
      if (value === 0) continue
      bias[o] += value
      for (const [i, from] of row.entries()) {
        gradients[name][o * row.length + i] += value * own[i]
        if (from >= 0) through[from] += value * weight[o * row.length + i]
      }
    }
  }
  return through
}

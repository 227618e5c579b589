// The sets of models and data in this folder: see train.py.
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { NETWORKS, readTensors } from './network.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))

export const SEEDS = [1, 2, 3]
export const TASKS = {
  pixels: ['transposed', 'turned', 'negative'],
  conv: ['mirrored', 'quarter', 'shifted'],
  text: ['prose', 'code', 'data'],
}

const rowsOf = ({ shape: [count, width], values }, number) =>
  Array.from({ length: count }, (_, i) => Float64Array.from(values.subarray(i * width, (i + 1) * width), number))

/** A set: its network, and by task its samples by part. `folder`: that of all sets. */
export function openSet(name, folder = path.join(here, 'sets')) {
  const data = readTensors(path.join(folder, name, 'data.safetensors'))
  const parts = (task) =>
    Object.fromEntries(['train', 'val', 'test'].map((part) => [part, samples(name, data, task, part)]))
  return {
    name,
    layers: NETWORKS[name],
    tasks: Object.fromEntries(TASKS[name].map((task) => [task, parts(task)])),
    file: (seed, kind) => path.join(folder, name, `${seed}-${kind}.safetensors`),
  }
}

function samples(name, data, task, part) {
  if (name === 'text')
    return { x: rowsOf(data[`${task}.${part}.x`], (value) => value), y: data[`${task}.${part}.y`].values }
  const { places, negative } = { places: data[`${task}.places`]?.values, negative: data[`${task}.negative`] }
  const images = rowsOf(data[`${part}.x`], (value) => (negative ? 16 - value : value) / 16)
  return {
    x: images.map((image) => (places ? image.map((_, i) => image[places[i]]) : image)),
    y: data[`${part}.y`].values,
  }
}

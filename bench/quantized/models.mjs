// Writes checkpoints of quantized formats: filled from a seed, or sparse.
import { Buffer } from 'node:buffer'
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import path from 'node:path'
import { bytesOf, FORMATS, fill } from './formats.mjs'

const BLOCK = 1 << 22
/** Tensors begin at a multiple of this number of bytes, as in files of the library. */
const ALIGNED = 8

const name = (layer) => `model.layers.${layer}.mlp.gate_proj`

/** A linear congruential generator (Numerical Recipes' constants), whose upper bits are used. */
function generator(seed) {
  let state = (seed * 2654435761 + 12345) >>> 0
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 16
  }
  return () => ((next() << 16) | next()) >>> 0
}

/** A model folder. `shapes`: one for each layer's matrix. `seed`: undefined for a sparse file. */
export function writeModel(folder, format, shapes, seed) {
  const { config, model, tensors, name: nameOf = name } = FORMATS[format]
  mkdirSync(folder, { recursive: true })
  const list = shapes.flatMap((shape, layer) =>
    tensors(shape).map((tensor) => ({ ...tensor, name: nameOf(layer) + tensor.end })),
  )
  let offset = 0
  const header = {}
  for (const one of list) {
    one.at = offset
    header[one.name] = { dtype: one.dtype, shape: one.shape, data_offsets: [offset, offset + bytesOf(one)] }
    offset += bytesOf(one)
  }
  const json = JSON.stringify(header)
  const text = Buffer.from(json.padEnd(Math.ceil(json.length / ALIGNED) * ALIGNED))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const handle = openSync(path.join(folder, 'model.safetensors'), 'w')
  writeSync(handle, Buffer.concat([length, text]))
  const start = 8 + text.length
  ftruncateSync(handle, start + offset)
  for (const [index, one] of list.entries()) {
    if (one.data) writeSync(handle, one.data, 0, one.data.length, start + one.at)
    else if (seed !== undefined) writeNumbers(handle, one, start + one.at, generator(seed * 1000 + index))
  }
  closeSync(handle)
  const about = {
    ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', torch_dtype: 'bfloat16', ...model },
    ...(config ? { quantization_config: config } : {}),
  }
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify(about))
  return folder
}

/** One block of numbers, repeated. */
function writeNumbers(handle, tensor, at, random) {
  const bytes = bytesOf(tensor)
  const block = Buffer.alloc(Math.min(BLOCK, Math.ceil(bytes / 4) * 4))
  fill(tensor, block, random)
  for (let done = 0; done < bytes; done += BLOCK) writeSync(handle, block, 0, Math.min(BLOCK, bytes - done), at + done)
}

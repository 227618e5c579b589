// Models to merge: safetensors files of BF16 numbers in the shapes of a language model, made from a seed.
import { Buffer } from 'node:buffer'
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'

const BLOCK = 1 << 24
const HIDDEN = 2048
const FFN = 5632

/** The tensors of one transformer layer: name and shape. */
const LAYER = [
  ['input_layernorm.weight', [HIDDEN]],
  ['mlp.down_proj.weight', [HIDDEN, FFN]],
  ['mlp.gate_proj.weight', [FFN, HIDDEN]],
  ['mlp.up_proj.weight', [FFN, HIDDEN]],
  ['post_attention_layernorm.weight', [HIDDEN]],
  ['self_attn.k_proj.weight', [HIDDEN, HIDDEN]],
  ['self_attn.o_proj.weight', [HIDDEN, HIDDEN]],
  ['self_attn.q_proj.weight', [HIDDEN, HIDDEN]],
  ['self_attn.v_proj.weight', [HIDDEN, HIDDEN]],
]
const bytesOf = (shape, width = 2) => width * shape.reduce((product, size) => product * size, 1)
const LAYER_BYTES = LAYER.reduce((sum, [, shape]) => sum + bytesOf(shape), 0)

/** Layers, then an embedding that takes what is left of `size`, so that the file has as many bytes of data as asked for. */
function tensors(size, oneTensor) {
  const rows = (bytes) => Math.max(1, Math.floor(bytes / (2 * HIDDEN)))
  if (oneTensor) return [['weight', [rows(size), HIDDEN]]]
  // A few per cent at least for the embedding, as in real models.
  const layers = Math.max(0, Math.floor((size * 0.97) / LAYER_BYTES))
  const all = [['model.embed_tokens.weight', [rows(size - layers * LAYER_BYTES), HIDDEN]]]
  for (let n = 0; n < layers; n++) all.push(...LAYER.map(([name, shape]) => [`model.layers.${n}.${name}`, shape]))
  return all
}

function header(list, dtype = 'BF16') {
  const width = dtype === 'F32' ? 4 : 2
  let offset = 0
  const entries = list.map(([name, shape]) => {
    const begin = offset
    offset += bytesOf(shape, width)
    return [name, { dtype, shape, data_offsets: [begin, offset] }]
  })
  const json = JSON.stringify(Object.fromEntries(entries))
  const text = json.padEnd(json.length + ((8 - (json.length % 8)) % 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return { bytes: Buffer.concat([length, Buffer.from(text)]), data: offset }
}

/** BF16 numbers of both signs between 2⁻⁹ and 2⁻¹, from a linear congruential generator (Numerical Recipes' constants). */
function numbers(seed) {
  const values = new Uint16Array(BLOCK / 2)
  let state = (seed * 2654435761 + 12345) >>> 0
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    // Sign and mantissa from the high bits, the exponent from 118 to 125.
    values[i] = ((state >>> 16) & 0x807f) | ((118 + ((state >>> 24) & 7)) << 7)
  }
  return Buffer.from(values.buffer)
}

/** One model. With `oneTensor` a single tensor in a sparse file: only its first block is written. */
function writeModel(file, size, seed, oneTensor) {
  const { bytes, data } = header(tensors(size, oneTensor))
  const whole = bytes.length + data
  if (existsSync(file) && statSync(file).size === whole) return
  rmSync(file, { force: true })
  const block = numbers(seed)
  const handle = openSync(file, 'w')
  writeSync(handle, bytes)
  const upTo = oneTensor ? Math.min(data, BLOCK) : data
  for (let at = 0; at < upTo; at += BLOCK) writeSync(handle, block, 0, Math.min(BLOCK, upTo - at))
  ftruncateSync(handle, whole)
  closeSync(handle)
}

/** `count` models of about `size` bytes each in `folder`; files of an earlier run that have the right size are kept. */
export function makeModels(folder, count, size, oneTensor = false) {
  return Array.from({ length: count }, (_, n) => {
    const file = path.join(folder, `${oneTensor ? 'one-' : ''}model-${n}.safetensors`)
    writeModel(file, size, n + 1, oneTensor)
    return file
  })
}

/** A PEFT adapter of this rank on every linear layer of a model of `makeModels`; its folder. */
export function makeAdapter(folder, model, rank) {
  const handle = openSync(model, 'r')
  const length = Buffer.alloc(8)
  readSync(handle, length, 0, 8, 0)
  const text = Buffer.alloc(Number(length.readBigUInt64LE()))
  readSync(handle, text, 0, text.length, 8)
  closeSync(handle)
  const list = Object.entries(JSON.parse(text)).flatMap(([name, { shape }]) => {
    if (!name.endsWith('_proj.weight')) return []
    const module = `base_model.model.${name.slice(0, -'.weight'.length)}`
    return [
      [`${module}.lora_A.weight`, [rank, shape[1]]],
      [`${module}.lora_B.weight`, [shape[0], rank]],
    ]
  })
  const adapter = path.join(folder, `adapter-${rank}`)
  mkdirSync(adapter, { recursive: true })
  const { bytes, data } = header(list)
  const block = numbers(rank)
  const repeated = Buffer.concat(Array.from({ length: Math.ceil(data / BLOCK) }, () => block)).subarray(0, data)
  writeFileSync(path.join(adapter, 'adapter_model.safetensors'), Buffer.concat([bytes, repeated]))
  const config = { peft_type: 'LORA', r: rank, lora_alpha: rank, target_modules: 'all-linear' }
  writeFileSync(path.join(adapter, 'adapter_config.json'), JSON.stringify(config))
  return adapter
}

/** A model of tensors `[name, shape]` of floats of 2 or 4 bytes: one block of numbers, repeated. */
export function writeTensors(file, list, dtype, seed) {
  const { bytes, data } = header(list, dtype)
  const block = numbers(seed)
  const handle = openSync(file, 'w')
  writeSync(handle, bytes)
  for (let at = 0; at < data; at += BLOCK) writeSync(handle, block, 0, Math.min(BLOCK, data - at))
  closeSync(handle)
  return file
}

/** Into the page cache, as far as it fits. */
export function warm(files) {
  const buffer = Buffer.alloc(BLOCK)
  for (const file of files) {
    const handle = openSync(file, 'r')
    while (readSync(handle, buffer, 0, BLOCK, null) > 0);
    closeSync(handle)
  }
}

/** Files that PyTorch wrote, against the same tensors as safetensors. */
import { readFile } from 'node:fs/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { pytorch } from '../../src/checkpoints/containers/pytorch/index.js'
import { parseHeader } from '../../src/checkpoints/containers/safetensors/header.js'
import { HEAD_BYTES } from '../../src/checkpoints/containers/types.js'
import { bytesOf } from '../../src/encodings/index.js'
import { gatherStrided } from '../views/stridedReference.js'
import { memorySource, readPytorchHeader } from './helpers.js'

const fixtures = new URL('../../../test/fixtures/', import.meta.url)
const load = async (name: string): Promise<Uint8Array> => new Uint8Array(await readFile(new URL(name, fixtures)))

type Tensors = Record<string, { dtype: string; shape: readonly number[]; data: string }>
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

async function fromPytorch(name: string): Promise<Tensors> {
  const bytes = await load(name)
  assert.ok(pytorch.recognises(bytes.subarray(0, HEAD_BYTES)), name)
  const { tensors } = await readPytorchHeader(memorySource(bytes, name))
  return Object.fromEntries(
    tensors.map(({ name, dtype, shape, offset, bytes: length, strides }) => {
      const stored = bytes.subarray(offset, offset + length)
      const data = strides ? gatherStrided(stored, bytesOf(dtype), shape, strides) : stored
      return [name, { dtype, shape, data: hex(data) }]
    }),
  )
}

async function fromSafetensors(...names: string[]): Promise<Tensors> {
  const all: Tensors = {}
  for (const name of names) {
    const bytes = await load(name)
    for (const { name: tensor, dtype, shape, offset, bytes: length } of parseHeader(bytes, bytes.length, name).tensors)
      all[tensor] = { dtype, shape, data: hex(bytes.subarray(offset, offset + length)) }
  }
  return all
}

/** The same tensors, whatever their order. */
function same(actual: Tensors, expected: Tensors): void {
  assert.equal(Object.keys(actual).sort(), Object.keys(expected).sort())
  for (const [name, tensor] of Object.entries(expected)) assert.equal(actual[name], tensor, name)
}

for (const file of ['mlp256-0.pt', 'mlp256-0-legacy.pt'])
  test(`${file} holds the tensors of mlp256-0.safetensors`, async () => {
    same(await fromPytorch(`torch/${file}`), await fromSafetensors('digits/mlp256-0.safetensors'))
  })

for (const file of ['views.pt', 'views-legacy.pt'])
  test(`${file}: views, every dtype, an empty and a scalar tensor`, async () => {
    same(await fromPytorch(`torch/${file}`), await fromSafetensors('torch/views.safetensors'))
  })

test("reads the model from a trainer's checkpoint, without optimizer and arguments", async () => {
  same(await fromPytorch('torch/training.pt'), await fromSafetensors('torch/training.safetensors'))
})

test('reads the same tensors from shards as from a single file', async () => {
  const shards = await Promise.all(
    ['1', '2'].map((number) => fromPytorch(`torch/lm-sharded/pytorch_model-0000${number}-of-00002.bin`)),
  )
  same(Object.assign({}, ...shards), await fromSafetensors('lm/prose/model.safetensors'))
})

test('only views that are not contiguous have strides', async () => {
  const { tensors } = await readPytorchHeader(memorySource(await load('torch/views.pt'), 'views.pt'))
  const strides = Object.fromEntries(tensors.map((tensor) => [tensor.name, tensor.strides]))
  assert.equal(strides.whole, undefined)
  assert.equal(strides.rows, undefined)
  assert.equal(strides.transposed, [1, 30])
  assert.equal(strides.strided, [60, 3])
  assert.equal(strides.expanded, [0, 1])
  assert.equal(strides.permuted, [1, 12, 4])
  const whole = tensors.find(({ name }) => name === 'whole')!
  const rows = tensors.find(({ name }) => name === 'rows')!
  assert.is(rows.offset, whole.offset + 150 * 4)
})

test('recognizes only files that torch.save writes', async () => {
  assert.not(pytorch.recognises((await load('torch/views.safetensors')).subarray(0, 32)))
  assert.not(pytorch.recognises(new Uint8Array()))
  assert.not(pytorch.recognises(new Uint8Array([0x80, 2, 0x7d, 0x2e])), 'any other pickle')
  // A safetensors header of 0x04034b50 bytes, padded with spaces, begins as a zip archive does.
  assert.not(pytorch.recognises(new Uint8Array([0x50, 0x4b, 3, 4, 0, 0, 0, 0, 0x7b])))
  const framed = [
    0x80, 4, 0x95, 13, 0, 0, 0, 0, 0, 0, 0, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
    0x2e,
  ]
  assert.ok(pytorch.recognises(new Uint8Array(framed)), 'protocol 4')
})

test.run()

/** PyTorch files as models: single files, and folders as the hub lays them out. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../src/checkpoints/open.js'
import { asyncFaultOf } from './helpers.js'
import { dict, tensor, torchLegacy, torchZip } from './pytorchFiles.js'

const root = mkdtempSync(path.join(tmpdir(), 'terge-pytorch-'))
test.after(() => rmSync(root, { recursive: true, force: true }))
const fixtures = path.resolve('test/fixtures')

let count = 0
function folder(files: Record<string, string | Uint8Array>): string {
  const where = path.join(root, `model-${count++}`)
  mkdirSync(where)
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(where, name), content)
  return where
}
const open = (files: Record<string, string | Uint8Array>) => openCheckpoint('m', folder(files))
const state = (...names: string[]) => torchZip(dict(Object.fromEntries(names.map((name) => [name, tensor()]))))
const index = (map: Record<string, string>) => JSON.stringify({ metadata: { total_size: 1 }, weight_map: map })

test('opens a single file of either format', async () => {
  for (const name of ['mlp256-0.pt', 'mlp256-0-legacy.pt']) {
    const model = await openCheckpoint(name, path.join(fixtures, 'torch', name))
    const same = await openCheckpoint('s', path.join(fixtures, 'digits/mlp256-0.safetensors'))
    assert.is(model.layout, 'file')
    assert.equal([...model.tensors.keys()], [...same.tensors.keys()])
    const [file] = model.files
    assert.is(file!.name, name)
    assert.match(file!.headerDigest, /^sha256:[0-9a-f]{64}$/)
    for (const { offset, bytes } of model.stored.values())
      assert.ok(offset >= file!.headerBytes && offset + bytes <= file!.size)
  }
})

test('opens the sharded model of the fixtures', async () => {
  const model = await openCheckpoint('m', path.join(fixtures, 'torch/lm-sharded'))
  const same = await openCheckpoint('s', path.join(fixtures, 'lm/prose'))
  assert.equal([...model.tensors.keys()], [...same.tensors.keys()])
  assert.equal(
    model.files.map(({ name }) => name),
    ['pytorch_model-00001-of-00002.bin', 'pytorch_model-00002-of-00002.bin'],
  )
  assert.is(model.config!.model_type, 'llama')
  assert.equal(model.sidecars, [])
})

test('chooses the weight files of a folder', async () => {
  const files = async (content: Record<string, string | Uint8Array>) =>
    (await open(content)).files.map(({ name }) => name)
  const beside = {
    'training_args.bin': 'x',
    'optimizer.pt': 'x',
    'rng_state.pth': 'x',
    'rng_state_0.pth': 'x',
    'scheduler.pt': 'x',
  }
  assert.equal(await files({ 'pytorch_model.bin': state('a'), 'other.bin': 'x', ...beside }), ['pytorch_model.bin'])
  assert.equal(await files({ 'net.ckpt': torchLegacy(dict({ a: tensor() })), ...beside }), ['net.ckpt'])
  assert.equal(await files({ 'x.bin.index.json': index({ a: '1.bin' }), '1.bin': state('a'), '2.bin': 'x' }), ['1.bin'])
  assert.is((await asyncFaultOf(() => open(beside))).code, 'no-weights')
  assert.is((await asyncFaultOf(() => open({ 'a.pt': 'x', 'b.pt': 'x' }))).code, 'ambiguous-checkpoint')
})

test('refuses shards that do not match their index or lead out of the folder', async () => {
  const code = async (content: Record<string, string | Uint8Array>) => (await asyncFaultOf(() => open(content))).code
  const name = 'pytorch_model.bin.index.json'
  assert.is(await code({ [name]: index({ a: '1.bin', b: '2.bin' }), '1.bin': state('a') }), 'missing-shard')
  assert.is(await code({ [name]: index({ a: '1.bin', b: '1.bin' }), '1.bin': state('a') }), 'missing-tensor')
  assert.is(await code({ [name]: index({ a: '1.bin' }), '1.bin': state('a', 'b') }), 'unlisted-tensor')
  assert.is(await code({ [name]: index({ a: '../1.bin' }), '1.bin': state('a') }), 'path-escape')
})

test('errors name the file', async () => {
  const broken = await asyncFaultOf(() => open({ 'pytorch_model.bin': state('a').subarray(0, 90) }))
  assert.match(broken.message, 'm/pytorch_model.bin: ')
})

test.run()

/** Models with one file per rank, as verl writes them. */
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../src/checkpoints/open.js'
import { diffCheckpoints } from '../../src/execute/diff/compare.js'
import { object } from './distributedFiles.js'
import { asyncFaultOf } from './helpers.js'
import { call, dict, global, int, ints, join, NONE, string, tensor, torchZip, tuple } from './pytorchFiles.js'

const root = mkdtempSync(path.join(tmpdir(), 'terge-ranks-'))
test.after(() => rmSync(root, { recursive: true, force: true }))
const fixtures = path.resolve('test/fixtures/distributed')

let count = 0
const place = (): string => path.join(root, `model-${count++}`)
function copy(name: string): string {
  const where = place()
  cpSync(path.join(fixtures, name), where, { recursive: true })
  return where
}

const open = (where: string) => openCheckpoint('m', where)
const faultOf = (where: string) => asyncFaultOf(() => open(where))

async function equals(where: string, expected: string): Promise<void> {
  const [own, wanted] = [await open(where), await openCheckpoint('e', path.join(fixtures, expected))]
  const { overall, tensors } = await diffCheckpoints(own, wanted)
  assert.is(overall.states.equal, tensors.length, JSON.stringify(tensors.filter(({ state }) => state !== 'equal')))
}

test('reads DTensor on meshes of one and two axes, and ShardedTensor', async () => {
  await equals(path.join(fixtures, 'verl'), 'expected.safetensors')
  await equals(path.join(fixtures, 'ranks'), 'kinds.safetensors')
  await equals(path.join(fixtures, 'hsdp'), 'hsdp.safetensors')
  await equals(path.join(fixtures, 'sharded-tensor'), 'sharded-tensor.safetensors')
  await equals(path.join(fixtures, 'strided'), 'strided.safetensors')
})

test('configuration and tokenizer are those of the folder huggingface', async () => {
  const where = copy('verl')
  writeFileSync(path.join(where, 'huggingface/tokenizer.json'), '{}')
  const { config, sidecars, smallFolder, files } = await open(where)
  assert.is(config!.model_type, 'llama')
  assert.equal([sidecars, smallFolder], [['tokenizer.json'], path.join(where, 'huggingface')])
  assert.equal(
    files.map(({ name }) => name),
    ['model_world_size_2_rank_0.pt', 'model_world_size_2_rank_1.pt'],
  )
  // The folder's own come first.
  writeFileSync(path.join(where, 'config.json'), '{"model_type": "own"}')
  const own = await open(where)
  assert.equal([own.config!.model_type, own.smallFolder], ['own', undefined])
})

test('files of all ranks must be there, of one model', async () => {
  const gone = copy('verl')
  unlinkSync(path.join(gone, 'model_world_size_2_rank_1.pt'))
  const missing = await faultOf(gone)
  assert.is(missing.code, 'missing-shard')
  assert.match(missing.message, 'm: the model was saved by 2 ranks, but the file of rank 1 does not exist')
  const two = copy('verl')
  cpSync(path.join(fixtures, 'hsdp'), two, { recursive: true })
  assert.is((await faultOf(two)).code, 'ambiguous-checkpoint')
  const turned = copy('verl')
  const [one, other, spare] = ['rank_0.pt', 'rank_1.pt', 'x'].map((name) =>
    path.join(turned, `model_world_size_2_${name}`),
  )
  for (const [from, to] of [
    [one, spare],
    [other, one],
    [spare, other],
  ])
    renameSync(from!, to!)
  // The file says which place of the mesh it has.
  await equals(turned, 'expected.safetensors')
  const more = copy('verl')
  cpSync(path.join(more, 'model_world_size_2_rank_1.pt'), path.join(more, 'model_world_size_2_rank_7.pt'))
  assert.is((await faultOf(more)).code, 'bad-chunks')
  const file = await asyncFaultOf(() => openCheckpoint('f', path.join(fixtures, 'verl/model_world_size_2_rank_0.pt')))
  assert.equal([file.code, file.hint], ['unsupported-format', 'name its folder instead of the file'])
})

const storage = (length: number) =>
  join(tuple(string('storage'), global('torch', 'FloatStorage'), string('0'), string('cpu'), int(length)), 'Q')

interface RankTensor {
  readonly shape: readonly number[]
  readonly local: readonly number[]
  readonly placements: readonly Uint8Array[]
  readonly coordinates: readonly number[]
}

const PLACEMENTS = 'torch.distributed.tensor.placement_types'
const shard = (dim: number) => object(PLACEMENTS, 'Shard', dict({ dim: int(dim) }))
const copyOf = object(PLACEMENTS, 'Replicate', dict({}))

/** Where PyTorch had its classes, by version. */
const NOW = {
  tensor: ['torch.distributed.tensor', 'DTensor'],
  mesh: 'torch.distributed.device_mesh',
  spec: 'torch.distributed.tensor._dtensor_spec',
  slots: false,
} as const
const OLD: Readonly<Record<string, Homes>> = {
  '2.1': {
    ...{ tensor: ['torch.distributed._tensor.api', 'DTensor'], mesh: 'torch.distributed._tensor.device_mesh' },
    ...{ spec: 'torch.distributed._tensor.placement_types', slots: true },
  },
  '2.3': {
    ...{ tensor: ['torch.distributed._tensor.api', 'DTensor'], mesh: 'torch.distributed.device_mesh' },
    ...{ spec: 'torch.distributed._tensor.placement_types', slots: true },
  },
  '2.4': {
    ...{ tensor: ['torch.distributed._tensor.api', 'DTensor'], mesh: 'torch.distributed.device_mesh' },
    ...{ spec: 'torch.distributed._tensor._dtensor_spec', slots: true },
  },
}

interface Homes {
  readonly tensor: readonly [module: string, name: string]
  readonly mesh: string
  readonly spec: string
  /** Whether the tensor's attributes are slots: the second part of its state. */
  readonly slots: boolean
}

/** A DTensor as PyTorch pickles it. */
function dtensor({ shape, local, placements, coordinates }: RankTensor, homes: Homes = NOW): Uint8Array {
  const length = local.reduce((product, size) => product * size, 1)
  const strides = local.map((_, axis) => local.slice(axis + 1).reduce((product, size) => product * size, 1))
  const part = tensor({ storage: storage(length), shape: local, strides })
  const type = global(...homes.tensor)
  const mesh = object(homes.mesh, 'DeviceMesh', dict({ _coordinate_on_dim: ints(coordinates) }))
  const spec = object(homes.spec, 'DTensorSpec', dict({ mesh, placements: tuple(...placements) }))
  return call(
    global('torch._tensor', '_rebuild_from_type_v2'),
    global('torch._utils', '_rebuild_wrapper_subclass'),
    type,
    tuple(type, global('torch', 'float32'), ints(shape), ints([1]), int(0), NONE, NONE, 0x89),
    homes.slots
      ? tuple(dict({}), dict({ _local_tensor: part, _spec: spec }))
      : dict({ _local_tensor: part, _spec: spec }),
  )
}

function ranks(...tensors: readonly Uint8Array[]): string {
  const where = place()
  mkdirSync(where)
  for (const [rank, value] of tensors.entries()) {
    const file = torchZip(dict({ w: value }), { 0: new Uint8Array(400) })
    writeFileSync(path.join(where, `model_world_size_${tensors.length}_rank_${rank}.pt`), file)
  }
  return where
}

test('classes have other modules in older versions of PyTorch', async () => {
  const placements = 'torch.distributed._tensor.placement_types'
  for (const [version, homes] of Object.entries(OLD)) {
    const at = (rank: number, local: number, kind = 'Shard') =>
      dtensor(
        {
          ...{ shape: [5], local: [local], coordinates: [rank] },
          placements: [object(placements, kind, dict({ dim: int(0) }))],
        },
        homes,
      )
    const { tensors } = await open(ranks(at(0, 3), at(1, 2)))
    assert.equal(tensors.get('w')!.shape, [5], version)
    const refused = await faultOf(ranks(at(0, 5, '_Partial'), at(1, 5, '_Partial')))
    assert.match(refused.message, `its placement is an object of '${placements}._Partial'`)
  }
  // A class that terge does not know is named.
  const moved = { ...NOW, spec: 'torch.distributed.elsewhere' }
  const own = { shape: [5], local: [5], placements: [shard(0)], coordinates: [0] }
  const unknown = await faultOf(ranks(dtensor(own, moved)))
  assert.is(unknown.code, 'unreadable-tensor')
})

test('parts must be those that the placements give', async () => {
  const at = (rank: number, local: readonly number[], placements = [shard(0)], shape: readonly number[] = [5]) =>
    dtensor({ shape, local, placements, coordinates: [rank] })
  const { tensors } = await open(ranks(at(0, [3]), at(1, [2])))
  assert.equal(tensors.get('w')!.shape, [5])
  const code = async (...parts: readonly Uint8Array[]) => (await faultOf(ranks(...parts))).code
  assert.is(await code(at(0, [2]), at(1, [3])), 'bad-chunks')
  assert.is(await code(at(0, [3]), at(0, [3])), 'unreadable-tensor')
  assert.is(await code(at(0, [3]), at(1, [2], [shard(0)], [6])), 'bad-chunks')
  assert.is(await code(at(0, [5], [copyOf]), at(1, [2])), 'bad-chunks')
  assert.is(await code(at(0, [3], [shard(1)]), at(1, [2], [shard(1)])), 'unreadable-tensor')
  const partial = object(PLACEMENTS, 'Partial', dict({ reduce_op: string('sum') }))
  const refused = await faultOf(ranks(at(0, [5], [partial]), at(1, [5], [partial])))
  assert.is(refused.code, 'unreadable-tensor')
  assert.match(refused.message, "its placement is an object of 'torch.distributed.tensor.placement_types.Partial'")
  const plain = tensor({ storage: storage(5), shape: [5], strides: [1] })
  assert.is(await code(at(0, [3]), plain), 'bad-chunks')
  assert.equal((await open(ranks(plain, plain))).stored.size, 1)
  // Every rank says that it has the whole, but they differ.
  const where = ranks(plain, plain)
  const other = torchZip(dict({ w: plain }), { 0: new Uint8Array(400).fill(1) })
  writeFileSync(path.join(where, 'model_world_size_2_rank_1.pt'), other)
  assert.match((await faultOf(where)).message, 'is whole in every file, but')
})

test('entries that are not tensors are named', async () => {
  const where = place()
  mkdirSync(where)
  const file = torchZip(dict({ w: tensor(), step: int(3), note: string('x') }))
  writeFileSync(path.join(where, 'model_world_size_1_rank_0.pt'), file)
  const { skipped, warnings } = await open(where)
  assert.equal([skipped, warnings!.map(({ code }) => code)], [["'step'", "'note'"], ['skipped-entries']])
})

test.run()

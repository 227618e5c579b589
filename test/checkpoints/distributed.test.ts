/** Distributed checkpoints: what PyTorch writes is read element by element, and every lie is refused. */
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../src/checkpoints/open.js'
import { diffCheckpoints } from '../../src/execute/diff/compare.js'
import { f32, safetensors } from '../support/files.js'
import {
  type ChunkText,
  distributedFiles,
  type FolderText,
  list,
  object,
  savedTensor,
  storageInfo,
} from './distributedFiles.js'
import { asyncFaultOf } from './helpers.js'
import { dict, global, int, join, pickle, string, tuple } from './pytorchFiles.js'

const root = mkdtempSync(path.join(tmpdir(), 'terge-distributed-'))
test.after(() => rmSync(root, { recursive: true, force: true }))
const fixtures = path.resolve('test/fixtures/distributed')

let count = 0
function folder(files: Readonly<Record<string, string | Uint8Array>>): string {
  const where = path.join(root, `model-${count++}`)
  mkdirSync(where)
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(where, name), content)
  return where
}

/** A copy of a fixture, with another `.metadata` or without a file. */
function copy(
  name: string,
  { metadata, without }: { readonly metadata?: string; readonly without?: string } = {},
): string {
  const where = path.join(root, `model-${count++}`)
  cpSync(path.join(fixtures, name), where, { recursive: true })
  if (metadata !== undefined) copyFileSync(path.join(fixtures, metadata), path.join(where, '.metadata'))
  if (without !== undefined) unlinkSync(path.join(where, without))
  return where
}

const open = (where: string) => openCheckpoint('m', where)
const faultOf = (where: string) => asyncFaultOf(() => open(where))

async function equals(where: string, expected: string): Promise<void> {
  const [own, wanted] = [await open(where), await openCheckpoint('e', path.join(fixtures, expected))]
  assert.equal([...own.tensors.keys()], [...wanted.tensors.keys()])
  const { overall, tensors } = await diffCheckpoints(own, wanted)
  assert.is(overall.states.equal, tensors.length, JSON.stringify(tensors.filter(({ state }) => state !== 'equal')))
}

/** Elements of a tensor of the checkpoint that these files make, as PyTorch would load them. */
async function valuesOf(text: FolderText, name: string, values: readonly number[]): Promise<void> {
  const own = await open(folder(distributedFiles(text)))
  const { shape } = own.tensors.get(name)!
  const plain = { [name]: { shape, chunks: [{ at: shape.map(() => 0), shape, saved: savedTensor(shape, values) }] } }
  const { overall } = await diffCheckpoints(own, await open(folder(distributedFiles({ tensors: plain }))))
  assert.is(overall.states.equal, 1)
}

test('reads what PyTorch writes: ranks, axes, meshes, dtypes, empty shards, scalars', async () => {
  await equals(path.join(fixtures, 'one'), 'expected.safetensors')
  await equals(path.join(fixtures, 'two'), 'expected.safetensors')
  await equals(path.join(fixtures, 'mesh'), 'mesh.safetensors')
  await equals(path.join(fixtures, 'kinds'), 'kinds.safetensors')
  await equals(path.join(fixtures, 'tp'), 'tp.safetensors')
})

test('reads pickles of every protocol and of older versions of PyTorch', async () => {
  for (const metadata of ['protocol2', 'protocol3', 'protocol5', 'torch-2.1'])
    await equals(copy('two', { metadata: `${metadata}.metadata` }), 'expected.safetensors')
})

test('a model in parts has stored parts with names, and files with digests', async () => {
  const { files, stored, tensors, layout, config, warnings } = await open(path.join(fixtures, 'two'))
  assert.equal(
    files.map(({ name }) => name),
    ['.metadata', '__0_0.distcp', '__1_0.distcp'],
  )
  for (const { headerDigest } of files) assert.match(headerDigest, /^sha256:[0-9a-f]{64}$/)
  assert.is(new Set(files.map(({ headerDigest }) => headerDigest)).size, 3)
  assert.equal(
    [...stored.keys()].filter((name) => name.startsWith('lm_head')),
    ['lm_head.weight[0:9, 0:10]', 'lm_head.weight[9:17, 0:10]'],
  )
  assert.equal(tensors.get('lm_head.weight')!.view.kind, 'concat')
  assert.equal([layout, config, warnings], ['folder', undefined, undefined])
  for (const { file, offset, bytes } of stored.values()) assert.ok(file > 0 && offset + bytes <= files[file]!.size)
})

test('the model is found by the paths of the state dict, and all else is named', async () => {
  const one = await open(path.join(fixtures, 'one'))
  assert.equal(one.skipped, ["'optim' (5 entries)", "'step'", "'note'"])
  assert.match(one.warnings![0]!.message, "m: skips 7 entries that are not tensors of the model: 'optim' (5 entries), ")
  const tensor = (...path: string[]) => ({ shape: [2], chunks: [{ at: [0], shape: [2] }], path })
  const read = async (text: FolderText) => {
    const { tensors, skipped } = await open(folder(distributedFiles(text)))
    return [[...tensors.keys()], skipped]
  }
  // The names have two dots more than the keys: only the paths say where the model begins.
  const nested = { 'app.model.model.a': tensor('app', 'model', 'model.a'), 'app.optim.b': tensor('app', 'optim', 'b') }
  assert.equal(await read({ tensors: nested, bytes: { step: ['step'] } }), [['model.a'], ["'app.optim'", "'step'"]])
  assert.equal(await read({ tensors: { 'model.a': tensor('model.a') } }), [['model.a'], undefined])
  // torchtitan: tensors at the top, beside dictionaries of other state.
  const scalar = { shape: [], chunks: [{ at: [], shape: [] }], path: ['train_state', 'step'] }
  const flat = {
    'tok.weight': tensor('tok.weight'),
    'train_state.step': scalar,
    'optimizer.x': tensor('optimizer', 'x'),
  }
  assert.equal(await read({ tensors: flat }), [['tok.weight'], ["'train_state'", "'optimizer'"]])
  const extra = { 'model.a': tensor('model', 'a') }
  assert.equal(await read({ tensors: extra, bytes: { 'model.l._extra_state': ['model', 'l._extra_state'] } }), [
    ['a'],
    ["'model.l._extra_state'"],
  ])
  assert.equal(await read({ tensors: { 'model.a': tensor('x') }, planner: 'N' }), [['model.a'], undefined])
  const refused = async (text: FolderText) => (await faultOf(folder(distributedFiles(text)))).code
  assert.is(await refused({ tensors: { a: tensor('ema', 'a'), b: tensor('net', 'b') } }), 'ambiguous-state-dict')
  assert.is(await refused({ tensors: { a: tensor('optim', 'a') } }), 'no-state-dict')
  assert.is(await refused({ tensors: { a: tensor('model', 'a'), b: tensor('model', 'a') } }), 'bad-chunks')
  assert.is(await refused({ tensors: { a: tensor('model'), b: tensor('model', 'a') } }), 'bad-chunks')
})

test('boxes of every arrangement: grids, turns, windmills', async () => {
  // Each box holds its row-major numbers of the whole tensor.
  const chunk = (at: readonly [number, number], shape: readonly [number, number], width: number): ChunkText => {
    const values = Array.from({ length: shape[0] * shape[1] }, (_, index) => {
      const [row, column] = [Math.floor(index / shape[1]), index % shape[1]]
      return (at[0] + row) * width + at[1] + column
    })
    return { at, shape, saved: savedTensor(shape, values) }
  }
  const counted = (length: number) => Array.from({ length }, (_, index) => index)
  const check = (rows: number, columns: number, boxes: readonly [number, number, number, number][]) =>
    valuesOf(
      {
        tensors: {
          w: { shape: [rows, columns], chunks: boxes.map(([r, c, h, w]) => chunk([r, c], [h, w], columns)) },
        },
      },
      'w',
      counted(rows * columns),
    )
  await check(3, 4, [[0, 2, 3, 2], [0, 0, 3, 2]]) // biome-ignore format: boxes
  await check(4, 5, [[2, 3, 2, 2], [0, 0, 2, 3], [2, 0, 2, 3], [0, 3, 2, 2]]) // biome-ignore format: boxes
  await check(4, 4, [[0, 0, 4, 1], [0, 1, 1, 3], [1, 1, 3, 1], [1, 2, 1, 2], [2, 2, 2, 2]]) // biome-ignore format: boxes
  await check(3, 3, [[0, 0, 1, 2], [0, 2, 2, 1], [2, 1, 1, 2], [1, 0, 2, 1], [1, 1, 1, 1]]) // biome-ignore format: boxes
  await check(2, 2, [[0, 0, 2, 2], [2, 0, 0, 2], [0, 0, 0, 2]].slice(0, 2) as [number, number, number, number][]) // biome-ignore format: boxes
})

test('chunks must cover a tensor exactly once', async () => {
  for (const [metadata, says] of [
    ['gap', "tensor 'model.embed_tokens.weight': no chunk has its elements [9:17, 0:10]"],
    ['larger', "tensor 'model.embed_tokens.weight': no chunk has its elements [17:19, 0:10]"],
  ] as const) {
    const { code, message, hint } = await faultOf(copy('two', { metadata: `${metadata}.metadata` }))
    assert.is(code, 'bad-chunks')
    assert.match(message, `m: ${says}`)
    assert.ok(hint)
  }
  const message = async (shape: readonly number[], ...boxes: readonly [readonly number[], readonly number[]][]) => {
    const chunks = boxes.map(([at, shape]) => ({ at, shape }))
    const found = await faultOf(folder(distributedFiles({ tensors: { w: { shape, chunks } } })))
    assert.is(found.code, 'bad-chunks')
    return found.message
  }
  assert.match(await message([4], [[0], [3]], [[1], [3]]), 'several chunks have the same elements: [0:3], [1:4]')
  assert.match(await message([4], [[0], [4]], [[1], [1]]), 'several chunks have the same elements')
  assert.match(await message([4], [[0], [2]], [[3], [1]]), 'no chunk has its elements [2:3]')
  assert.match(await message([4], [[1], [3]]), 'no chunk has its elements [0:1]')
  assert.match(await message([4], [[0], [5]]), 'its chunk [0:5] extends past its shape, 4')
  assert.match(await message([4]), 'no chunk has its elements [0:4]')
  assert.match(await message([0, 3]), 'it has no chunk')
  assert.match(
    await message(
      [4, 4],
      [
        [0, 0],
        [4, 2],
      ],
      [
        [0, 2],
        [3, 2],
      ],
    ),
    'no chunk has its elements [3:4, 2:4]',
  )
  // As many elements as the tensor, but some twice and some never.
  assert.match(
    await message(
      [2, 2],
      [
        [0, 0],
        [2, 1],
      ],
      [
        [1, 0],
        [1, 2],
      ],
    ),
    'same elements',
  )
  const large = { w: { shape: [2 ** 40, 2 ** 40], chunks: [{ at: [0, 0], shape: [1, 1] }] } }
  assert.is((await faultOf(folder(distributedFiles({ tensors: large })))).code, 'shape-overflow')
})

test('chunks that are not where or what the metadata say', async () => {
  const refused = async (chunk: Partial<ChunkText>, more: Partial<FolderText['tensors'][string]> = {}) => {
    const tensors = { w: { shape: [2, 3], chunks: [{ at: [0, 0], shape: [2, 3], ...chunk }], ...more } }
    const { code, message } = await faultOf(folder(distributedFiles({ tensors })))
    assert.match(message, "'w'")
    return code
  }
  assert.is(await refused({ offset: 1 }), 'bad-chunks')
  assert.is(await refused({ length: 2 ** 40 }), 'bad-chunks')
  assert.is(await refused({ offset: 2 ** 52 }), 'bad-chunks')
  assert.is(await refused({ length: 40 }), 'zip-directory')
  // As SerializationFormat.SAFETENSORS leaves it.
  assert.is(await refused({ saved: new Uint8Array(200) }), 'unsupported-format')
  assert.is(await refused({ saved: savedTensor([3, 2], [1, 2, 3, 4, 5, 6]) }), 'bad-chunks')
  assert.is(await refused({}, { dtype: 'bfloat16' }), 'bad-chunks')
  assert.is(await refused({}, { dtype: 'complex128' }), 'unknown-dtype')
  const stored = (more: Readonly<Record<string, string | Uint8Array>>) =>
    refused({ info: storageInfo('__0_0.distcp', 0, 100, more) })
  assert.is(await stored({ transform_descriptors: list([string('zstd')]) }), 'unsupported-format')
  assert.is(await refused({ info: storageInfo('__0_0.distcp', -1, 100) }), 'bad-chunks')
  assert.is(await refused({ info: object('other.storage', 'Info', dict({})) }), 'unsupported-format')
})

test('files outside of the folder, missing files, and other versions', async () => {
  const outside = await faultOf(copy('two', { metadata: 'escape.metadata' }))
  assert.is(outside.code, 'path-escape')
  assert.match(outside.message, 'm/.metadata: ')
  const one = { w: { shape: [1], chunks: [{ at: [0], shape: [1], file: '../x.distcp' }] } }
  assert.is((await faultOf(folder(distributedFiles({ tensors: one })))).code, 'path-escape')
  const gone = await faultOf(copy('two', { without: '__1_0.distcp' }))
  assert.equal(
    [gone.code, gone.message],
    ['missing-shard', 'm: the checkpoint has the file __1_0.distcp, which does not exist'],
  )
  assert.is((await faultOf(copy('two', { without: '.metadata' }))).code, 'no-weights')
  const per = await faultOf(folder({ '__0_0.distcp': 'x', '__0.metadata': 'x' }))
  assert.is(per.code, 'unsupported-format')
  const tensors = { w: { shape: [1], chunks: [{ at: [0], shape: [1] }] } }
  assert.is((await faultOf(folder(distributedFiles({ tensors, version: string('2.0.0') })))).code, 'unsupported-format')
  await open(folder(distributedFiles({ tensors, version: string('1.3.0') })))
  const file = await asyncFaultOf(() => openCheckpoint('f', path.join(fixtures, 'two/__0_0.distcp')))
  assert.equal([file.code, file.hint], ['unsupported-format', 'name its folder instead of the file'])
})

test('metadata that are damaged or something else', async () => {
  const code = async (content: string | Uint8Array) =>
    (await faultOf(folder({ '.metadata': content, '__0_0.distcp': 'x' }))).code
  assert.is(await code(''), 'pickle-truncated')
  assert.is(await code(pickle(dict({}))), 'unsupported-format')
  assert.is(await code(pickle(join(global('os', 'system'), tuple(string('touch /tmp/x')), 'R'))), 'unsupported-format')
  assert.is(await code('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'), 'unsupported-format')
  const METADATA = 'torch.distributed.checkpoint.metadata'
  for (const state of [
    dict({}),
    tuple(int(1)),
    dict({ state_dict_metadata: dict({ a: int(1) }), storage_data: dict({}) }),
  ])
    assert.ok(['bad-chunks', 'unsupported-format'].includes(await code(pickle(object(METADATA, 'Metadata', state)))))
})

test('no bytes of the metadata can make anything but a refusal', async () => {
  const tensors = {
    'model.a': {
      shape: [4, 2],
      chunks: [
        { at: [0, 0], shape: [2, 2] },
        { at: [2, 0], shape: [2, 2] },
      ],
      path: ['model', 'a'],
    },
  }
  const files = distributedFiles({ tensors, bytes: { step: ['step'] } })
  const whole = files['.metadata']
  const where = folder(files)
  for (let at = 0; at < whole.length; at += 5) {
    const bytes = Uint8Array.from(whole)
    bytes[at] = (bytes[at]! * 7 + 13) & 255
    writeFileSync(path.join(where, '.metadata'), bytes)
    const found = await open(where).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (found !== undefined)
      await asyncFaultOf(async () => {
        throw found
      })
    writeFileSync(path.join(where, '.metadata'), whole.subarray(0, at))
    assert.ok((await faultOf(where)).code.startsWith('pickle-'))
  }
})

test('safetensors files come first, and the folder says that it holds two models', async () => {
  const where = copy('two')
  copyFileSync(path.join(fixtures, 'expected.safetensors'), path.join(where, 'model.safetensors'))
  const { files, warnings } = await open(where)
  assert.equal(
    [files.map(({ name }) => name), warnings!.map(({ code }) => code)],
    [['model.safetensors'], ['duplicate-tensor']],
  )
})

test('a folder of a trainer leads to the folder with the model', async () => {
  const where = folder({ 'trainer_state.json': '{}' })
  cpSync(path.join(fixtures, 'two'), path.join(where, 'pytorch_model_fsdp_0'), { recursive: true })
  cpSync(path.join(fixtures, 'two'), path.join(where, 'optimizer_0'), { recursive: true })
  const { code, hint } = await faultOf(where)
  assert.equal([code, hint], ['no-weights', "did you mean 'm/pytorch_model_fsdp_0'? It holds a distributed checkpoint"])
})

test('safetensors files with a part per rank are refused, and whole ones of the same writer are read', async () => {
  const info = (at: readonly number[]) => ({
    DCP_SHARDING_INFO: JSON.stringify({ w: { saved_offsets: at } }),
    DCP_VERSION: '1.0',
  })
  const file = (at: readonly number[]): Uint8Array => safetensors({ w: f32([2, 2], [1, 2, 3, 4]) }, info(at))
  const shard = (rank: number): string => `shard-0000${rank}-model-00001-of-00001.safetensors`
  const both = folder({ [shard(1)]: file([0, 0]), [shard(2)]: file([2, 0]) })
  // A single part, with its name or another one, too.
  const renamed = folder({ 'model.safetensors': file([2, 0]) })
  for (const where of [
    both,
    path.join(both, shard(1)),
    path.join(both, shard(2)),
    folder({ [shard(1)]: file([0, 0]) }),
    renamed,
  ]) {
    const fault = await asyncFaultOf(() => openCheckpoint(where, where))
    assert.is(fault.code, 'unsupported-format', where)
    assert.match(fault.message, 'it has only parts of the tensors')
  }
  const whole = await open(folder({ 'model-00001-of-00001.safetensors': file([0, 0]) }))
  assert.equal(whole.tensors.get('w')!.shape, [2, 2])
})

test('names of Megatron Core are refused', async () => {
  for (const name of [
    'decoder.layers.self_attention.linear_qkv.weight',
    'model.decoder.layers.0.mlp.linear_fc1.weight',
  ]) {
    const plain = { [name]: { shape: [1], chunks: [{ at: [0], shape: [1], saved: savedTensor([1], [1]) }] } }
    const fault = await faultOf(folder(distributedFiles({ tensors: plain })))
    assert.is(fault.code, 'unsupported-format')
    assert.match(fault.message, `tensor '${name}' is named and stored as in Megatron Core`)
  }
})

test.run()

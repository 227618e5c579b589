import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../src/checkpoints/open.js'
import { irreplaceable } from '../../src/checkpoints/replaceable.js'
import { openStaging, preallocate, publish, stageFile } from '../../src/storage/local/staging.js'
import { asyncFaultOf, entry, header, layOut } from './helpers.js'

const root = mkdtempSync(path.join(tmpdir(), 'terge-open-'))
test.after(() => rmSync(root, { recursive: true, force: true }))
const fixtures = path.resolve('test/fixtures')

let count = 0
/** A folder with these files. */
function folder(files: Record<string, string | Uint8Array>): string {
  const where = path.join(root, `model-${count++}`)
  mkdirSync(where)
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(where, name)), { recursive: true })
    writeFileSync(path.join(where, name), content)
  }
  return where
}

/** A file with these tensors, one float32 each. */
function weights(...names: string[]): Uint8Array {
  const text = `{${names.map((name, at) => `${JSON.stringify(name)}:${entry([1], at * 4, at * 4 + 4)}`)}}`
  return Buffer.concat([header(text), Buffer.alloc(4 * names.length)])
}

const index = (map: Record<string, string>): string => JSON.stringify({ metadata: {}, weight_map: map })
const open = (where: string) => openCheckpoint('some/model', where)
const faultOf = (files: Record<string, string | Uint8Array>) => asyncFaultOf(() => open(folder(files)))

test('opens a single file', async () => {
  const where = path.join(fixtures, 'digits/mlp256-0.safetensors')
  const model = await openCheckpoint('mlp', where)
  const content = readFileSync(where)
  const [read] = model.files
  assert.equal([model.reference, model.layout, model.path, model.sidecars], ['mlp', 'file', where, []])
  assert.equal([read!.name, read!.path, read!.size], ['mlp256-0.safetensors', where, content.length])
  assert.is(read!.headerBytes, 8 + Number(content.readBigUInt64LE()))
  const digest = createHash('sha256').update(content.subarray(0, read!.headerBytes)).digest('hex')
  assert.is(read!.headerDigest, `sha256:${digest}`)
  assert.equal([...model.tensors.keys()], [...model.tensors.keys()].sort())
  const end = Math.max(...[...model.stored.values()].map(({ offset, bytes }) => offset + bytes))
  assert.is(end, content.length)
})

test('opens a sharded folder with its configuration and sidecars', async () => {
  const model = await openCheckpoint('lm/base', path.join(fixtures, 'lm/base'))
  assert.is(model.layout, 'folder')
  assert.equal(
    model.files.map(({ name }) => name),
    ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'],
  )
  assert.is(model.config!.hidden_size, 96)
  assert.equal(model.metadata, { format: 'pt' })
  assert.equal(model.sidecars, ['generation_config.json', 'tokenizer.json', 'tokenizer_config.json'])
  const whole = await openCheckpoint('lm/c', path.join(fixtures, 'lm/c'))
  assert.equal([...model.tensors.keys()], [...whole.tensors.keys()])
  assert.ok(new Set([...model.stored.values()].map(({ file }) => file)).size === 2)
})

test('opens every fixture of the format', async () => {
  for (const name of [
    'digits/resnet-0.safetensors',
    'lm/prose',
    'lm-f32/base',
    'golden/ties.safetensors',
    'golden-tensors/150.safetensors',
    'torch/views.safetensors',
  ])
    assert.ok((await openCheckpoint(name, path.join(fixtures, name))).tensors.size > 0, name)
})

test('chooses the weight files of a folder', async () => {
  const files = async (content: Record<string, string | Uint8Array>) =>
    (await open(folder(content))).files.map(({ name }) => name)
  const both = { 'model.safetensors': weights('a'), 'adapter.safetensors': weights('b') }
  assert.equal(await files(both), ['model.safetensors'])
  assert.equal(await files({ ...both, 'model.safetensors.index.json': '!' }), ['model.safetensors'])
  assert.equal(await files({ 'any.safetensors': weights('a'), '.hidden.safetensors': '' }), ['any.safetensors'])
  const other = { 'unet.safetensors.index.json': index({ a: 'p/1.safetensors' }), 'p/1.safetensors': weights('a') }
  assert.equal(await files(other), ['p/1.safetensors'])
})

test('copies the sidecars that users of the result need', async () => {
  const where = folder({
    'model.safetensors': weights('a'),
    'config.json': '{"a":1}',
    'vocab.json': '{}',
    'merges.txt': '',
    'tokenizer.model': 'x',
    'chat_template.jinja': '',
    'README.md': '',
    LICENSE: '',
    'LICENSE.txt': '',
    '.gitattributes': '',
    'pytorch_model.bin': '',
    'pytorch_model.bin.index.json': '',
    'lineage.json': '{}',
    'trainer_state.json': '{}',
    'optimizer.pt': '',
    'training_args.bin': '',
    'modeling_x.py': '',
    'qwen.tiktoken': '',
    'additional_chat_templates/tools.jinja': '',
    'additional_chat_templates/notes.txt': '',
    'strange.json': '{}',
    secret: '',
    'sub/tokenizer.json': '',
  })
  const model = await open(where)
  const sidecars = [
    'LICENSE',
    'LICENSE.txt',
    'additional_chat_templates/tools.jinja',
    'chat_template.jinja',
    'merges.txt',
    'qwen.tiktoken',
    'tokenizer.model',
    'vocab.json',
  ]
  assert.equal(model.sidecars, sidecars)
  assert.equal(model.leftOut, ['additional_chat_templates/notes.txt', 'secret', 'strange.json'])
  assert.equal(model.config, { a: 1 })
  writeFileSync(path.join(where, 'config.json'), '{"auto_map":{"AutoModel":"modeling_x.X"}}')
  assert.equal((await open(where)).sidecars, [...sidecars.slice(0, 5), 'modeling_x.py', ...sidecars.slice(5)])
})

test('a published output with shards can be opened', async () => {
  const output = path.join(root, 'published')
  const tensors = Array.from({ length: 9 }, (_, i) => ({ name: `w.${i}`, dtype: 'BF16' as const, shape: [i, 3] }))
  const layout = layOut(tensors, { kind: 'folder', shardSize: 60, metadata: { made: 'here' } })
  const staging = await openStaging(output, { kind: 'folder', force: false, resume: false, irreplaceable })
  await preallocate(staging, layout.files)
  await stageFile(staging, layout.indexes[0]!.name, layout.indexes[0]!.text)
  await publish(staging, { sync: true })
  const model = await openCheckpoint('published', output)
  assert.equal(model.metadata, { format: 'pt', made: 'here' })
  assert.equal(
    model.files.map(({ name, size, headerBytes }) => ({ name, size, headerBytes })),
    layout.files.map(({ name, size, header }) => ({ name, size, headerBytes: header.length })),
  )
  for (const { name, dtype, shape, file, offset, bytes } of layout.tensors) {
    assert.equal(model.stored.get(name), { name, dtype, shape, file, offset, bytes })
    const view = { kind: 'stored', file, tensor: name, dtype, shape, offset, bytes }
    assert.equal(model.tensors.get(name), { name, dtype, shape, view })
  }
  assert.is(model.tensors.size, layout.tensors.length)
})

test('reads the tensors that an index lists, not stale copies in other shards', async () => {
  const files = {
    'model.safetensors.index.json': index({ a: 'overlay.safetensors', b: 's1.safetensors', c: 's2.safetensors' }),
    'overlay.safetensors': weights('a'),
    's1.safetensors': weights('a', 'b'),
    's2.safetensors': weights('b', 'a', 'c'),
  }
  const model = await open(folder(files))
  const places = [...model.stored].map(([name, { file }]) => `${name}: ${model.files[file]!.name}`)
  assert.equal(places, ['a: overlay.safetensors', 'b: s1.safetensors', 'c: s2.safetensors'])
  const [warning, ...more] = model.warnings!
  assert.equal([warning!.severity, warning!.code, more.length], ['warning', 'duplicate-tensor', 0])
  assert.match(warning!.message, 'skips copies of 2 tensors that model.safetensors.index.json does not list')
  const lacks = await faultOf({ ...files, 'overlay.safetensors': weights('x') })
  assert.is(lacks.code, 'missing-tensor')
  assert.match(lacks.message, "tensor 'a' is not in overlay.safetensors, where the index lists it; it is in s")
})

test('reads a single file rather than an index of other files, and warns', async () => {
  const files = { 'model.safetensors': weights('a'), 's1.safetensors': weights('a', 'b') }
  const name = 'model.safetensors.index.json'
  const both = await open(folder({ ...files, [name]: index({ a: 's1.safetensors', b: 's1.safetensors' }) }))
  assert.equal([...both.tensors.keys()], ['a'])
  assert.equal(
    both.warnings?.map(({ code }) => code),
    ['duplicate-tensor'],
  )
  // One that names the file itself, shards that are not there, or is none, leaves no doubt.
  for (const text of [index({ a: 'model.safetensors' }), index({ a: 'gone.safetensors' }), '{'])
    assert.is((await open(folder({ ...files, [name]: text }))).warnings, undefined)
})

test('a shard can be a link, as in the hub cache', async () => {
  const where = folder({
    'blobs/x': weights('a'),
    'models--org--x/blobs/y': weights('a'),
    'models--org--x/snapshots/1/model.safetensors.index.json': index({ a: 's.safetensors' }),
    'models--org--x/snapshots/1/sub/config.json': '{}',
  })
  const snapshot = path.join(where, 'models--org--x/snapshots/1')
  symlinkSync('../../blobs/y', path.join(snapshot, 's.safetensors'))
  symlinkSync('../../../blobs/y', path.join(snapshot, 'sub/model.safetensors'))
  assert.is((await open(snapshot)).tensors.size, 1)
  assert.is((await open(path.join(snapshot, 'sub'))).tensors.size, 1)
  // Not of its own repository.
  symlinkSync('../../../../blobs/x', path.join(snapshot, 'sub/other.safetensors'))
  rmSync(path.join(snapshot, 'sub/model.safetensors'))
  assert.is((await asyncFaultOf(() => open(path.join(snapshot, 'sub')))).code, 'outside-link')
})

test('the hint about a missing model suggests the nearest name', async () => {
  const where = folder({ 'model-a.safetensors': weights('a') })
  const near = await asyncFaultOf(() =>
    openCheckpoint('x/model_a.safetensors', path.join(where, 'model_a.safetensors')),
  )
  assert.equal([near.code, near.exit], ['missing-model', 2])
  assert.is(near.message, 'x/model_a.safetensors: there is no such file or folder')
  assert.is(near.hint, "did you mean 'x/model-a.safetensors'?")
  const far = await asyncFaultOf(() => openCheckpoint('q', path.join(where, 'q')))
  assert.match(far.hint!, 'looked for ')
  const hub = (reference: string) => asyncFaultOf(() => openCheckpoint(reference, path.join(where, reference)))
  for (const name of ['org/name-7B-v0.1', 'org/name@main'])
    assert.match((await hub(name)).hint!, `for a model on the hub, write hf:${name}; looked for `)
  for (const name of ['org/model.safetensors', './org/name', 'org/name/sub', 'name'])
    assert.not.match((await hub(name)).hint!, 'hf:', name)
  const through = await asyncFaultOf(() => openCheckpoint('f/x', path.join(where, 'model-a.safetensors/x')))
  assert.is(through.code, 'missing-model')
})

test('errors name unsupported formats', async () => {
  const single = async (content: string | Uint8Array) =>
    (await asyncFaultOf(() => open(path.join(folder({ m: content }), 'm')))).message
  assert.match(await single('PK\u0003\u0004............'), 'zip archive')
  assert.match(await single(Buffer.from('80027d2e', 'hex')), 'not one that torch.save wrote')
  assert.match(await single('{"metadata":{}}'), 'JSON text')
  assert.is((await faultOf({ 'notes.txt': '' })).code, 'no-weights')
  const several = await faultOf({ 'b.safetensors': weights('x'), 'a.safetensors': weights('x') })
  assert.is(several.code, 'ambiguous-checkpoint')
  assert.match(several.message, 'a.safetensors and b.safetensors')
  const text = Array(300).fill('x').join('')
  // 0x80 0x02 begins a pickle, and a header of 640 bytes.
  const pad = Buffer.concat([header(`{"${text}":${entry([1], 0, 4)}}`.padEnd(0x280)), Buffer.alloc(4)])
  assert.is((await open(path.join(folder({ m: pad }), 'm'))).tensors.size, 1)
})

test('index and shards must agree', async () => {
  const name = 'model.safetensors.index.json'
  const of = async (map: Record<string, string>, files: Record<string, Uint8Array>) =>
    (await faultOf({ [name]: index(map), ...files })).message
  const s = (...names: string[]) => weights(...names)
  assert.is(
    await of({ a: 'x.safetensors' }, {}),
    'some/model: model.safetensors.index.json lists x.safetensors, which does not exist',
  )
  assert.is(await of({ a: '1', b: '1' }, { 1: s('a') }), "some/model: tensor 'b' is not in 1, where the index lists it")
  assert.is(
    await of({ a: '1', b: '1', c: '2' }, { 1: s('a'), 2: s('b', 'c') }),
    "some/model: tensor 'b' is not in 1, where the index lists it; it is in 2",
  )
  assert.is(await of({ a: '1' }, { 1: s('a', 'b') }), "some/model: tensor 'b' of 1 is not in the index")
})

test('file names in an index cannot leave the folder', async () => {
  for (const file of ['../x', 'a/../../x', '/etc/passwd', 'C:x', 'a\\..\\x', '', '.', './x', 'a//b', 'a/', 'x\0', '..'])
    assert.is((await faultOf({ 'model.safetensors.index.json': index({ a: file }) })).code, 'path-escape', file)
})

test('refuses broken indexes and configurations', async () => {
  const of = async (text: string) => (await faultOf({ 'model.safetensors.index.json': text })).code
  for (const text of [
    '',
    '[]',
    '{}',
    '{"weight_map":[]}',
    '{"weight_map":{}}',
    '{"weight_map":{"a":1}}',
    '{"weight_map":{"a":"b"}} x',
    '\xff{',
  ])
    assert.is(await of(text), 'bad-index', text)
  assert.is(await of('{"weight_map":{"a":"b","a":"b"}}'), 'duplicate-key')
  assert.is(await of('{"weight_map":{"a":"b"},"weight_map":{"a":"b"}}'), 'duplicate-key')
  for (const text of [
    '',
    '[]',
    'null',
    '{',
    '{"a":nan}',
    `{"a":${'['.repeat(200)}${']'.repeat(200)}}`,
    `{"a":[${'0,'.repeat(2e6)}0]}`,
  ])
    assert.is(
      (await faultOf({ 'model.safetensors': weights('a'), 'config.json': text })).code,
      'bad-config',
      text.slice(0, 20),
    )
})

test('messages have the path of the file inside the folder', async () => {
  const { code, message } = await faultOf({ 'model.safetensors': 'short' })
  assert.is(code, 'header-too-small')
  assert.match(message, /^some\/model\/model\.safetensors: /)
})

test.run()

import { Buffer } from 'node:buffer'
import { createRequire } from 'node:module'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseHeader } from '../../src/checkpoints/containers/safetensors/header.js'
import type { TensorSpec } from '../../src/checkpoints/types.js'
import type { Dtype } from '../../src/core/dtypes.js'
import { faultOf, layOut, random } from './helpers.js'

const spec = (name: string, dtype: Dtype, ...shape: number[]): TensorSpec => ({ name, dtype, shape })
const file = { kind: 'file', fileName: 'out.safetensors', metadata: {} } as const

test('bytes are canonical: sorted metadata, wider dtypes first, then names, data in that order, 8-byte alignment', () => {
  const tensors = [
    spec('b', 'BF16', 2),
    spec('z', 'F32', 1, 2),
    spec('a', 'BF16', 3),
    spec('n', 'I64'),
    spec('h', 'F16', 1),
  ]
  const { files, tensors: placed, indexes } = layOut(tensors, { ...file, metadata: { z: 'é', a: '"' } })
  assert.equal(indexes, [])
  const header = Buffer.from(files[0]!.header)
  const json =
    '{"__metadata__":{"a":"\\"","format":"pt","z":"é"},' +
    '"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},' +
    '"z":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},' +
    '"a":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},' +
    '"b":{"dtype":"BF16","shape":[2],"data_offsets":[22,26]},' +
    '"h":{"dtype":"F16","shape":[1],"data_offsets":[26,28]}}'
  assert.is(header.toString('utf8', 8).trimEnd(), json)
  assert.is(header.length % 8, 0)
  assert.is(Number(header.readBigUInt64LE()), header.length - 8)
  assert.is(files[0]!.size, header.length + 28)
  assert.equal(
    placed.map(({ name, offset, bytes }) => [name, offset - header.length, bytes]),
    [
      ['n', 0, 8],
      ['z', 8, 8],
      ['a', 16, 6],
      ['b', 22, 4],
      ['h', 26, 2],
    ],
  )
  const again = layOut([...tensors].reverse(), { ...file, metadata: { a: '"', z: 'é' } })
  assert.ok(header.equals(again.files[0]!.header))
})

test('names are in the order of their UTF-8 bytes', () => {
  const names = ['\u{1f600}', '\uff5e', 'é', 'ab', 'a', 'Z', 'a.10', 'a.2']
  const { tensors } = layOut(
    names.map((name) => spec(name, 'F32', 1)),
    file,
  )
  const byBytes = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  assert.equal(
    tensors.map(({ name }) => name),
    byBytes,
  )
})

test('keeps the given format', () => {
  const { files } = layOut([], { ...file, metadata: { format: 'np' } })
  assert.match(Buffer.from(files[0]!.header).toString(), '{"__metadata__":{"format":"np"}}')
})

test('fills shards in the given order, and gives a tensor above the shard size its own file', () => {
  const tensors = [
    spec('c', 'F32', 10),
    spec('b', 'F32', 10),
    spec('big', 'F32', 100),
    spec('a', 'F16', 1),
    spec('d', 'F32', 19),
  ]
  const { files, tensors: placed, indexes } = layOut(tensors, { kind: 'folder', shardSize: 80, metadata: {} })
  const of = (file: number) => placed.filter((tensor) => tensor.file === file).map(({ name }) => name)
  assert.equal(
    files.map(({ name }) => name),
    [1, 2, 3].map((shard) => `model-0000${shard}-of-00003.safetensors`),
  )
  assert.equal([of(0), of(1), of(2)], [['b', 'c'], ['big'], ['d', 'a']])
  const parsed = JSON.parse(indexes[0]!.text)
  assert.is(parsed.metadata.total_size, 558)
  assert.equal(Object.entries(parsed.weight_map).at(0), ['a', 'model-00003-of-00003.safetensors'])
  assert.equal(Object.keys(parsed.weight_map), ['a', 'b', 'big', 'c', 'd'])
  for (const [number, { header, size, name }] of files.entries()) {
    const read = parseHeader(header, size, name)
    assert.equal(
      read.tensors.map(({ name, offset, bytes }) => ({ name, offset, bytes })),
      placed.filter(({ file }) => file === number).map(({ name, offset, bytes }) => ({ name, offset, bytes })),
    )
  }
  const one = layOut(tensors, { kind: 'folder', shardSize: 558, metadata: {} })
  assert.equal([one.files.map(({ name }) => name), one.indexes], [['model.safetensors'], []])
})

test('refuses tensors that cannot be written', () => {
  const codeOf = (...tensors: TensorSpec[]) => faultOf(() => layOut(tensors, file)).code
  assert.is(codeOf(spec('a', 'F32', 2 ** 26, 2 ** 26)), 'too-large')
  assert.is(codeOf(...Array.from({ length: 9 }, (_, i) => spec(`${i}`, 'U8', 2 ** 50 - 1))), 'too-large')
  assert.is(codeOf(spec('a', 'F32', 1), spec('a', 'F16', 1)), 'bad-name')
  assert.is(codeOf(spec('__metadata__', 'F32', 1)), 'bad-name')
  assert.is(codeOf(spec('\ud800', 'F32', 1)), 'bad-name')
})

test('our reader and an independent one read random layouts back unchanged', () => {
  const { SafeTensor } = createRequire(import.meta.url)('safetensors') as {
    SafeTensor: new (bytes: Uint8Array) => { getTensor(name: string): Uint8Array }
  }
  const next = random(3)
  const pick = (below: number) => next.next().value % below
  for (let round = 0; round < 100; round++) {
    const tensors = Array.from({ length: pick(12) }, (_, i) =>
      spec(
        `t"\\${'é'.repeat(pick(3))}${i}`,
        (['F64', 'F32', 'BF16', 'U8', 'BOOL', 'F8_E4M3'] as const)[pick(6)]!,
        ...Array.from({ length: pick(4) }, () => pick(5)),
      ),
    )
    const { files, tensors: placed } = layOut(tensors, file)
    const { header, size } = files[0]!
    const bytes = new Uint8Array(size)
    bytes.set(header)
    for (let at = header.length; at < size; at++) bytes[at] = pick(256)
    const read = parseHeader(bytes, size, 'x')
    assert.equal(
      read.tensors.map(({ name, dtype, shape, offset, bytes }) => ({ name, dtype, shape, offset, bytes })),
      placed.map(({ name, dtype, shape, offset, bytes }) => ({ name, dtype, shape, offset, bytes })),
    )
    // The package fails on `__metadata__`: same length, another text, so that the places stay.
    const text = Buffer.from(header).toString('utf8')
    const without = text.replace(/"__metadata__":\{"format":"pt"\},?/, '').slice(8)
    bytes.set(Buffer.from(without + ' '.repeat(header.length - 8 - Buffer.byteLength(without))), 8)
    const other = new SafeTensor(bytes)
    for (const { name, offset, bytes: length } of placed)
      assert.ok(Buffer.compare(other.getTensor(name), bytes.subarray(offset, offset + length)) === 0)
  }
})

test('splits a folder whose header would be too long, even without a shard size', () => {
  const name = 'x'.repeat(1_000_000)
  const tensors = Array.from({ length: 150 }, (_, i) => ({ name: `${i}.${name}`, dtype: 'F32' as const, shape: [1] }))
  const { files, indexes } = layOut(tensors, { kind: 'folder', metadata: {} })
  assert.is(files.length, 2)
  assert.is(indexes.length, 1)
})

test.run()

import { Buffer } from 'node:buffer'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parseHeader } from '../../src/checkpoints/containers/safetensors/header.js'
import { entry, faultOf, header } from './helpers.js'

function read(text: string | Uint8Array, data: number) {
  const bytes = header(text)
  return parseHeader(bytes, bytes.length + data, 'm.safetensors')
}

const codeOf = (text: string | Uint8Array, data = 0): string => faultOf(() => read(text, data)).code

test('reads names, shapes, places and metadata', () => {
  const text = `{"__metadata__":{"format":"pt","__proto__":"x"},"b":${entry([2, 3], 2, 26)},"__proto__":${entry([], 0, 2, 'BF16')},"e":${entry([0, 7], 26, 26)}}   `
  const result = read(text, 26)
  assert.is(result.headerBytes, 8 + text.length)
  assert.equal(result.tensors, [
    { name: '__proto__', dtype: 'BF16', shape: [], offset: 8 + text.length, bytes: 2 },
    { name: 'b', dtype: 'F32', shape: [2, 3], offset: 10 + text.length, bytes: 24 },
    { name: 'e', dtype: 'F32', shape: [0, 7], offset: 34 + text.length, bytes: 0 },
  ])
  assert.equal(Object.entries(result.metadata), [
    ['format', 'pt'],
    ['__proto__', 'x'],
  ])
  assert.is(Object.getPrototypeOf(result.metadata), Object.prototype)
})

test('reads the headers that the reference implementation reads', () => {
  assert.equal(read('{}', 0).tensors, [])
  assert.equal(read('{}      ', 0).metadata, {})
  assert.equal(read('{"__metadata__":null}', 0).metadata, {})
  assert.is(read(`{"\\u00e9\\ud83d\\ude00\\n":${entry([1], 0, 4)}}`, 4).tensors[0]!.name, 'é😀\n')
  assert.is(read(`{"é😀":${entry([1], 0, 4)}}`, 4).tensors[0]!.name, 'é😀')
  // Unknown fields are passed over, whatever they hold.
  const extra = `{"x":[1,-2.5e+3,{"y":[true,null,"\\""]}],"dtype":"F4","shape":[3,2],"data_offsets":[0,3]}`
  assert.is(read(`{"a":${extra}}`, 3).tensors[0]!.bytes, 3)
})

test('checks length and text before anything else', () => {
  const short = faultOf(() => parseHeader(new Uint8Array(7), 7, 'm.safetensors'))
  assert.is(short.code, 'header-too-small')
  assert.is(short.message, 'm.safetensors: too small for a safetensors file: 7 bytes, and a header takes at least 8')
  const large = faultOf(() => parseHeader(header('{}', 100_000_001), 2 ** 40, 'm.safetensors'))
  assert.is(large.code, 'header-too-large')
  assert.match(large.message, 'claims 100000001 bytes, but the format allows at most 100000000')
  const endless = new Uint8Array(16).fill(255)
  assert.is(faultOf(() => parseHeader(endless, 16, 'm')).code, 'header-too-large')
  assert.is(faultOf(() => parseHeader(header('{}', 3), 10, 'm')).code, 'header-length')
  assert.is(faultOf(() => parseHeader(header('{}', 3), 100, 'm')).code, 'header-length')
  assert.is(codeOf(Buffer.from([0x7b, 0xff, 0x7d])), 'header-not-utf8')
  assert.is(codeOf(' {}'), 'header-start')
  assert.is(codeOf('\ufeff{}'), 'header-start')
  assert.is(codeOf('[]'), 'header-start')
  assert.is(codeOf(''), 'header-start')
})

test('accepts only strict JSON', () => {
  for (const text of [
    '{',
    '{"a"}',
    '{"a":}',
    '{}x',
    '{}{}',
    '{"a":{"x":01,}}',
    '{"a":{"x":tru}}',
    '{"a":{"x":"\t"}}',
    '{"a":{"x":"\\x"}}',
    '{"a":{"x":"\\u12g4"}}',
    '{"\\ud800":1}',
    '{"a":{"x":[1 2]}}',
    '{"a":{"x":1.}}',
    '{"a":{"x":-}}',
    '{"a":{"x":1e}}',
    `{,}`,
    `{"a":{},}`,
  ])
    assert.ok(['header-json', 'bad-tensor-entry'].includes(codeOf(text)), text)
  assert.is(codeOf('{"a":{"x":01}}'), 'header-json')
  const { message } = faultOf(() => read('{"a" 1}', 0))
  assert.is(message, 'm.safetensors: the header is not valid JSON: expected `:` at byte 13, found `1`')
})

test('limits nesting without using the stack', () => {
  const nest = (depth: number) => `{"a":{"x":${'['.repeat(depth)}${']'.repeat(depth)},${entry([1], 0, 4).slice(1)}}`
  assert.is(read(nest(100), 4).tensors.length, 1)
  assert.is(codeOf(nest(200), 4), 'header-json')
  assert.is(codeOf(`{"a":{"x":${'[{"a":'.repeat(1_000_000)}`), 'header-json')
})

test('refuses duplicate names', () => {
  assert.is(codeOf(`{"a":${entry([1], 0, 4)},"a":${entry([1], 0, 4)}}`, 4), 'duplicate-key')
  assert.is(codeOf(`{"__proto__":${entry([1], 0, 4)},"__proto__":${entry([1], 4, 8)}}`, 8), 'duplicate-key')
  assert.is(codeOf(`{"a":${entry([1], 0, 4)},"\\u0061":${entry([1], 4, 8)}}`, 8), 'duplicate-key')
  assert.is(codeOf('{"__metadata__":{},"__metadata__":{}}'), 'duplicate-key')
  assert.is(codeOf('{"__metadata__":{"a":"","a":""}}'), 'duplicate-key')
  const { message } = faultOf(() => read('{"a":{"dtype":"F32","dtype":"F32"}}', 0))
  assert.is(message, "m.safetensors: tensor 'a': 'dtype' appears twice")
})

test('metadata maps strings to strings', () => {
  for (const text of ['1', '"x"', '[]', '{"a":1}', '{"a":null}', '{"a":{}}'])
    assert.is(codeOf(`{"__metadata__":${text}}`), 'bad-metadata', text)
})

test('an entry must have a dtype, a shape and offsets of the right types', () => {
  for (const text of [
    'null',
    '[]',
    '{}',
    '{"dtype":"F32","shape":[1]}',
    '{"dtype":"F32","data_offsets":[0,4]}',
    '{"shape":[1],"data_offsets":[0,4]}',
    '{"dtype":1,"shape":[1],"data_offsets":[0,4]}',
    '{"dtype":"F32","shape":1,"data_offsets":[0,4]}',
    '{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}',
    '{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}',
    '{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}',
    '{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}',
    '{"dtype":"F32","shape":[null],"data_offsets":[0,4]}',
    '{"dtype":"F32","shape":[1],"data_offsets":[0]}',
    '{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}',
    '{"dtype":"F32","shape":[1],"data_offsets":{"0":0,"1":4}}',
    `{"dtype":"F32","shape":[${Array(65).fill(1)}],"data_offsets":[0,4]}`,
    '{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551620]}',
  ])
    assert.is(codeOf(`{"a":${text}}`, 4), 'bad-tensor-entry', text)
  const { message } = faultOf(() => read('{"a.b":{"dtype":"F32","shape":[2,-1]}}', 0))
  assert.is(message, "m.safetensors: tensor 'a.b': `shape` must be non-negative integers, not -1")
})

test('the hint about an unknown dtype suggests the nearest known one', () => {
  const of = (dtype: string) => faultOf(() => read(`{"a":${entry([1], 0, 4, dtype)}}`, 4))
  const { exit, ...fault } = of('bf16')
  assert.is(exit, 2)
  assert.equal(fault, {
    code: 'unknown-dtype',
    message: "m.safetensors: tensor 'a': unknown dtype 'bf16'",
    hint: "did you mean 'BF16'?",
  })
  assert.is(of('F23').code, 'unknown-dtype')
  assert.match(of('quaternion').hint!, "known: 'BOOL', ")
  assert.is(of('constructor').code, 'unknown-dtype')
})

test('tensors must cover the data exactly', () => {
  const two = (first: string, second: string) => `{"b":${second},"a":${first}}`
  assert.is(read(two(entry([1], 0, 4), entry([1], 4, 8)), 8).tensors.length, 2)
  const overlap = faultOf(() => read(two(entry([2], 0, 8), entry([1], 4, 8)), 8))
  assert.is(overlap.code, 'offsets-overlap')
  assert.is(overlap.message, "m.safetensors: tensor 'b' begins at byte 4 of the data, inside 'a', which ends at 8")
  assert.is(codeOf(two(entry([1], 0, 4), entry([1], 8, 12)), 12), 'offsets-hole')
  assert.is(codeOf(`{"a":${entry([1], 4, 8)}}`, 8), 'offsets-hole')
  assert.is(codeOf(`{"a":${entry([1], 0, 4)},"b":${entry([1], 4, 0)}}`, 4), 'offsets-reversed')
  assert.is(codeOf(`{"a":${entry([2], 0, 4)}}`, 4), 'size-mismatch')
  assert.is(codeOf(`{"a":${entry([1], 0, 4, 'F64')}}`, 4), 'size-mismatch')
  assert.is(codeOf(`{"a":${entry([3], 0, 1, 'F4')}}`, 1), 'part-of-byte')
  const big = 2 ** 40
  assert.is(codeOf(`{"a":${entry([big, big], 0, 4)}}`, 4), 'shape-overflow')
  assert.is(codeOf(`{"a":${entry([big, big, 0], 0, 0)}}`), 'shape-overflow')
  assert.is(read(`{"a":${entry([0, big, big], 0, 0)}}`, 0).tensors.length, 1)
  assert.is(codeOf(`{"a":${entry([1], 0, 4)}}`, 3), 'file-incomplete')
  assert.is(codeOf(`{"a":${entry([1], 0, 4)}}`, 5), 'file-too-long')
  assert.is(codeOf('{}', 1), 'file-too-long')
})

test('messages quote and shorten names from a file', () => {
  const { message } = faultOf(() => read(`{"a\\u001b[31m${'x'.repeat(10_000)}":${entry([1], 0, 8)}}`, 8))
  assert.not.match(message, '\u001b')
  assert.ok(message.length < 500)
})

test.run()

/**
 * Hostile files. Every mutant of a header or an index gives an error or a consistent read, and no input takes more than
 * 200 MB. Rounds are seeded: a failure prints the round, which reproduces the mutant.
 */
import { Buffer } from 'node:buffer'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Header, headerLength, parseHeader } from '../../src/checkpoints/containers/safetensors/header.js'
import { parseIndex } from '../../src/checkpoints/folder.js'
import { Fault } from '../../src/core/diagnostics.js'
import { elements } from '../../src/core/dtypes.js'
import { bytesOf } from '../../src/encodings/index.js'
import { entry, faultOf, header, random } from './helpers.js'

const MUTANTS = 100_000

/** Text that parsers often handle wrongly. */
const TOKENS = [
  ...[
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '\\u0000',
    '\\ud800',
    '\\udc00',
    'null',
    'true',
    '-1',
    '1.5',
    '1e9',
    '0',
    '00',
  ],
  ...[
    '9007199254740993',
    '18446744073709551616',
    '-0',
    '""',
    '{}',
    '[]',
    '__proto__',
    'constructor',
    '__metadata__',
    'dtype',
  ],
  ...[
    'shape',
    'data_offsets',
    'weight_map',
    '../',
    '/',
    'F32',
    'F64',
    'F4',
    'BF16',
    'Q4_0',
    ' ',
    '\n',
    '\0',
    '\ufeff',
    '\u00e9',
    '\u{1f600}',
  ],
  ...[
    '[0,4]',
    '[4,0]',
    '[4,8]',
    '"a":',
    '"b":',
    entry([1], 0, 4),
    `"a":${entry([1], 0, 4)},`,
    `"c":${entry([1], 4, 8)},`,
  ],
].map((token) => Buffer.from(token))

function mutate(seed: Uint8Array, next: Generator<number, never>): Buffer {
  const pick = (below: number): number => (below > 0 ? next.next().value % below : 0)
  let bytes = Buffer.from(seed)
  for (let changes = 1 + pick(4); changes > 0; changes--) {
    const at = pick(bytes.length + 1)
    const to = Math.min(bytes.length, at + pick(12))
    const rest = bytes.subarray(to)
    switch (pick(7)) {
      case 0:
        if (at < bytes.length) bytes[at]! ^= 1 << pick(8)
        break
      case 1:
        if (at < bytes.length) bytes[at] = pick(256)
        break
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), rest])
        break
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, to), bytes.subarray(at, to), rest])
        break
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), TOKENS[pick(TOKENS.length)]!, bytes.subarray(at)])
        break
      case 5:
        bytes = Buffer.concat([bytes.subarray(0, at), TOKENS[pick(TOKENS.length)]!, rest])
        break
      default:
        // A number changes into a near or far one.
        bytes = Buffer.from(
          bytes
            .toString('latin1')
            .replace(/\d+/g, (digits) => (pick(6) ? digits : `${pick(2) ? Number(digits) + pick(3) : pick(2 ** 24)}`)),
          'latin1',
        )
    }
  }
  return bytes
}

/** Checks that tensors are within the file, without gap or overlap, and that sizes match dtypes and shapes. */
function holdsTogether({ headerBytes, tensors, metadata }: Header, size: number): boolean {
  let at = headerBytes
  for (const { name, dtype, shape, offset, bytes } of tensors) {
    if (typeof name !== 'string' || offset !== at || bytesOf(dtype, elements(shape)) !== bytes) return false
    at += bytes
  }
  const names = new Set(tensors.map(({ name }) => name))
  return (
    at === size && names.size === tensors.length && Object.values(metadata).every((value) => typeof value === 'string')
  )
}

const headers = [
  `{"__metadata__":{"format":"pt"},"a":${entry([1], 0, 4)},"b":${entry([2, 1], 4, 8, 'BF16')},"e":${entry([0], 8, 8, 'I64')}}  `,
  `{"model.layers.0.w":${entry([2, 3], 0, 12, 'F16')}}`,
  `{"z":{"x":[1,{"y":[null,true,-2.5e-3]}],"data_offsets":[0,3],"shape":[6],"dtype":"F4"}}`,
  '{}',
]
const indexes = [
  '{"metadata":{"total_size":12},"weight_map":{"a":"1.safetensors","b":"x/2.safetensors"}}',
  '{"weight_map":{"a":"m"}}',
]

test(`${2 * MUTANTS} mutants give an error or a valid read`, () => {
  // There are many errors here, and nobody reads their stacks.
  Error.stackTraceLimit = 0
  const before = process.memoryUsage().rss
  const codes = new Map<string, number>()
  let reads = 0
  const run = (round: string, work: () => boolean) => {
    try {
      if (!work()) assert.unreachable(`${round}: a read that does not hold together`)
      reads++
    } catch (error) {
      if (!(error instanceof Fault) || error.exit !== 2) throw new Error(`${round}: ${(error as Error).stack}`)
      const { code } = error.diagnostics[0]!
      codes.set(code, (codes.get(code) ?? 0) + 1)
    }
  }
  for (let round = 0; round < MUTANTS; round++) {
    const next = random(round)
    const seed = headers[round % headers.length]!
    const text = mutate(Buffer.from(seed), next)
    // Length and size are mostly right, so that later checks are reached.
    const kind = next.next().value % 20
    const bytes = kind === 0 ? mutate(header(seed), next) : header(text, kind === 1 ? text.length + 1 : undefined)
    const size = bytes.length + [8, 12, 3, 0][round % 4]! + (kind === 2 ? 1 : 0)
    run(`header ${round}`, () => holdsTogether(parseHeader(bytes, size, 'm'), size))
    const index = mutate(Buffer.from(indexes[round % indexes.length]!), random(round + MUTANTS))
    run(`index ${round}`, () => {
      const files = [...parseIndex(index, 'i', { left: 2 ** 26 }).values()]
      return files.length > 0 && files.every((file) => !file.split('/').includes('..') && !file.startsWith('/'))
    })
  }
  Error.stackTraceLimit = 10
  const grown = process.memoryUsage().rss - before
  assert.ok(grown < 200e6, `${grown} bytes`)
  // The generator reaches every check except those on length and memory, and also makes valid files.
  assert.ok(reads > MUTANTS / 20, `${reads} reads`)
  for (const code of ALL) assert.ok(codes.has(code), `never ${code}`)
})

const ALL = [
  ...[
    'header-too-small',
    'header-too-large',
    'header-length',
    'header-not-utf8',
    'header-start',
    'header-json',
    'duplicate-key',
  ],
  ...[
    'bad-metadata',
    'bad-tensor-entry',
    'unknown-dtype',
    'offsets-overlap',
    'offsets-hole',
    'offsets-reversed',
    'part-of-byte',
  ],
  ...['size-mismatch', 'file-incomplete', 'file-too-long', 'bad-index', 'path-escape'],
]

// The reference implementation's attacks/ on its own format, one test each.

test('attack 1: a header that claims to be longer than the file', () => {
  const bytes = Buffer.concat([header(`{"weight":${entry([2, 2], 0, 16)}}`, 1000), Buffer.alloc(16)])
  assert.is(faultOf(() => parseHeader(bytes, bytes.length, 'm')).code, 'header-length')
})

test('attack 2: ten million tensors over the same bytes', () => {
  // It is refused by its length, before anything is read.
  const first = new Uint8Array(8)
  new DataView(first.buffer).setBigUint64(0, 700_000_000n, true)
  assert.is(faultOf(() => headerLength(first, 1_400_000_000, 'm')).code, 'header-too-large')
})

test('attack 3: a hundred thousand tensors over the same bytes', () => {
  const entries = Array.from({ length: 100_000 }, (_, i) => `"weight_${i}":${entry([200, 200], 0, 160_000)}`)
  const bytes = header(`{${entries}}`)
  assert.is(faultOf(() => parseHeader(bytes, bytes.length * 2, 'm')).code, 'offsets-overlap')
})

let room: Buffer | undefined

/** A header of 99 MB: `start`, many copies of `unit`, `end`. It is made without a string of that length. */
function giant(start: string, unit: string, end: string): Buffer {
  room ??= Buffer.alloc(8 + 99_000_000)
  const bytes = room.fill(' ')
  bytes.writeBigUInt64LE(99_000_000n)
  bytes.write(start, 8)
  const times = Math.floor((99_000_000 - Buffer.byteLength(start) - Buffer.byteLength(end)) / Buffer.byteLength(unit))
  const from = 8 + Buffer.byteLength(start)
  const to = from + times * Buffer.byteLength(unit)
  bytes.fill(unit, from, to)
  bytes.write(end, to)
  return bytes
}

for (const [what, start, unit, end, code] of [
  ['one name beyond ASCII', '{"', 'é', `":${entry([1], 0, 4)}}`, 'header-memory'],
  ['one shape', '{"a":{"shape":[', '1,', '1]}}', 'bad-tensor-entry'],
  ['one number', '{"a":{"shape":[', '9', ']}}', 'bad-tensor-entry'],
  ['nested lists', '{"a":{"x":', '[', '', 'header-json'],
  ['an unknown field', '{"a":{"x":[', '{},', '1]}}', 'bad-tensor-entry'],
  ['nothing but spaces', '{', ' ', '}', 'file-too-long'],
] as const)
  test(`a header of 99 MB: ${what}`, () => {
    const bytes = giant(start, unit, end)
    const before = process.memoryUsage().rss
    assert.is(faultOf(() => parseHeader(bytes, bytes.length + 4, 'm')).code, code)
    const grown = process.memoryUsage().rss - before
    assert.ok(grown < 95e6, `${grown} bytes beside the header's own`)
  })

test('a header of many small tensors stays within the memory budget', () => {
  let text = '{'
  for (let i = 0; i < 350_000; i++) text += `${i ? ',' : ''}"${i.toString(36)}":${entry([1], i, i + 1, 'U8')}`
  const bytes = header(`${text}}`)
  text = ''
  const before = process.memoryUsage().rss
  const few = { left: 32 * 2 ** 20 }
  assert.is(faultOf(() => parseHeader(bytes, bytes.length + 350_000, 'm', few)).code, 'header-memory')
  assert.ok(process.memoryUsage().rss - before < 120e6)
  assert.is(parseHeader(bytes, bytes.length + 350_000, 'm').tensors.length, 350_000)
})

test.run()

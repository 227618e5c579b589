/** Hostile zip archives and legacy files around honest pickles. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ContainerHeader } from '../../src/checkpoints/containers/types.js'
import { Fault } from '../../src/core/diagnostics.js'
import { memorySource, readPytorchHeader, refusesPytorch } from './helpers.js'
import {
  dict,
  generator,
  int,
  join,
  little,
  storage,
  string,
  tensor,
  torchEntries,
  torchLegacy,
  torchZip,
  type ZipFile,
  type ZipOptions,
  zip,
} from './pytorchFiles.js'

const model = dict({ a: tensor(), b: tensor({ offset: 3, shape: [3], strides: [1] }) })
const read = (bytes: Uint8Array): Promise<ContainerHeader> => readPytorchHeader(memorySource(bytes, 'm.pt'))

/** The honest archive with one entry changed. */
const withEntry = (name: string, change: Partial<ZipFile>, options?: ZipOptions): Uint8Array =>
  zip(
    torchEntries(model).map((file) => (file.name === name ? { ...file, ...change } : file)),
    options,
  )
const data = new Uint8Array(24)

test('reads valid archives: short, zip64, with a comment, without a folder', async () => {
  const usual = await read(torchZip(model))
  assert.equal(
    usual.tensors.map(({ name }) => name),
    ['a', 'b'],
  )
  assert.equal(await read(torchZip(model, { 0: data }, { zip64: true })), usual)
  assert.equal(
    await read(
      torchZip(model, { 0: data }, { zip64: true, end: { entries: 0xffff, size: 0xffffffff, offset: 0xffffffff } }),
    ),
    usual,
  )
  assert.equal(await read(torchZip(model, { 0: data }, { comment: 'PK\u0005\u0006 is no end here' })), usual)
  assert.equal(
    (await read(zip(torchEntries(model).map((file) => ({ ...file, name: file.name.slice(2) }))))).tensors.length,
    2,
  )
  const wide = join(little(1, 2), little(16, 2), little(24, 8), little(24, 8))
  const full = { size: 0xffffffff, packed: 0xffffffff, extra: wide }
  assert.is(
    (await read(withEntry('m/data/0', { central: full, local: full }))).tensors[0]!.offset,
    usual.tensors[0]!.offset + 20,
  )
  const described = { flags: 8, size: 0, packed: 0 }
  assert.equal(await read(withEntry('m/data/0', { central: { flags: 8 }, local: described })), usual)
})

test('the header ends at the end of the pickle', async () => {
  const bytes = torchZip(model)
  const { headerBytes } = await read(bytes)
  assert.is(bytes[headerBytes - 1], '.'.charCodeAt(0))
  const legacy = torchLegacy(model)
  assert.is((await read(legacy)).headerBytes, legacy.length - 24 - 8)
})

test('refuses a missing, wrong or duplicate end record', async () => {
  const honest = torchZip(model)
  await refusesPytorch(honest.subarray(0, honest.length - 1), 'zip-directory', 'end is missing')
  await refusesPytorch(join(honest, 0), 'zip-directory', 'end is missing')
  await refusesPytorch(honest.subarray(0, 40), 'zip-directory')
  await refusesPytorch(join('PK', 3, 4), 'zip-directory')
  const bad = (options: ZipOptions, says = '') =>
    refusesPytorch(torchZip(model, { 0: data }, options), 'zip-directory', says)
  await bad({ end: { entries: 2 } }, 'after its last entry')
  await bad({ end: { entries: 4 } }, 'entry 3')
  await bad({ end: { size: 1 } }, 'do not reach')
  await bad({ end: { offset: 0 } }, 'do not reach')
  await bad({ end: { offset: 0xfffffff0 } }, 'do not reach')
  await bad({ end: { offset: 0xffffffff } }, 'zip64 end is missing')
  await bad({ gap: new Uint8Array(7) }, 'do not reach')
  await bad({ zip64: true, end: { entries: 2 } }, 'contradict')
  await bad({ zip64: true, end64: { disk: 1 } }, 'disks')
  await bad({ zip64: true, end64: { at: 0 } }, 'locator')
  await bad({ zip64: true, end64: { at: 2n ** 64n - 1n } }, 'locator')
  const full = { entries: 0xffff, size: 0xffffffff, offset: 0xffffffff }
  await bad({ zip64: true, end: full, end64: { offset: 2n ** 63n } })
  await bad({ zip64: true, end: full, end64: { size: 2n ** 64n - 1n } })
  await bad({ zip64: true, end: full, end64: { entries: 2n ** 40n } }, 'too many')
})

test('refuses entries with wrong fields', async () => {
  const bad = (change: Partial<ZipFile>, says = '', code = 'zip-entry') =>
    refusesPytorch(withEntry('m/data/0', change), code, says)
  await bad({ central: { method: 8 } }, 'compressed', 'zip-compressed')
  await bad({ central: { flags: 1 } }, 'encrypted')
  await bad({ local: { name: 'm/data/1' } }, 'a different name')
  await bad({ local: { name: 'm/data/00' } }, 'a different name')
  await bad({ local: { method: 8 } }, 'contradict')
  await bad({ local: { size: 25 } }, 'contradicts the directory')
  await bad({ local: { packed: 0 } }, 'contradicts the directory')
  await bad({ local: { size: 0, packed: 0 } }, 'contradicts the directory')
  await bad({ local: { signature: 0x04034b51 } }, 'no local header')
  await bad({ central: { size: 48 } }, 'take 24')
  await bad({ central: { size: 25, packed: 25 }, local: { size: 25, packed: 25 } }, 'overlaps', 'zip-directory')
  await bad({ local: { extra: new Uint8Array(9) }, central: { size: 33, packed: 33 } }, 'overlap what')
  await bad({ central: { size: 0xffffffff, packed: 0xffffffff } }, 'zip64 field', 'zip-directory')
  await bad(
    { central: { size: 0xffffffff, extra: join(little(1, 2), little(4, 2), little(0, 4)) } },
    'zip64 field',
    'zip-directory',
  )
  await bad({ central: { size: 0xffffffff, extra: join(little(1, 2), little(99, 2)) } }, 'zip64 field', 'zip-directory')
  await bad({ central: { size: 8, packed: 8 }, local: { size: 8, packed: 8 } }, 'claims 24 bytes', 'bad-tensor')
})

test('refuses entries that repeat, overlap or point outside', async () => {
  const twice = [...torchEntries(model), { name: 'm/data/0', data }]
  await refusesPytorch(zip(twice), 'zip-directory', 'twice')
  await refusesPytorch(withEntry('m/data/0', { central: { offset: 0 } }), 'zip-directory', 'overlaps')
  await refusesPytorch(withEntry('m/version', { central: { offset: 0xfffffff } }), 'zip-directory', 'overlaps')
  for (const name of ['../data/0', '/data/0', 'm/../../0', 'm\\data', 'm/data/0\0'])
    await refusesPytorch(withEntry('m/version', { name }), 'zip-directory', 'outside of the archive')
  await refusesPytorch(withEntry('m/version', { name: '' }), 'zip-directory', 'an invalid name')
})

test('refuses archives that are not PyTorch files', async () => {
  await refusesPytorch(zip([{ name: 'word/document.xml', data }]), 'not-pytorch', 'without data.pkl')
  await refusesPytorch(zip([...torchEntries(model), { name: 'n/data.pkl', data }]), 'not-pytorch', '2 pickles')
  await refusesPytorch(zip([...torchEntries(model), { name: 'm/constants.pkl', data }]), 'no-state-dict', 'TorchScript')
  const order = (text: string) => zip([...torchEntries(model), { name: 'm/byteorder', data: join(text) }])
  assert.is((await read(order('little'))).tensors.length, 2)
  await refusesPytorch(order('big'), 'byte-order')
})

test('reads only headers', async () => {
  const bytes = torchZip(dict({ a: tensor({ storage: storage({ length: 2 ** 20 }) }) }), { 0: new Uint8Array(2 ** 22) })
  const source = memorySource(bytes, 'm.pt')
  let total = 0
  const counting = {
    ...source,
    read(offset: number, length: number) {
      total += length
      return source.read(offset, length)
    },
  }
  await readPytorchHeader(counting)
  assert.ok(total < 2 ** 17, `${total} bytes`)
})

test('refuses legacy files with wrong fields', async () => {
  const bad = (code: string, says: string, ...args: Parameters<typeof torchLegacy>) =>
    refusesPytorch(torchLegacy(...args), code, says)
  await bad('bad-storage', 'expect 6', model, [{ key: '0', length: 7, data }])
  await bad('bad-storage', 'expect 6', model, [{ key: '0', length: 2n ** 64n - 1n, data }])
  await bad('bad-storage', 'ends earlier', model, [{ key: '0', length: 6, data: data.subarray(1) }])
  await bad('bad-storage', 'no tensor uses', model, [{ key: '1', length: 6, data }])
  await bad('bad-storage', 'a duplicate', model, [
    { key: '0', length: 6, data },
    { key: '0', length: 6, data },
  ])
  await bad('missing-storage', "'0'", model, [])
  await bad('byte-order', '', model, undefined, 0x89)
  const two = dict({ a: tensor(), b: tensor({ storage: storage({ type: ['torch', 'DoubleStorage'] }) }) })
  await bad('bad-storage', 'two different descriptions', two)
  await bad(
    'bad-storage',
    "'my.Storage'",
    dict({ a: tensor(), b: tensor({ storage: storage({ type: ['my', 'Storage'], key: '1' }) }) }),
    [{ key: '1', length: 6, data }],
  )
  const honest = torchLegacy(model)
  await refusesPytorch(honest.subarray(0, 300), 'pickle-truncated')
  await refusesPytorch(join(honest.subarray(0, 15), 0x80, 2, int(1002), '.'), 'legacy-header', 'unknown version')
  await refusesPytorch(join(0x80, 2, string('x'), '.'), 'legacy-header', 'does not start')
})

/** One to three changes of bytes: another value, a bit, a run moved or lost, a length made huge. */
function mutate(bytes: Uint8Array, random: () => number, from: number, to: number): Uint8Array {
  const out = bytes.slice()
  for (let changes = 1 + (random() % 3); changes > 0; changes--) {
    const at = from + (random() % (to - from))
    const kind = random() % 5
    if (kind === 0) out[at] = random() & 255
    else if (kind === 1) out[at]! ^= 1 << (random() & 7)
    else if (kind === 2) out.fill(255, at, Math.min(to, at + (random() % 9)))
    else if (kind === 3) out.copyWithin(at, from + (random() % (to - from)), to)
    else out[at] = '(.0RtQbusae}])q'.charCodeAt(random() % 15)
  }
  return random() % 16 === 0 ? out.subarray(0, random() % out.length) : out
}

/** Reads mutants: each must be refused by name, or describe tensors that lie inside the file. */
async function fuzz(honest: Uint8Array, count: number, seed: number, from: number, to: number): Promise<number> {
  const random = generator(seed)
  let valid = 0
  for (let round = 0; round < count; round++) {
    const bytes = mutate(honest, random, from, to)
    try {
      const { tensors, headerBytes } = await read(bytes)
      valid++
      if (!(headerBytes <= bytes.length)) assert.unreachable(`round ${round}: header`)
      for (const { offset, bytes: length } of tensors)
        if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length))
          assert.unreachable(`round ${round}: out of the file`)
    } catch (error) {
      if (!(error instanceof Fault)) throw new Error(`round ${round} of seed ${seed}: ${(error as Error).stack}`)
      if (!error.diagnostics[0]!.code || !error.diagnostics[0]!.hint)
        assert.unreachable(`round ${round}: ${error.message}`)
    }
  }
  return valid
}

const find = (bytes: Uint8Array, text: string): number =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(text)

test('100,000 mutated pickles and directories give an error with a code or a valid read', async () => {
  const archive = torchZip(model, { 0: data }, { zip64: true })
  const directory = find(archive, 'PK\u0001\u0002')
  const legacy = torchLegacy(model)
  const valid = [
    await fuzz(archive, 35_000, 1, find(archive, 'm/data.pkl') + 10, find(archive, 'm/data/0') - 30),
    await fuzz(archive, 35_000, 2, directory, archive.length),
    await fuzz(archive, 10_000, 3, 0, archive.length),
    await fuzz(legacy, 20_000, 4, 15, legacy.length),
  ]
  // A fuzzer whose mutants all survive, or all fail at the door, tests nothing.
  for (const count of valid) assert.ok(count > 100 && count < 15_000, `${valid}`)
})

test.run()

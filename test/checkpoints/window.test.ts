import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../src/core/webassembly.js'
import { mapper } from '../../src/storage/local/mmap.js'
import { openWindows, type WindowMode } from '../../src/storage/local/window.js'
import { faultOf, random } from './helpers.js'

const PAGE = 65536
const folder = mkdtempSync(path.join(tmpdir(), 'terge-window-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

const memoryOf = (pages: number) => new WebAssembly.Memory({ initial: pages })

function file(name: string, size: number): { fd: number; path: string; size: number; content: Buffer } {
  const next = random(size)
  const content = Buffer.alloc(size)
  for (let at = 0; at < size; at++) content[at] = next.next().value
  const where = path.join(folder, name)
  writeFileSync(where, content)
  return { fd: openSync(where, 'r'), path: where, size, content }
}

const a = file('a', 1_000_003)
const b = file('b', 300_001)
const modes: WindowMode[] = mapper() ? ['map', 'read'] : ['read']

test('mapping is used on this machine if it is requested, and reading is the default', () => {
  assert.is(openWindows(memoryOf(1)).mode, 'read')
  if (process.platform === 'linux') assert.equal(modes, ['map', 'read'])
  assert.is(openWindows(memoryOf(1), modes[0]).mode, modes[0])
})

for (const mode of modes)
  test(`${mode}: the file's bytes, at any offset, across windows, files and slots`, () => {
    const memory = memoryOf(16)
    const windows = openWindows(memory, mode)
    const slots = [windows.slot(PAGE, 4 * PAGE), windows.slot(5 * PAGE, 2 * PAGE)]
    const next = random(7)
    const pick = (below: number) => next.next().value % below
    for (let round = 0; round < 600; round++) {
      const which = pick(2)
      const source = pick(2) ? a : b
      const offset = pick(source.size)
      const bytes = Math.min(source.size - offset, pick((which ? 1 : 3) * PAGE + 1))
      const at = slots[which]!.at(source, offset, bytes)
      const got = Buffer.from(memory.buffer, at, bytes)
      assert.ok(got.equals(source.content.subarray(offset, offset + bytes)), `${bytes} bytes at ${offset}`)
    }
    windows.close()
  })

for (const mode of modes)
  test(`${mode}: lines of the file, close to each other and far apart, one after the other in memory`, () => {
    const memory = memoryOf(8)
    const windows = openWindows(memory, mode)
    const slot = windows.slot(PAGE, 5 * PAGE)
    for (const [bytes, apart] of [
      [1, 2],
      [100, 100],
      [100, 12_000],
      [100, 30_000],
      [7000, 50_000],
      [4 * PAGE, 400_000],
    ] as const) {
      // biome-ignore format: a line
      const count = Math.min(slot.linesWithin(bytes, apart), Math.floor((a.size - 3 - bytes) / apart) + 1)
      assert.ok(count >= 1, `${bytes} bytes, ${apart} apart`)
      const { address, stride } = slot.lines(a, 3, bytes, apart, count)
      assert.ok(address >= PAGE && address + (count - 1) * stride + bytes <= 6 * PAGE)
      for (let line = 0; line < count; line++) {
        const got = Buffer.from(memory.buffer, address + line * stride, bytes)
        const from = 3 + line * apart
        assert.ok(got.equals(a.content.subarray(from, from + bytes)), `line ${line} of ${bytes} bytes, ${apart} apart`)
      }
    }
    assert.is(slot.linesWithin(6 * PAGE, 7 * PAGE), 0)
    windows.close()
  })

test('a slot does not change memory around it, and closing leaves writable zeros', () => {
  for (const mode of modes) {
    const memory = memoryOf(8)
    const bytes = new Uint8Array(memory.buffer).fill(9)
    const windows = openWindows(memory, mode)
    const slot = windows.slot(2 * PAGE, 2 * PAGE)
    slot.at(b, 100, PAGE)
    assert.ok(bytes.subarray(0, 2 * PAGE).every((byte) => byte === 9))
    assert.ok(bytes.subarray(4 * PAGE).every((byte) => byte === 9))
    windows.close()
    bytes.fill(1)
    assert.ok(readFileSync(b.path).equals(b.content))
  }
})

test('a descriptor that is reused for another file is not confused with the first', () => {
  for (const mode of modes) {
    const memory = memoryOf(4)
    const windows = openWindows(memory, mode)
    const slot = windows.slot(0, 2 * PAGE)
    const first = { ...a, fd: openSync(a.path, 'r') }
    slot.at(first, 0, 10)
    closeSync(first.fd)
    const second = { ...b, fd: openSync(b.path, 'r') }
    const at = slot.at(second, 0, 10)
    assert.ok(Buffer.from(memory.buffer, at, 10).equals(b.content.subarray(0, 10)))
    closeSync(second.fd)
    windows.close()
  }
})

test('an input that shrinks during a run gives an error, not a crash', () => {
  for (const mode of modes) {
    const c = file(`c-${mode}`, 200_000)
    const windows = openWindows(memoryOf(8), mode)
    const slot = windows.slot(0, 4 * PAGE)
    slot.at(c, 0, 100_000)
    truncateSync(c.path, 50_000)
    const { code, exit, message } = faultOf(() => slot.at(c, 100_000, 100))
    assert.equal([code, exit], ['input-changed', 1])
    assert.match(message, `c-${mode}: changed while it was read: 200000 bytes when the run was planned, 50000 now`)
    windows.close()
    closeSync(c.fd)
  }
})

test('reads beyond 4 GiB', () => {
  const size = 6 * 2 ** 30
  const where = path.join(folder, 'sparse')
  const fd = openSync(where, 'w+')
  ftruncateSync(fd, size)
  const offset = 5 * 2 ** 30 + 12_345
  writeSync(fd, 'here', offset)
  for (const mode of modes) {
    const memory = memoryOf(4)
    const windows = openWindows(memory, mode)
    const at = windows.slot(0, 4 * PAGE).at({ fd, path: where, size }, offset - 1, 6)
    assert.is(Buffer.from(memory.buffer, at, 6).toString('latin1'), '\0here\0')
    windows.close()
  }
  closeSync(fd)
  rmSync(where)
})

test('requests that do not fit are internal errors', () => {
  const windows = openWindows(memoryOf(4))
  assert.throws(() => windows.slot(1, 2 * PAGE), /^internal: /)
  assert.throws(() => windows.slot(3 * PAGE, 2 * PAGE), /^internal: /)
  const slot = windows.slot(0, 2 * PAGE)
  assert.throws(() => slot.at(a, 0, 3 * PAGE), /^internal: /)
  assert.throws(() => slot.at(b, b.size - 1, 2), /^internal: /)
})

test.run()

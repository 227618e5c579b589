import { closeSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../src/core/webassembly.js'
import type { Leaf, Pass, Program } from '../../src/execute/program.js'
import { openRecalled, recallable } from '../../src/execute/worker/read/recalled.js'
import { TILE } from '../../src/kernels/types.js'
import { openWindows } from '../../src/storage/local/window.js'
import { inFolder } from '../support/files.js'

const REDUCE: Pass = { kind: 'reduce', node: 1, kernel: 'coarse', slots: 1, combine: 'counts', rows: false }

function programOf(passes: readonly Pass[], more: Partial<Program> = {}, leaf: Partial<Leaf> = {}): Program {
  const bytes = 2 * 3 * TILE
  return {
    ...{ elements: 3 * TILE, compute: 'f32', rowLength: 0, passes },
    leaves: [
      {
        ...{ dtype: 'BF16', elementBytes: 2, digestIn: 0 },
        ...{ reader: { kind: 'contiguous', file: 0, offset: 0, bytes }, ...leaf },
      },
    ],
    nodes: [
      { kind: 'read', leaf: 0 },
      { kind: 'merge', kernel: 'trimmed_sum', inputs: [0], base: 0, merge: 0, rows: false, scratch: 0 },
    ],
    ...more,
  }
}

test('leaves that several passes read as they are stored are remembered', () => {
  assert.equal(recallable(programOf([REDUCE, { kind: 'write' }])), [true])
  assert.equal(recallable(programOf([{ kind: 'write' }])), [false])
  assert.equal(recallable(programOf([REDUCE])), [false])
  assert.equal(recallable(programOf([REDUCE, { kind: 'write' }], { rowLength: 8 })), [false])
  assert.equal(recallable(programOf([REDUCE, { kind: 'write' }], {}, { elements: 5 })), [false])
})

test('a tile is read once until it is forgotten, as far as there is room', () =>
  inFolder((folder) => {
    const name = path.join(folder, 'x')
    const fd = openSync(name, 'w+')
    const size = 2 * 3 * TILE
    const fill = (byte: number) => writeSync(fd, new Uint8Array(size).fill(byte), 0, size, 0)
    fill(1)
    const file = { fd, path: name, size }
    const memory = new WebAssembly.Memory({ initial: 64 })
    const bytes = new Uint8Array(memory.buffer)
    const recalled = openRecalled(openWindows(memory, 'read'), 65536, 2 * 2 * TILE + 5)
    const program = programOf([REDUCE, { kind: 'write' }])
    const find = (tile: number, of = program) => recalled.find(of, 0, tile, file, 2 * TILE * tile, 2 * TILE)
    const first = find(0)!
    assert.is(bytes[first + 2 * TILE - 1], 1)
    fill(2)
    assert.is(find(0), first)
    assert.is(bytes[first], 1)
    const second = find(1)!
    assert.is(bytes[second], 2)
    assert.is(find(2), undefined)
    recalled.forget(program, 0, 0)
    assert.is(find(2), first)
    assert.is(bytes[first], 2)
    const other = programOf([REDUCE, { kind: 'write' }], {}, { dtype: 'F32', elementBytes: 4 })
    assert.is(find(0, other), undefined)
    recalled.drop(program)
    // With nothing remembered, a place can have another size.
    assert.is(recalled.find(other, 0, 0, file, 0, 4 * TILE), 65536)
    recalled.drop(other)
    assert.throws(() => recalled.find(other, 0, 1, { ...file, size: size + 1 }, 0, 4), /changed while it was read/)
    closeSync(fd)
  }))

test.run()

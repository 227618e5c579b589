/** Elements read through permutations: whatever fits a window at once, they are the same. */

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../src/core/webassembly.js'
import type { WorkerContext } from '../../src/execute/worker/context.js'
import { readingWith } from '../../src/execute/worker/read/index.js'
import { readMapped } from '../../src/execute/worker/read/mapped.js'
import { readStrided } from '../../src/execute/worker/read/strided.js'
import { generator, shuffled } from '../../src/rebasin/order.js'
import type { Slot } from '../../src/storage/local/window.js'
import { boxesOf } from '../../src/views/boxes.js'
import type { MappedReader } from '../../src/views/readers.js'
import { linesOf } from '../views/worker.js'

const WINDOW = 4096
const OFFSET = 24

/** A window on bytes in the place of a file: what was looked at before is gone. */
function windowOn(stored: Uint8Array, memory: WebAssembly.Memory, room: number): { slot: Slot; looks: () => number } {
  let looks = 0
  const slot: Slot = {
    at(_, offset, bytes) {
      assert.ok(bytes <= room && offset >= OFFSET && offset + bytes <= stored.length)
      looks++
      const target = new Uint8Array(memory.buffer, 0, WINDOW)
      target.fill(0xee)
      target.set(stored.subarray(offset, offset + bytes))
      return 0
    },
    ...linesOf((file, offset, bytes) => slot.at(file, offset, bytes), room),
  }
  return { slot, looks: () => looks }
}

test('a permuted tensor is the same through windows of any size', () => {
  const memory = new WebAssembly.Memory({ initial: 2 })
  for (let seed = 0; seed < 60; seed++) {
    const random = generator(seed)
    const below = (n: number) => Math.floor(random() * n)
    const shape = Array.from({ length: 1 + below(3) }, () => 1 + below(9))
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, n) => product * n, 1))
    const elements = shape.reduce((product, n) => product * n, 1)
    const elementBytes = 2
    const stored = new Uint8Array(OFFSET + elements * elementBytes).map(() => below(256))
    const maps = shape.map((size, axis) => {
      const places = Array.from({ length: size }, (_, i) => i)
      return random() < 0.6 ? Int32Array.from(shuffled(places, seed, axis)) : null
    })
    // Some rows alone.
    const rows = maps[0] && seed % 3 === 0 ? maps[0].slice(0, 1 + below(maps[0].length)) : maps[0]!
    const given = rows ? [rows.length, ...shape.slice(1)] : shape
    const gather = { shape: given, strides, maps: [rows, ...maps.slice(1)] }
    const count = given.reduce((product, n) => product * n, 1)
    const want = new Uint8Array(count * elementBytes)
    for (let i = 0; i < count; i++) {
      let [rest, place] = [i, 0]
      for (let axis = given.length - 1; axis >= 0; axis--) {
        const at = rest % given[axis]!
        rest = (rest - at) / given[axis]!
        place += (gather.maps[axis]?.[at] ?? at) * strides[axis]!
      }
      const from = OFFSET + place * elementBytes
      want.set(stored.subarray(from, from + elementBytes), i * elementBytes)
    }
    const bytes = elements * elementBytes
    const reader: MappedReader = { kind: 'mapped', file: 0, offset: OFFSET, bytes, ...gather }
    // A run fits every window.
    let run = 1
    for (let axis = shape.length - 1; axis >= 0 && !gather.maps[axis]; axis--) run *= given[axis]!
    for (const mode of ['map', 'read'] as const)
      for (const room of [2 * run, Math.max(2 * run, 60), WINDOW]) {
        const { slot, looks } = windowOn(stored, memory, room)
        const worker = {
          memory,
          windows: { mode },
          slotRoom: room,
          input: () => ({}),
          kept: { of: () => undefined },
        } as unknown as WorkerContext
        const first = below(count)
        readMapped(reader, elementBytes, readingWith(worker, slot, 0), first, count - first, WINDOW)
        const found = new Uint8Array(memory.buffer, WINDOW, (count - first) * elementBytes)
        assert.equal(Buffer.from(found), Buffer.from(want.subarray(first * elementBytes)))
        if (mode === 'map' && bytes <= room) assert.is(looks(), 1)
      }
  }
})

test('boxes cover a run of row-major indices in order, with few boxes per axis', () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = generator(seed)
    const below = (n: number) => Math.floor(random() * n)
    const shape = Array.from({ length: below(5) }, () => 1 + below(5))
    const elements = shape.reduce((product, n) => product * n, 1)
    const first = below(elements)
    const count = 1 + below(elements - first)
    const boxes = boxesOf(shape, first, count)
    assert.ok(boxes.length <= Math.max(1, 2 * shape.length))
    const found = boxes.flatMap(({ starts, sizes }) => {
      const volume = sizes.reduce((product, n) => product * n, 1)
      return Array.from({ length: volume }, (_, i) => {
        let [rest, index, block] = [i, 0, 1]
        for (let axis = shape.length - 1; axis >= 0; axis--) {
          index += (starts[axis]! + (rest % sizes[axis]!)) * block
          rest = Math.floor(rest / sizes[axis]!)
          block *= shape[axis]!
        }
        return index
      })
    })
    assert.equal(
      found,
      Array.from({ length: count }, (_, i) => first + i),
    )
  }
})

test('transposed and spread tensors are the same through windows of any size, in few reads', () => {
  const memory = new WebAssembly.Memory({ initial: 2 })
  for (let seed = 0; seed < 120; seed++) {
    const random = generator(seed)
    const below = (n: number) => Math.floor(random() * n)
    const shape = Array.from({ length: 1 + below(4) }, () => 1 + below(8))
    // Axes in any order in the file, gaps between them, or one element repeated.
    const order = shuffled(
      shape.map((_, axis) => axis),
      seed,
      7,
    )
    const strides = shape.map(() => 0)
    let extent = 1 + below(3)
    for (const axis of order) {
      if (random() < 0.1) continue
      strides[axis] = extent
      extent *= shape[axis]! + below(2)
    }
    const elementBytes = [1, 2, 4, 8, 16][below(5)]!
    const places = shape.map((size) => Array.from({ length: size }, (_, i) => i))
    const maps = places.map((each, axis) =>
      seed % 2 === 0 && random() < 0.6 ? Int32Array.from(shuffled(each, seed, axis)) : null,
    )
    const elements = shape.reduce((product, n) => product * n, 1)
    const span = 1 + shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 0)
    if (Math.max(elements, span) * elementBytes > 60_000) continue
    const stored = new Uint8Array(OFFSET + span * elementBytes).map(() => below(256))
    const want = new Uint8Array(elements * elementBytes)
    for (let i = 0; i < elements; i++) {
      let [rest, place] = [i, 0]
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        const at = rest % shape[axis]!
        rest = (rest - at) / shape[axis]!
        place += (maps[axis]?.[at] ?? at) * strides[axis]!
      }
      const from = OFFSET + place * elementBytes
      want.set(stored.subarray(from, from + elementBytes), i * elementBytes)
    }
    const bytes = span * elementBytes
    const common = { file: 0, offset: OFFSET, shape, strides }
    for (const room of [elementBytes, 64, WINDOW]) {
      const { slot, looks } = windowOn(stored, memory, room)
      const worker = {
        memory,
        windows: { mode: 'read' },
        slotRoom: room,
        input: () => ({}),
      } as unknown as WorkerContext
      const reading = readingWith(worker, slot, 0)
      const first = below(elements)
      const count = elements - first
      if (maps.some((map) => map))
        readMapped({ kind: 'mapped', ...common, bytes, maps }, elementBytes, reading, first, count, WINDOW)
      else readStrided({ kind: 'strided', ...common }, elementBytes, reading, first, count, WINDOW)
      const found = new Uint8Array(memory.buffer, WINDOW, count * elementBytes)
      assert.equal(Buffer.from(found), Buffer.from(want.subarray(first * elementBytes)))
      assert.ok(looks() <= count)
    }
  }
})

test.run()

/** Views as workers read them, against what they are said to be. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { elements } from '../../src/core/dtypes.js'
import { bytesOf } from '../../src/encodings/index.js'
import type { WorkerContext } from '../../src/execute/worker/context.js'
import { locate, scratchOf } from '../../src/execute/worker/read/index.js'
import { generator } from '../../src/rebasin/order.js'
import { simplify } from '../../src/views/compose.js'
import { lower } from '../../src/views/lower.js'
import { MOST_RANGES, rangesOf, storedBytes } from '../../src/views/ranges.js'
import { type Reader, withValues } from '../../src/views/readers.js'
import { dtypeOf, shapeOf } from '../../src/views/shape.js'
import { findingsOf, lastFinding, mainStored, mapStored, storedOf, withoutLastFinding } from '../../src/views/stored.js'
import type { StoredView, View } from '../../src/views/types.js'
import { coordinatesOf, elementOf, numberAt, randomCase } from './random.js'
import { BAND, type Look, ROOM, SLOT, workerOn } from './worker.js'

const isWithin = (ranges: readonly Look[], { file, offset, bytes }: Look): boolean =>
  bytes === 0 ||
  ranges.some((range) => range.file === file && range.offset <= offset && offset + bytes <= range.offset + range.bytes)

test('what workers read of random views, piece by piece, is what views are said to be; and lies in its ranges', async () => {
  let files: readonly Uint8Array[] = []
  const { memory, slot, looks, context, forget } = await workerOn(() => files)
  const kinds = new Set<Reader['kind']>()
  for (let seed = 0; seed < 1500; seed++) {
    const given = randomCase(seed, seed % 2 === 0)
    files = given.files
    forget()
    const { view, maps } = given
    const [shape, dtype] = [shapeOf(view), dtypeOf(view)]
    const count = elements(shape)
    const random = generator(seed, 1)
    // Bytes as they are where they are of one dtype, and numbers in any case.
    for (const raw of dtype === undefined ? [false] : [false, true]) {
      const source = lower(view, { raw, mixed: 'F64', maps })
      kinds.add(source.reader.kind)
      const size = raw ? bytesOf(dtype!) : 1
      const address = ROOM + scratchOf(source, BAND)
      for (const [mode, room] of [
        ['read', 256],
        ['read', 4096],
        ['map', 4096],
      ] as const) {
        const first = count === 0 ? 0 : Math.floor(random() * count)
        const n = Math.min(count - first, 1 + Math.floor((random() * room) / 8 / 2))
        // Of nothing, nothing is read.
        if (n === 0) continue
        looks.length = 0
        const at = locate(source, slot, context(mode, room), first * size, n * size, address)
        const bytes = new DataView(memory.buffer, at, n * size * source.elementBytes)
        const touched: Look[] = []
        const touch = (file: number, offset: number, bytes: number) => touched.push({ file, offset, bytes })
        for (let i = 0; i < n; i++) {
          const want = elementOf(given, view, coordinatesOf(shape, first + i), touch)
          const read = source.dtype === 'raw' ? dtype! : source.dtype
          assert.is(numberAt(bytes, read, bytesOf(read, i)), want, `seed ${seed}, ${mode}, element ${i}`)
        }
        const ranges = rangesOf(view, first, n, maps)
        for (const look of touched) assert.ok(isWithin(ranges, look), `seed ${seed}: ${JSON.stringify(look)}`)
        const isExact = !JSON.stringify(view).includes(',-3,')
        if (!isExact) continue
        const needed = new Set(touched.flatMap(({ file, offset, bytes }) => spread(file, offset, bytes)))
        assert.is(
          ranges.reduce((sum, { bytes }) => sum + bytes, 0),
          needed.size,
          `seed ${seed}: ${JSON.stringify(ranges)}`,
        )
      }
    }
  }
  assert.equal([...kinds].sort(), ['concat', 'contiguous', 'mapped', 'picked', 'rows', 'strided'])
})

const spread = (file: number, offset: number, bytes: number): string[] =>
  Array.from({ length: bytes }, (_, i) => `${file}:${offset + i}`)

const stored: StoredView = {
  kind: 'stored',
  file: 1,
  tensor: 't',
  dtype: 'F32',
  shape: [4000, 4],
  offset: 8,
  bytes: 64_000,
}
const column: View = { kind: 'slice', of: stored, axis: 1, start: 1, count: 1 }
const none = () => []

test('values that were computed are read as they are, or through maps', async () => {
  const { memory, slot, context } = await workerOn(() => [])
  const values = Float32Array.from({ length: 12 }, (_, i) => i / 4)
  const held = new Float32Array(memory.buffer, SLOT, 12)
  held.set(values)
  const team = { memory: { memory } } as unknown as NonNullable<WorkerContext['team']>
  const read = (reader: Reader, first: number, count: number): number[] => {
    const source = { reader, dtype: 'F32', elementBytes: 4 } as const
    const at = locate(source, slot, { ...context('read', 4096), team }, first, count, ROOM + scratchOf(source, BAND))
    return [...new Float32Array(memory.buffer, at, count)]
  }
  const known = withValues({ kind: 'memory' }, values)
  assert.throws(() => read({ kind: 'memory' }, 0, 1), /have not been computed/)
  assert.equal(read(known, 3, 2), [0.75, 1])
  assert.equal(read({ kind: 'held', address: SLOT }, 3, 2), [0.75, 1])
  const places = { shape: [3, 4], strides: [4, 1], maps: [Int32Array.of(2, 0, 1), null] }
  const picked: Reader = { kind: 'picked', of: { kind: 'memory' }, start: 0, ...places }
  assert.equal(read(withValues(picked, values), 3, 3), [2.75, 0, 0.25])
  const turned = { shape: [4, 3], strides: [1, 4], maps: [null, null] }
  assert.equal(read({ kind: 'picked', of: known, start: 0, ...turned }, 2, 3), [2, 0.25, 1.25])
})

test('ranges stay few: the least gaps are read along', () => {
  const few = rangesOf(column, 10, 5, none)
  assert.equal(
    few,
    Array.from({ length: 5 }, (_, i) => ({ file: 1, offset: 8 + 16 * (10 + i) + 4, bytes: 4 })),
  )
  const many = rangesOf(column, 0, 4000, none)
  assert.ok(many.length <= MOST_RANGES)
  assert.is(many[0]!.offset, 12)
  const { offset, bytes } = many.at(-1)!
  assert.is(offset + bytes, 8 + 64_000 - 8)
  const rows: View = {
    kind: 'gather',
    of: [stored],
    map: {
      rows: 1000,
      runs: Array.from({ length: 1000 }, (_, i) => [1, 0, 4 * i + (i === 500 ? 2 : 0)]).flat(),
      means: [],
    },
  }
  const picked = rangesOf(rows, 0, 4000, none)
  assert.ok(picked.length <= MOST_RANGES)
  for (let i = 0; i < 1000; i++) {
    const row = 4 * i + (i === 500 ? 2 : 0)
    assert.ok(isWithin(picked, { file: 1, offset: 8 + 16 * row, bytes: 16 }))
  }
  assert.is(storedBytes(stored), 64_000)
  assert.is(storedBytes({ kind: 'slice', of: stored, axis: 0, start: 7, count: 10 }), 160)
})

test('a view tells of the stored tensors and the findings that it is made of', () => {
  const other = { ...stored, file: 2, tensor: 'u' }
  const found = (of: View, step: string): View => ({ kind: 'gather', of: [of], map: { step, tensor: 'x' } })
  const both: View = { kind: 'concat', axis: 0, parts: [stored, other, stored] }
  assert.equal(storedOf(both), [stored, other])
  assert.equal(mainStored(found(both, 'a')), stored)
  const moved = mapStored(both, (view) => ({ ...view, file: view.file + 10 }))
  assert.equal(
    storedOf(moved).map(({ file }) => file),
    [11, 12],
  )
  const twice: View = { kind: 'slice', of: found(found(stored, 'a'), 'b'), axis: 0, start: 0, count: 9 }
  assert.equal(lastFinding(twice), { step: 'b', tensor: 'x' })
  assert.equal(withoutLastFinding(twice), { kind: 'slice', of: found(stored, 'a'), axis: 0, start: 0, count: 9 })
  assert.is(withoutLastFinding(both), undefined)
  assert.equal(findingsOf(found(found(stored, 'a'), 'b')), {
    findings: [
      { step: 'a', tensor: 'x' },
      { step: 'b', tensor: 'x' },
    ],
    below: stored,
  })
})

test('views become the reader that does the least', () => {
  const how = {
    raw: false,
    mixed: 'F32',
    maps: () => [{ axis: 0, map: Int32Array.from({ length: 4000 }, (_, i) => 3999 - i) }],
  } as const
  const kindOf = (view: View): string => lower(view, how).reader.kind
  assert.is(kindOf(stored), 'contiguous')
  assert.is(kindOf({ kind: 'slice', of: stored, axis: 0, start: 7, count: 9 }), 'contiguous')
  assert.is(kindOf(column), 'strided')
  const found: View = { kind: 'gather', of: [stored], map: { step: 's', tensor: 't' } }
  assert.is(kindOf(found), 'mapped')
  const runs = (runs: number[], rows: number): View => ({
    kind: 'gather',
    of: [stored],
    map: { rows, runs, means: [] },
  })
  assert.is(kindOf(runs([1, 0, 5, 1, 0, 9, 1, 0, 2], 3)), 'mapped')
  assert.is(kindOf(runs([50, 0, 500, 90, 0, 9], 140)), 'rows')
  assert.is(kindOf(runs([50, 0, 500], 50)), 'contiguous')
  assert.is(kindOf({ kind: 'concat', axis: 1, parts: [found, found] }), 'concat')
  assert.is(kindOf({ kind: 'concat', axis: 0, parts: [column, column] }), 'concat')
  const halves: View[] = [0, 2].map((start) => ({ kind: 'slice', of: stored, axis: 1, start, count: 2 }))
  assert.is(kindOf({ kind: 'concat', axis: 1, parts: halves }), 'contiguous')
  const turned: View = { kind: 'permute', of: found, axes: [1, 0] }
  assert.is(kindOf(turned), 'mapped')
  assert.is(kindOf({ kind: 'reshape', of: turned, shape: [8, 2000] }), 'mapped')
  assert.is(
    kindOf({ kind: 'slice', of: { kind: 'reshape', of: turned, shape: [8, 2000] }, axis: 0, start: 1, count: 2 }),
    'picked',
  )
  assert.equal(simplify(turned), turned)
})

test.run()

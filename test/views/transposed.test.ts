/** Large transposed matrices, which workers keep rows of, against the place of each element by definition. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { elements, type FloatDtype } from '../../src/core/dtypes.js'
import { bytesOf } from '../../src/encodings/index.js'
import { locate, scratchOf } from '../../src/execute/worker/read/index.js'
import { generator } from '../../src/rebasin/order.js'
import { lower } from '../../src/views/lower.js'
import type { Source } from '../../src/views/readers.js'
import { shapeOf } from '../../src/views/shape.js'
import type { StoredView, View } from '../../src/views/types.js'
import { coordinatesOf } from './random.js'
import { BAND, ROOM, workerOn } from './worker.js'

const DTYPES: readonly FloatDtype[] = ['F8_E4M3', 'BF16', 'F32', 'F64']
/** Bytes before a stored tensor. */
const HEADER = 24

interface Case {
  readonly view: View
  readonly source: Source
  readonly shape: readonly number[]
}

/** Where an element of a view of one stored tensor lies, in elements. */
function placeOf(view: View, at: readonly number[]): number {
  switch (view.kind) {
    case 'stored':
      return view.shape.reduce((place, size, axis) => place * size + at[axis]!, 0)
    case 'slice':
      return placeOf(view.of, at.with(view.axis, at[view.axis]! + view.start))
    case 'permute': {
      const place = at.map(() => 0)
      for (const [axis, from] of view.axes.entries()) place[from] = at[axis]!
      return placeOf(view.of, place)
    }
    default:
      throw new Error(view.kind)
  }
}

/** Views that transpose all of a stored tensor, or a part of it. */
function transposedViews(shape: readonly number[], file: number, dtype: FloatDtype): View[] {
  const bytes = bytesOf(dtype, elements(shape))
  const stored: StoredView = { kind: 'stored', file, tensor: 't', dtype, shape, offset: HEADER, bytes }
  const last = shape.length - 1
  const axes = shape.map((_, axis) => (axis < last - 1 ? axis : axis === last ? last - 1 : last))
  const turned: View = { kind: 'permute', of: stored, axes }
  const some = (axis: number): View => ({
    kind: 'slice',
    of: turned,
    axis,
    start: 3,
    count: shapeOf(turned)[axis]! - 4,
  })
  // The last one has its first axis last: rows of the result cross all matrices.
  return [
    turned,
    some(last),
    some(last - 1),
    { kind: 'permute', of: stored, axes: [last, ...shape.keys()].slice(0, -1) },
  ]
}

const caseOf = (view: View): Case => {
  const source = lower(view, { raw: false, mixed: 'F64', maps: () => [] })
  assert.is(source.reader.kind, 'strided')
  return { view, source, shape: shapeOf(view) }
}

const SHAPES = [[512, 512], [517, 1030], [1030, 517], [2100, 1030], [3, 517, 523], [2, 2, 300, 901]] // biome-ignore format: a line

test('parts of many large transposed matrices, read in turns, are the elements of their definition', async () => {
  for (const dtype of DTYPES) {
    const width = bytesOf(dtype, 1)
    const random = generator(width, 1)
    const files = SHAPES.map((shape) =>
      new Uint8Array(HEADER + bytesOf(dtype, elements(shape))).map((_, i) => (i * 2654435761) >>> 19),
    )
    const { memory, slot, context } = await workerOn(() => files, 32, 16)
    const cases = SHAPES.flatMap((shape, file) => transposedViews(shape, file, dtype)).map(caseOf)
    const worker = context('read', 2 ** 16)
    for (let round = 0; round < 4; round++)
      for (const [number, { view, source, shape }] of cases.entries()) {
        const count = elements(shape)
        const first = round === 0 ? 0 : Math.floor(random() * count)
        const n = Math.min(count - first, round === 1 ? 1 : 1 + Math.floor(random() * 4000))
        const address = ROOM + scratchOf(source, BAND)
        new Uint8Array(memory.buffer, address, (n + 1) * width).fill(0x77)
        // Most lie among the rows that are kept.
        const at = locate(source, slot, worker, first, n, address)
        const bytes = Buffer.from(memory.buffer, at, (n + 1) * width)
        const file = files[Math.floor(number / 4)]!
        for (let i = 0; i < n; i++) {
          const from = HEADER + placeOf(view, coordinatesOf(shape, first + i)) * width
          for (let byte = 0; byte < width; byte++)
            if (bytes[i * width + byte] !== file[from + byte])
              assert.unreachable(`${dtype}, case ${number}, element ${i} of ${n} from ${first}`)
        }
        if (at === address) assert.is(bytes[n * width], 0x77, 'nothing behind them')
      }
  }
})

test('transposed matrices side by side and one after the other are kept together, as numbers and as bytes', async () => {
  const [rows, columns, experts] = [300, 70, 3]
  const width = 2
  // In each expert's matrix, rows of the result have elements of two stored tensors.
  const names = Array.from({ length: experts * 2 }, (_, n) => n)
  const files = names.map((n) =>
    new Uint8Array(HEADER + rows * columns * width).map((_, i) => ((i + n * 977) * 2654435761) >>> 19),
  )
  const turned = (file: number): View => {
    const stored = {
      kind: 'stored',
      file,
      tensor: `${file}`,
      dtype: 'BF16',
      shape: [columns, rows],
      offset: HEADER,
    } as const
    return { kind: 'permute', of: { ...stored, bytes: rows * columns * width }, axes: [1, 0] }
  }
  const stack = (half: number): View => ({
    kind: 'reshape',
    of: { kind: 'concat', axis: 0, parts: names.flatMap((n) => (n % 2 === half ? [turned(n)] : [])) },
    shape: [experts, rows, columns],
  })
  const view: View = { kind: 'concat', axis: 2, parts: [stack(0), stack(1)] }
  const total = experts * rows * 2 * columns
  for (const raw of [false, true]) {
    const { memory, slot, looks, context } = await workerOn(() => files, 32, 1)
    const source = lower(view, { raw, mixed: 'F32', maps: () => [] })
    const unit = raw ? 1 : width
    const [count, piece] = [(total * width) / unit, 9000]
    for (let first = 0; first < count; first += piece) {
      const n = Math.min(piece, count - first)
      const at = locate(source, slot, context('read', 2 ** 16), first, n, ROOM + scratchOf(source, BAND), count)
      const bytes = new Uint8Array(memory.buffer, at, n * unit)
      for (let i = 0; i < bytes.length; i++) {
        const place = first * unit + i
        const element = Math.floor(place / width)
        const [row, column] = [Math.floor(element / (2 * columns)), element % (2 * columns)]
        const [expert, half] = [Math.floor(row / rows), column >= columns ? 1 : 0]
        const from = HEADER + ((column % columns) * rows + (row % rows)) * width + (place % width)
        if (bytes[i] !== files[expert * 2 + half]![from]) assert.unreachable(`raw: ${raw}, byte ${place}`)
      }
    }
    assert.is(
      looks.reduce((sum, { bytes }) => sum + bytes, 0),
      total * width,
      'read once',
    )
  }
})

test('a transposed matrix that is read from its first row to its last is read once, with every element', async () => {
  const shape = [2100, 1030]
  for (const dtype of DTYPES.slice(0, 3)) {
    const width = bytesOf(dtype, 1)
    const file = new Uint8Array(HEADER + bytesOf(dtype, elements(shape))).map((_, i) => (i * 2654435761) >>> 19)
    const { memory, slot, looks, context } = await workerOn(() => [file], 32, 1)
    const { source } = caseOf(transposedViews(shape, 0, dtype)[0]!)
    const [count, worker] = [elements(shape), context('read', 2 ** 16)]
    const piece = 30_000
    for (let first = 0; first < count; first += piece) {
      const n = Math.min(piece, count - first)
      const address = locate(source, slot, worker, first, n, ROOM + scratchOf(source, BAND))
      const bytes = new Uint8Array(memory.buffer, address, n * width)
      let wrong = 0
      for (let i = 0; i < bytes.length; i++) {
        const element = first + Math.floor(i / width)
        const [row, column] = [Math.floor(element / shape[0]!), element % shape[0]!]
        if (bytes[i] !== file[HEADER + (column * shape[1]! + row) * width + (i % width)]) wrong++
      }
      assert.is(wrong, 0, `${dtype}, from element ${first} on`)
    }
    // A matrix of several bands has rows read along between them.
    const read = looks.reduce((sum, { bytes }) => sum + bytes, 0)
    assert.ok(read < count * width * 3, `${read} bytes of ${count * width}`)
  }
})

test.run()

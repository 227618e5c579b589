/** Numbers that workers compute from codes, in random forms and through random views, against what forms are said to be. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Dtype, elements } from '../../src/core/dtypes.js'
import { bytesOf } from '../../src/encodings/index.js'
import { locate, scratchOf } from '../../src/execute/worker/read/index.js'
import { generator, shuffled } from '../../src/rebasin/order.js'
import {
  type CodeForm,
  type DecodeForm,
  matrixOf,
  scaleRows,
  wordsOf,
  type ZeroForm,
} from '../../src/views/decodeForm.js'
import { lower } from '../../src/views/lower.js'
import { rangesOf } from '../../src/views/ranges.js'
import { check, dtypeOf, shapeOf } from '../../src/views/shape.js'
import type { DecodeView, StoredView, View } from '../../src/views/types.js'
import { coordinatesOf, elementOf, numberAt } from './random.js'
import { BAND, ROOM, workerOn } from './worker.js'

interface Made {
  readonly files: Uint8Array<ArrayBuffer>[]
  readonly view: DecodeView
}

/** A random form with parts of random bytes. */
function randomDecoded(seed: number): Made {
  const random = generator(seed, 3)
  const below = (n: number): number => Math.floor(random() * n)
  const files: Uint8Array<ArrayBuffer>[] = []
  const stored = (
    dtype: Dtype,
    shape: readonly number[],
    fill: (index: number, data: DataView) => void,
  ): StoredView => {
    const count = elements(shape)
    const [size, offset] = [bytesOf(dtype), 8 * below(3)]
    const bytes = new Uint8Array(offset + count * size + below(3))
    const data = new DataView(bytes.buffer, offset)
    for (let i = 0; i < count; i++) fill(i, data)
    return { kind: 'stored', file: files.push(bytes) - 1, tensor: 't', dtype, shape, offset, bytes: count * size }
  }
  const bytes = (i: number, data: DataView): void => data.setUint8(i, below(256))
  const words = (i: number, data: DataView): void => data.setUint32(4 * i, below(2 ** 32), true)
  const floats = (i: number, data: DataView): void => data.setFloat32(4 * i, (below(2001) - 1000) / 64, true)
  const exponents = (i: number, data: DataView): void => data.setUint8(i, 100 + below(50))

  const kind = below(6)
  const lead = random() < 0.3 ? [1 + below(3)] : []
  const flat = kind === 1 && random() < 0.4
  const order = random() < 0.5 ? [0, 4, 1, 5, 2, 6, 3, 7] : [0, 1, 2, 3]
  const height = kind === 5 ? order.length * (1 + below(3)) : 1 + below(20)
  let columns = 1 + below(90)
  if (kind === 1 && !flat) columns += columns % 2
  const shape = flat ? [columns * height] : kind >= 2 && kind !== 4 ? [height, columns] : [...lead, height, columns]
  const { rows, columns: width } = matrixOf(shape)
  const of: View[] = []
  const add = (view: View): number => of.push(view) - 1
  /** The same matrix, stored transposed. */
  const turned = (
    dtype: Dtype,
    [high, wide]: readonly [number, number],
    fill: (i: number, data: DataView) => void,
  ): View =>
    random() < 0.6
      ? { kind: 'permute', of: stored(dtype, [wide, high], fill), axes: [1, 0] }
      : stored(dtype, [high, wide], fill)

  let codes: CodeForm
  if (kind === 0 || kind === 4) {
    const dtype = kind === 0 ? 'F8_E4M3' : 'I8'
    codes = { kind: 'numbers', dtype }
    // No NaN: comparisons are by value.
    add(stored(dtype, shape, (i, data) => data.setUint8(i, below(127) + 128 * below(2))))
  } else if (kind === 1) {
    codes = { kind: 'nibbles', first: random() < 0.5 ? 'low' : 'high', table: 'E2M1' }
    add(stored('U8', [Math.ceil(elements(shape) / 2)], bytes))
    if (random() < 0.5) codes = { ...codes, table: add(stored('F32', [16], floats)) }
  } else if (kind === 5) {
    const bits = order.length === 8 ? 4 : 8
    codes = { kind: 'across', bits, order }
    add(turned('I32', [rows / order.length, width], words))
  } else {
    const bits = 1 + below(8)
    const perWord = random() < 0.5 ? 0 : Math.floor(32 / bits)
    codes = { kind: 'fields', bits, perWord }
    add(turned('I32', [rows, wordsOf(width, bits, perWord)], words))
  }
  const block = [random() < 0.5 ? 1 : 1 + below(height + 3), 1 + below(random() < 0.2 ? 2 : width)] as const
  const groups = Math.ceil(width / block[1])
  const scales = scaleRows(shape, block)
  const scaleKind = below(3)
  let scale: DecodeForm['scale']
  if (scaleKind === 0) scale = { part: add(stored('U8', [scales, groups], exponents)), form: { kind: 'exponent' } }
  else if (scaleKind === 1) {
    const part = add(stored('U8', [scales * groups], bytes))
    const [inner, offset] = [1 + below(9), 0.25]
    const map = add(stored('F32', [256], floats))
    const outer = add(stored('F32', [Math.ceil((scales * groups) / inner)], floats))
    scale = { part, form: { kind: 'nested', map, outer, block: inner, offset } }
  } else scale = { part: add(turned('F32', [scales, groups], floats)), form: { kind: 'number' } }
  const by = below(4)
  if (by === 1) scale = { ...scale, by: { kind: 'constant', over: 127 } }
  if (by > 1)
    scale = {
      ...scale,
      by: {
        kind: by === 2 ? 'times' : 'over',
        part: add(stored('F32', [], (_, data) => data.setFloat32(0, 1.5 + below(9), true))),
      },
    }
  let zero: ZeroForm | undefined
  const zeroKind = below(4)
  if (zeroKind === 1) zero = { kind: 'constant', value: below(9) }
  if (zeroKind === 2) zero = { kind: 'integers', part: add(stored('I8', [scales, groups], bytes)) }
  if (zeroKind === 3 && block[0] === 1) {
    const bits = 1 + below(8)
    const perWord = random() < 0.5 ? 0 : Math.floor(32 / bits)
    zero = {
      kind: 'fields',
      part: add(turned('I32', [wordsOf(rows, bits, perWord), groups], words)),
      bits,
      perWord,
      plus: 0,
    }
  }
  let groupOf: DecodeForm['groupOf']
  if (random() < 0.3) {
    const all = random() < 0.2
    const part = add(stored('I32', [width], (i, data) => data.setInt32(4 * i, all ? -1 : below(groups), true)))
    groupOf = { part, canBeUnset: all }
  }
  const form: DecodeForm = { codes, scale, block, groups, ...(zero ? { zero } : {}), ...(groupOf ? { groupOf } : {}) }
  return { files, view: { kind: 'decode', shape, of, form, format: '' } }
}

/** A random view over one that is computed. */
function around(view: View, seed: number, maps: Map<string, { axis: number; map: Int32Array }[]>): View {
  const random = generator(seed, 4)
  const below = (n: number): number => Math.floor(random() * n)
  let made = view
  for (let depth = below(4); depth > 0; depth--) {
    const shape = shapeOf(made)
    const axes = shape.map((_, axis) => axis)
    const axis = below(shape.length)
    const kind = below(6)
    if (kind === 0) made = { kind: 'permute', of: made, axes: [...axes.slice(0, -2), ...axes.slice(-2).reverse()] }
    else if (kind === 1) made = { kind: 'permute', of: made, axes: shuffled(axes, seed, below(1e9)) }
    else if (kind === 2) {
      const start = below(shape[axis]!)
      made = { kind: 'slice', of: made, axis, start, count: 1 + below(shape[axis]! - start) }
    } else if (kind === 3) made = { kind: 'concat', axis, parts: [made, made] }
    else if (kind === 4) made = { kind: 'reshape', of: made, shape: [1, elements(shape)] }
    else {
      const map = { step: `s${maps.size}`, tensor: 't' }
      maps.set(
        map.step,
        shape.flatMap((size, axis) => {
          const places = Array.from({ length: size }, (_, i) => i)
          return random() < 0.5 ? [{ axis, map: Int32Array.from(shuffled(places, seed, below(1e9))) }] : []
        }),
      )
      made = { kind: 'gather', of: [made], map }
    }
  }
  return made
}

type Maps = Map<string, { axis: number; map: Int32Array }[]>

/** Compares pieces of a view with the numbers that its form describes. Returns the kind of its reader. */
async function comparer() {
  let files: readonly Uint8Array[] = []
  const { memory, slot, context, forget } = await workerOn(() => files, 256)
  return (given: Made, view: View, found: Maps, seed: number): string => {
    check(given.view)
    const maps = ({ step }: { readonly step: string }) => found.get(step)!
    files = given.files
    forget()
    const source = lower(view, { raw: false, mixed: 'F32', maps })
    assert.is(dtypeOf(view), 'F32')
    const shape = shapeOf(view)
    const count = elements(shape)
    const random = generator(seed, 5)
    const address = ROOM + scratchOf(source, BAND)
    for (const [mode, room] of [
      ['read', 8192],
      ['map', 65536],
    ] as const) {
      const worker = context(mode, room)
      // Pieces in their order, and one from anywhere.
      const start = Math.floor(random() * count)
      for (const [first, n] of [
        [start, Math.min(200, Math.ceil((count - start) / 2))],
        [start + Math.ceil((count - start) / 2), Math.min(200, Math.floor((count - start) / 2))],
        [Math.floor(random() * count), 1],
      ] as const) {
        if (n === 0 || first >= count) continue
        const at = locate(source, slot, worker, first, n, address)
        const bytes = new DataView(memory.buffer, at, 4 * n)
        const touched: { file: number; offset: number; bytes: number }[] = []
        for (let i = 0; i < n; i++) {
          const touch = (file: number, offset: number, bytes: number) => touched.push({ file, offset, bytes })
          const want = elementOf({ files: given.files, maps }, view, coordinatesOf(shape, first + i), touch)
          const got = numberAt(bytes, 'F32', 4 * i)
          assert.ok(Object.is(got, want), `seed ${seed}, ${mode}, element ${first + i}: ${got}, not ${want}`)
        }
        const ranges = rangesOf(view, first, n, maps)
        for (const { file, offset, bytes } of touched)
          assert.ok(
            ranges.some((one) => one.file === file && one.offset <= offset && offset + bytes <= one.offset + one.bytes),
            `seed ${seed}: ${offset} of file ${file}`,
          )
      }
    }
    return source.reader.kind
  }
}

/** A matrix of many rows whose words, scales and zero points are stored transposed, as AWQ and GPTQ do. */
function tallMatrix(seed: number, kind: 'fields' | 'across'): Made {
  const random = generator(seed, 7)
  const columns = 64
  const rows = kind === 'across' ? 8 * 15_000 : 15_000
  const files: Uint8Array<ArrayBuffer>[] = []
  const turned = (dtype: Dtype, shape: readonly [number, number], size: number): View => {
    const bytes = Uint8Array.from({ length: elements(shape) * size }, (_, i) =>
      // Finite scales.
      dtype === 'F16' && i % 2 === 1 ? 0x2c : Math.floor(random() * 256),
    )
    const file = files.push(bytes) - 1
    const of: StoredView = { kind: 'stored', file, tensor: 't', dtype, shape, offset: 0, bytes: bytes.length }
    return { kind: 'permute', of, axes: [1, 0] }
  }
  const order = [0, 4, 1, 5, 2, 6, 3, 7]
  const codes = kind === 'across' ? turned('I32', [columns, rows / 8], 4) : turned('I32', [columns / 8, rows], 4)
  const groups = 2
  const form: DecodeForm = {
    codes: kind === 'across' ? { kind, bits: 4, order } : { kind, bits: 4, perWord: 8 },
    scale: { part: 1, form: { kind: 'number' } },
    zero: { kind: 'fields', part: 2, bits: 4, perWord: 8, plus: 0, ...(kind === 'across' ? { order } : {}) },
    block: [1, columns / groups],
    groups,
  }
  const of = [codes, turned('F16', [groups, rows], 2), turned('I32', [groups, rows / 8], 4)]
  return { files, view: { kind: 'decode', shape: [rows, columns], of, form, format: '' } }
}

/** Matrices of random halves of bytes with powers of 2 for 32 columns. */
function turnedMxfp4(seed: number, shape: readonly [number, number, number]): Made {
  const random = generator(seed, 6)
  const [experts, height, columns] = shape
  const files: Uint8Array<ArrayBuffer>[] = []
  const stored = (shape: readonly number[], value: () => number): StoredView => {
    const bytes = Uint8Array.from({ length: elements(shape) }, value)
    const file = files.push(bytes) - 1
    return { kind: 'stored', file, tensor: 't', dtype: 'U8', shape, offset: 0, bytes: bytes.length }
  }
  const of = [
    stored([experts, height, columns / 2], () => Math.floor(random() * 256)),
    stored([experts, height, columns / 32], () => Math.floor(random() * 200)),
  ]
  const form: DecodeForm = {
    codes: { kind: 'nibbles', first: 'low', table: 'E2M1' },
    scale: { part: 1, form: { kind: 'exponent' } },
    block: [1, 32],
    groups: columns / 32,
  }
  return { files, view: { kind: 'decode', shape, of, form, format: '' } }
}

test('numbers of random forms, read through random views and piece by piece, are what forms are said to be', async () => {
  const [forms, readers] = [new Set<string>(), new Set<string>()]
  const compare = await comparer()
  for (let seed = 0; seed < 250; seed++) {
    const given = randomDecoded(seed)
    const maps: Maps = new Map()
    forms.add(given.view.form.codes.kind)
    readers.add(compare(given, around(given.view, seed, maps), maps, seed))
  }
  assert.equal([...forms].sort(), ['across', 'fields', 'nibbles', 'numbers'])
  assert.ok(readers.has('turned') && readers.has('decoded') && readers.has('picked'), [...readers].join())
})

test('transposed matrices of MXFP4 are turned by their bytes, in several bands and with rows of any number', async () => {
  const compare = await comparer()
  for (const [seed, [experts, height, columns]] of [
    [2, 37, 96],
    [1, 128, 160],
    [3, 1, 32],
    [2, 16, 64],
    [1, 50, 320],
  ].entries() as ArrayIterator<[number, [number, number, number]]>) {
    const given = turnedMxfp4(seed, [experts, height, columns])
    for (let piece = 0; piece < 20; piece++)
      assert.is(
        compare(given, { kind: 'permute', of: given.view, axes: [0, 2, 1] }, new Map(), 100 * seed + piece),
        'turned',
      )
  }
})

test('words of long rows in the file are read one row at a time', async () => {
  const compare = await comparer()
  for (const kind of ['fields', 'across'] as const) {
    const given = tallMatrix(1, kind)
    for (let piece = 0; piece < 10; piece++) assert.is(compare(given, given.view, new Map(), piece), 'decoded')
  }
})

test.run()

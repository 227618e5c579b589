import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { diffCheckpoints } from '../../src/execute/diff/compare.js'
import { inspect } from '../../src/session/inspect.js'
import { bf16, f32, i64, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'

const diffOf = (a: Record<string, RawTensor>, b: Record<string, RawTensor>) =>
  inFolder(async (folder) => {
    writeModel(path.join(folder, 'a.safetensors'), a)
    writeModel(path.join(folder, 'b.safetensors'), b)
    const [one, other] = [
      await inspect(path.join(folder, 'a.safetensors')),
      await inspect(path.join(folder, 'b.safetensors')),
    ]
    return diffCheckpoints(one, other)
  })

test('figures of a tensor over several tiles equal plain sums', async () => {
  const count = 700_001
  const [x, y] = [numbers(count, 1), numbers(count, 2)]
  const { tensors, overall } = await diffOf({ w: f32([count], x) }, { w: f32([count], y) })
  const [row] = tensors
  let [xx, yy, xy, dd, most] = [0, 0, 0, 0, 0]
  for (let i = 0; i < count; i++) {
    const d = x[i]! - y[i]!
    xx += x[i]! ** 2
    yy += y[i]! ** 2
    xy += x[i]! * y[i]!
    dd += d * d
    most = Math.max(most, Math.abs(d))
  }
  assert.is(row!.state, 'differs')
  assert.is(row!.largest, most)
  assert.ok(Math.abs(row!.cosine! - xy / Math.sqrt(xx * yy)) < 1e-12)
  assert.ok(Math.abs(row!.relativeL2! - Math.sqrt(dd / yy)) < 1e-12)
  assert.ok(Math.abs(row!.l2! - Math.sqrt(dd)) < 1e-9)
  assert.equal({ ...row, ...overall }, { ...overall, tensor: 'w', state: 'differs' })
})

test('the distance of whole models and of layers is that of all their elements as one vector', async () => {
  const names = ['h.0.a.w', 'h.0.b.w', 'h.10.a.w', 'h.2.a.w', 'head']
  const model = (seed: number) =>
    Object.fromEntries(names.map((name, i) => [name, f32([5], numbers(5, seed + i))])) as Record<string, RawTensor>
  const { overall, layers } = await diffOf({ ...model(1), left: f32([1], [1]) }, model(50))
  const near = (found: number | undefined, wanted: number) => assert.ok(Math.abs(found! - wanted) < 1e-12, `${found}`)
  const check = (found: typeof overall, of: readonly number[]) => {
    const [x, y] = [1, 50].map((seed) => of.flatMap((i) => [...numbers(5, seed + i)])) as [number[], number[]]
    const sum = (value: (i: number) => number) => x.reduce((total, _, i) => total + value(i), 0)
    const [xx, yy] = [sum((i) => x[i]! ** 2), sum((i) => y[i]! ** 2)]
    const squares = sum((i) => (x[i]! - y[i]!) ** 2)
    near(found.cosine, sum((i) => x[i]! * y[i]!) / Math.sqrt(xx * yy))
    near(found.l2, Math.sqrt(squares))
    near(found.relativeL2, Math.sqrt(squares / yy))
    near(found.largest, Math.max(...x.map((value, i) => Math.abs(value - y[i]!))))
  }
  check(overall, [0, 1, 2, 3, 4])
  assert.equal([overall.states.differs, overall.states['only-a']], [5, 1])
  assert.equal(
    layers.map(({ stack, layer, tensors }) => [stack, layer, tensors]),
    [
      ['h', 0, 2],
      ['h', 2, 1],
      ['h', 10, 1],
      [undefined, undefined, 2],
    ],
  )
  for (const [i, of] of [[0, 1], [3], [2], [4]].entries()) check(layers[i]!, of)
})

test('states: equal, dtype differs, shape differs, only in one model', async () => {
  const same = numbers(8, 3)
  const { tensors: rows, overall } = await diffOf(
    {
      equal: f32([8], same),
      ints: i64([1], [3n]),
      shape: f32([2], [1, 2]),
      left: f32([1], [1]),
      dtype: bf16([2], Float32Array.of(1, 2)),
    },
    {
      equal: f32([8], same),
      ints: i64([1], [4n]),
      shape: f32([1, 2], [1, 2]),
      right: f32([1], [1]),
      dtype: f32([2], [1, 2]),
    },
  )
  assert.equal(
    rows.map(({ tensor, state }) => [tensor, state]),
    [
      ['dtype', 'dtype'],
      ['equal', 'equal'],
      ['ints', 'differs'],
      ['left', 'only-a'],
      ['right', 'only-b'],
      ['shape', 'shape'],
    ],
  )
  assert.equal([rows[0]!.relativeL2, rows[0]!.largest], [0, 0])
  const states = { equal: 1, differs: 1, 'only-a': 1, 'only-b': 1, shape: 1, dtype: 1 }
  assert.equal([overall.tensors, overall.states, overall.l2], [6, states, 0])
})

test('a zero tensor has no cosine; a NaN shows in every figure', async () => {
  const { tensors: rows } = await diffOf(
    { nan: f32([2], [NaN, 1]), zero: f32([2], [0, 0]) },
    { nan: f32([2], [1, 1]), zero: f32([2], [0, 3]) },
  )
  assert.ok(Number.isNaN(rows[0]!.largest) && Number.isNaN(rows[0]!.relativeL2))
  assert.equal(rows[1], { tensor: 'zero', state: 'differs', l2: 3, relativeL2: 1, largest: 3 })
})

test('tensors that PyTorch stores with strides equal the same tensors without', async () => {
  const [one, other] = [
    await inspect('test/fixtures/torch/views.pt'),
    await inspect('test/fixtures/torch/views.safetensors'),
  ]
  assert.ok(
    [...one.stored.values()].some(({ strides }) => strides),
    'some have strides',
  )
  const { overall, tensors } = await diffCheckpoints(one, other)
  assert.equal([overall.states.equal, overall.l2], [tensors.length, 0])
})

test.run()

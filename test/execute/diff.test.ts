import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { diffCheckpoints } from '../../src/execute/diff.js'
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
  const [row] = await diffOf({ w: f32([count], x) }, { w: f32([count], y) })
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
})

test('states: equal, dtype differs, shape differs, only in one model', async () => {
  const same = numbers(8, 3)
  const rows = await diffOf(
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
})

test('a zero tensor has no cosine; a NaN shows in every figure', async () => {
  const rows = await diffOf(
    { nan: f32([2], [NaN, 1]), zero: f32([2], [0, 0]) },
    { nan: f32([2], [1, 1]), zero: f32([2], [0, 3]) },
  )
  assert.ok(Number.isNaN(rows[0]!.largest) && Number.isNaN(rows[0]!.relativeL2))
  assert.equal(rows[1], { tensor: 'zero', state: 'differs', relativeL2: 1, largest: 3 })
})

test.run()

/** Views are made simpler without a change of what they make. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { simplify } from '../../src/views/compose.js'
import { check, dtypeOf, shapeOf } from '../../src/views/shape.js'
import type { StoredView, View } from '../../src/views/types.js'
import { randomCase, valuesOf } from './random.js'

test('simplified views have the same shape and values, and are not made any simpler', () => {
  for (let seed = 0; seed < 3000; seed++) {
    const given = randomCase(seed, seed % 2 === 0)
    check(given.view)
    const view = check(simplify(given.view))
    assert.equal(shapeOf(view), shapeOf(given.view), `seed ${seed}`)
    const dtype = dtypeOf(given.view)
    assert.ok(dtype === undefined || dtypeOf(view) === dtype, `seed ${seed}`)
    assert.equal(valuesOf({ ...given, view }), valuesOf(given), `seed ${seed}`)
    assert.equal(simplify(view), view, `seed ${seed}`)
  }
})

const stored: StoredView = {
  kind: 'stored',
  file: 0,
  tensor: 't',
  dtype: 'F32',
  shape: [4, 6],
  offset: 8,
  bytes: 96,
}

test('what lies together in a file becomes a stored view', () => {
  const rows: View = { kind: 'slice', of: stored, axis: 0, start: 1, count: 2 }
  assert.equal(simplify(rows), { ...stored, shape: [2, 6], offset: 32, bytes: 48 })
  const columns: View = { kind: 'slice', of: stored, axis: 1, start: 2, count: 3 }
  assert.equal(simplify(columns), { ...stored, shape: [4, 3], offset: 16, bytes: 84, strides: [6, 1] })
  const turned: View = { kind: 'permute', of: stored, axes: [1, 0] }
  assert.equal(simplify(turned), { ...stored, shape: [6, 4], strides: [1, 6] })
  assert.equal(simplify({ kind: 'permute', of: turned, axes: [1, 0] }), stored)
  assert.equal(simplify({ kind: 'reshape', of: turned, shape: [6, 2, 2] }), {
    ...stored,
    shape: [6, 2, 2],
    strides: [1, 12, 6],
  })
  const halves: View[] = [0, 2].map((start) => ({ kind: 'slice', of: stored, axis: 0, start, count: 2 }))
  assert.equal(simplify({ kind: 'concat', axis: 0, parts: halves }), stored)
  const all: View = { kind: 'gather', of: [stored], map: { rows: 4, runs: [4, 0, 0], means: [] } }
  assert.equal(simplify(all), stored)
})

test('views that do not fit are refused', () => {
  const bad: [View, RegExp][] = [
    [{ ...stored, bytes: 95 }, /in 95 bytes/],
    [{ kind: 'slice', of: stored, axis: 0, start: 3, count: 2 }, /2 places from 3 on of 4/],
    [{ kind: 'slice', of: stored, axis: 2, start: 0, count: 1 }, /no axis 2/],
    [{ kind: 'permute', of: stored, axes: [0, 0] }, /axes 0,0 of 2/],
    [{ kind: 'reshape', of: stored, shape: [5, 5] }, /\[4,6\] as \[5,5\]/],
    [{ kind: 'concat', axis: 0, parts: [stored, { ...stored, shape: [6, 4] }] }, /along axis 0/],
    [{ kind: 'concat', axis: 0, parts: [stored, { ...stored, dtype: 'I32' }] }, /F32,I32 together/],
    [{ kind: 'concat', axis: 0, parts: [] }, /no parts/],
    [{ kind: 'gather', of: [stored], map: { rows: 2, runs: [2, 0, 3], means: [] } }, /2 rows of 0 from 3 on/],
    [{ kind: 'gather', of: [stored], map: { rows: 3, runs: [2, 0, 1], means: [] } }, /2 rows for 3/],
    [{ kind: 'gather', of: [stored], map: { rows: 1, runs: [1, -2, 0], means: [[0, 9]] } }, /no row 9 of 0/],
  ]
  for (const [view, message] of bad) assert.throws(() => check(view), message)
})

test.run()

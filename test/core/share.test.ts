import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sharer } from '../../src/core/collections/share.js'

test('equal plain values share one object, and no others', () => {
  const share = sharer()
  const values = () => [
    ...[['a', 'b'], ['b', 'a'], ['a'], [0.5, 0.5], [0], [-0], [Number.NaN], [Number.POSITIVE_INFINITY], [null], []],
    ...[{ a: 1 }, { a: 1, b: 2 }, { b: 2, a: 1 }, { a: [1] }, { a: [2] }, { a: -0 }, { a: 0 }, {}, { 0: 'a' }],
  ]
  const first = values().map((value) => share<unknown>(value))
  assert.is(new Set(first).size, first.length)
  // More than once, so that some are recent and others are not.
  for (const _ of [1, 2])
    for (const [index, value] of values().entries()) {
      assert.is(share<unknown>(value), first[index], JSON.stringify(value))
      assert.is(share<unknown>(values()[index]), first[index])
    }
})

test.run()

/** The importance of parameters, against functions whose shares of variance are known. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { importanceOf } from '../../src/search/importance.js'
import { real, recordOf, some } from './records.js'

const near = (value: number, expected: number, room: number): void =>
  assert.ok(Math.abs(value - expected) <= room, `${value} is not near ${expected}`)

test('a sum of two parameters has their shares of the variance', () => {
  // 2a + b with both even from 0 to 1: variances 4/12 and 1/12.
  const dimensions = [real('a'), real('b'), real('c')]
  const record = recordOf({ dimensions, trials: 300, metric: ([a, b]) => 2 * Number(a) + Number(b) })
  const found = importanceOf(record)!
  assert.is(found.kind, 'anova')
  near(found.shares[0]!, 0.8, 0.05)
  near(found.shares[1]!, 0.2, 0.05)
  near(found.shares[2]!, 0, 0.02)
  assert.equal(importanceOf(record), found)
})

test('what two parameters do only together is no share of either', () => {
  const dimensions = [real('a'), real('b')]
  const metric = ([a, b]: readonly unknown[]): number => ((a as number) - 0.5) * ((b as number) - 0.5)
  const found = importanceOf(recordOf({ dimensions, trials: 300, metric }))!
  assert.ok(found.kind === 'anova' && found.together > 0.6, JSON.stringify(found))
})

test('values of lists count, and broken merges do not hide the rest', () => {
  const dimensions = [real('a'), { path: 'm', range: { kind: 'choice' as const, values: ['x', 'y', 'z'] } }]
  const record = recordOf({
    ...{ dimensions, trials: 200 },
    metric: ([a, m], index) => (index % 40 === 3 ? -1e9 : m === 'x' ? 1 : 0.1 * Number(a)),
  })
  const found = importanceOf(record)!
  assert.ok(found.shares[1]! > 0.5 && found.shares[1]! > 2 * found.shares[0]!, JSON.stringify(found))
})

test('few trials are compared by ranks, and very few not at all', () => {
  const dimensions = [real('a'), real('b'), { path: 'm', range: { kind: 'choice' as const, values: [1, 2] } }]
  const found = importanceOf(recordOf({ dimensions, trials: 12, metric: ([a]) => -Math.exp(Number(a)) }))!
  assert.is(found.kind, 'ranks')
  near(found.shares[0]!, 1, 1e-12)
  assert.ok(found.shares[1]! < 0.9 && found.shares[2]! < 0.9)
  assert.is(importanceOf(recordOf({ dimensions, trials: 3, metric: () => 1 })), undefined)
  // A constant score depends on nothing.
  for (const trials of [12, 40])
    assert.equal(importanceOf(recordOf({ dimensions, trials, metric: () => 1 }))!.shares, [0, 0, 0])
  assert.is(some().trials.length, 40)
})

test.run()

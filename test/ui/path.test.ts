import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { barrier, drop } from '../../src/lineage/path/figures.js'
import type { Lineage } from '../../src/lineage/types.js'
import { pathText, plot } from '../../src/ui/path.js'

const series = (...points: [t: number, value: number][]) => ({
  figure: 'loss',
  points: points.map(([t, value]) => ({ t, value })),
})
const point = (t: number, evaluations: Record<string, number>) =>
  ({ output: { from: 'path\u001b[2J', point: { name: `t-${t}`, t } }, evaluations }) as unknown as Lineage

test('barrier: the largest height above the straight line between the ends', () => {
  assert.equal(barrier(series([0, 1], [0.25, 2], [0.5, 3.5], [1, 2])), { height: 2, t: 0.5 })
  assert.equal(barrier(series([0, 1], [0.5, 1.5], [1, 2])), { height: 0, t: 0 })
  assert.is(barrier(series([0, 1], [0.5, 1.5])), undefined)
  const accuracy = { ...series([0, 1], [0.25, 0.5], [0.5, 0.25], [1, 0.5]), figure: 'accuracy' }
  assert.equal([drop(accuracy), barrier(accuracy)], [{ height: 0.5, t: 0.5 }, undefined])
  assert.is(drop(series([0, 1], [1, 2])), undefined)
})

test('plot: as wide as it may be, and no figure breaks it', () => {
  for (const width of [1, 30, 60, 500]) {
    const lines = plot(series([0, 1.7e308], [0.5, -1.7e308], [1, 0]), width)
    assert.is(lines.length, 10)
    assert.ok(lines.every((line) => line.length <= Math.max(width, 30)))
    assert.is(lines.join('').match(/\*/g)?.length, 3)
  }
  assert.is(
    plot(series([0.5, 1], [0.5, 1]), 40)
      .join('')
      .match(/\*/g)?.length,
    1,
  )
})

test('a path’s text: loss before accuracy before others, names safe for terminals', () => {
  const text = pathText(
    [
      point(1, { accuracy: 0.9, loss: 1, zeal: 3, 'eval_loss\n': 2 }),
      point(0, { accuracy: 0.8, loss: 1, zeal: 3, 'eval_loss\n': 1 }),
    ],
    60,
  )
  assert.match(text, /^eval_loss\ufffd along path\ufffd\[2J\n/)
  assert.match(text, /\nloss along path/)
  assert.match(
    text,
    /\nbarrier of eval_loss\ufffd: 0\nbarrier of loss: 0\ndrop of accuracy: 0\n2 more metrics in the lineage files$/,
  )
  assert.not.match(text, '\u001b')
  assert.is(pathText([point(0, {})], 60), '')
})

test('several paths: their barriers side by side', () => {
  const along = (from: string, ...losses: number[]) =>
    losses.map(
      (loss, i) => ({ output: { from, point: { name: '', t: i / 2 } }, evaluations: { loss } }) as unknown as Lineage,
    )
  const text = pathText([...along('naive', 1, 3, 1), ...along('aligned', 1, 1.25, 1)], 60)
  assert.match(text, /\nbarrier of loss: 2 at t = 0\.5\n[\s\S]*\nbarriers of loss: 2 along naive, 0\.25 along aligned$/)
})

test.run()

/** Search methods propose the same points for the same arguments, inside of the space. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Dimension } from '../../src/recipe/search/types.js'
import { SAMPLERS } from '../../src/search/samplers/index.js'

const space: readonly Dimension[] = [
  { path: 'merge.parameters.t', range: { kind: 'real', low: 0, high: 1, log: false, points: 3 } },
  { path: 'seed', range: { kind: 'integer', low: 1, high: 2, log: false } },
  { path: 'merge.method', range: { kind: 'choice', values: ['ties', 'linear'] } },
]

test('a grid tries every combination once, in order', () => {
  const { grid } = SAMPLERS
  assert.is(grid!.check(space, { seed: 0, trials: 12 }), undefined)
  const points = grid!.propose(space, { seed: 0, trials: 12 }, 0, [])
  assert.is(points.length, 12)
  assert.equal(points.slice(0, 5), [
    [0, 1, 'ties'],
    [0, 1, 'linear'],
    [0, 2, 'ties'],
    [0, 2, 'linear'],
    [0.5, 1, 'ties'],
  ])
  assert.equal(grid!.propose(space, { seed: 0, trials: 12 }, 1, []), [])
})

test('random points depend on the seed alone', () => {
  const { random } = SAMPLERS
  const points = random!.propose(space, { seed: 3, trials: 20 }, 0, [])
  assert.equal(points, random!.propose(space, { seed: 3, trials: 20 }, 0, []))
  assert.not.equal(points, random!.propose(space, { seed: 4, trials: 20 }, 0, []))
  assert.is(random!.propose(space, { seed: 3, trials: 20 }, 1, []).length, 4)
})

test.run()

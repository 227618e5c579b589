import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { correlatedVariance, normFeeds } from '../../src/rebasin/repair.js'
import { randomModel } from './random.js'

type ShapeList = Record<string, readonly number[]>
const bn = (name: string, size: number): ShapeList => ({
  [`${name}.weight`]: [size],
  [`${name}.running_mean`]: [size],
  [`${name}.running_var`]: [size],
})
const feedsOf = (shapes: ShapeList) => {
  const { feeds, left } = normFeeds(randomModel(1, shapes))
  const pairs = feeds.map(({ variance, weight }) => [
    variance.replace('.running_var', ''),
    weight.replace('.weight', ''),
  ])
  return { pairs: Object.fromEntries(pairs), left: Object.keys(left) }
}

test('the layer that feeds a norm: by sequence, by number, by name, behind the convolutions, in a container', () => {
  const sequence = {
    'features.0.weight': [4, 1, 3, 3],
    ...bn('features.1', 4),
    'features.4.weight': [4, 4, 3, 3],
    ...bn('features.5', 4),
  }
  assert.equal(feedsOf(sequence), { pairs: { 'features.1': 'features.0', 'features.5': 'features.4' }, left: [] })
  const counted = {
    'conv1.weight': [4, 1, 3, 3],
    ...bn('bn1', 4),
    'fc1.weight': [9, 64],
    ...bn('bn2', 9),
    'fc2.weight': [3, 9],
  }
  assert.equal(feedsOf(counted), { pairs: { bn1: 'conv1', bn2: 'fc1' }, left: [] })
  const both = { 'conv1.weight': [4, 1, 3, 3], ...bn('bn1', 4), 'fc1.weight': [4, 64], 'fc2.weight': [3, 4] }
  assert.equal(feedsOf(both).pairs, { bn1: 'conv1' })
  const named = {
    'stem.conv.weight': [4, 1, 3, 3],
    ...bn('stem.bn', 4),
    'hidden.weight': [9, 4],
    ...bn('hidden_norm', 9),
  }
  assert.equal(feedsOf(named).pairs, { 'stem.bn': 'stem.conv', hidden_norm: 'hidden' })
})

test('norms before convolutions: what a sum of blocks feeds is left', () => {
  const shapes = {
    ...{ 'conv1.weight': [4, 1, 3, 3], ...bn('b1.bn1', 4), 'b1.conv1.weight': [6, 4, 3, 3], ...bn('b1.bn2', 6) },
    ...{ 'b1.conv2.weight': [6, 6, 3, 3], 'b1.shortcut.weight': [6, 4, 1, 1], ...bn('bn', 6), 'fc.weight': [3, 6] },
  }
  assert.equal(feedsOf(shapes), { pairs: { 'b1.bn2': 'b1.conv1' }, left: ['b1.bn1.running_var', 'bn.running_var'] })
})

test('the variance of a weighted average of three: whole where all are one, by the cosine of the filters else', () => {
  const [x, y] = [Float32Array.of(3, 4, 1, 0), Float32Array.of(4, -3, -2, 0)]
  const variances = [Float32Array.of(4, 9), Float32Array.of(4, 9), Float32Array.of(4, 9)]
  assert.equal(correlatedVariance(variances, [x, x, x], [0.2, 0.3, 0.5]), Float32Array.of(4, 9))
  // Orthogonal filters of the first channel, opposite ones of the second.
  const [first, second] = correlatedVariance([Float32Array.of(4, 9), Float32Array.of(1, 4)], [x, y], [0.75, 0.25])
  assert.ok(Math.abs(first! - (0.5625 * 4 + 0.0625)) < 1e-6)
  assert.ok(Math.abs(second! - (0.75 * 3 - 0.25 * 2) ** 2) < 1e-6)
})

test.run()

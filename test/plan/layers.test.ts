import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { gradientAt, layerCount, layerOf } from '../../src/plan/layers.js'

test('a layer is the first whole-number part of a name', () => {
  assert.is(layerOf('model.layers.12.mlp.experts.3.w'), 12)
  assert.is(layerOf('layer1.0.conv2.weight'), 0)
  assert.is(layerOf('h.07.attn'), 7)
  assert.is(layerOf('lm_head.weight'), undefined)
  assert.is(layerOf('conv2d.weight'), undefined)
})

test('layers are counted from the highest number, whatever is missing below', () => {
  assert.is(layerCount(['a.0.w', 'a.3.w', 'b']), 4)
  assert.is(layerCount(['b']), 0)
})

test('a gradient is spread evenly and interpolated linearly; ends are exact', () => {
  const at = (layer: number, layers: number) => gradientAt([0, 0.5, 1], layer, layers)
  assert.equal(
    [0, 1, 2, 3, 4].map((layer) => at(layer, 5)),
    [0, 0.25, 0.5, 0.75, 1],
  )
  assert.equal(
    [0, 1, 2, 3].map((layer) => gradientAt([0, 0.5, 0.3, 0.7, 1], layer, 4).toFixed(6)),
    ['0.000000', '0.433333', '0.566667', '1.000000'],
  )
})

test('outside of layers, and in a model of one layer, the first value holds', () => {
  assert.is(gradientAt([3, 1], undefined, 8), 3)
  assert.is(gradientAt([3, 1], 0, 1), 3)
  assert.is(gradientAt([3], 5, 8), 3)
})

test.run()

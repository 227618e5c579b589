import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { nameAt, siteOf, stacksOf } from '../../src/networks/layerNames.js'
import { gradientAt } from '../../src/networks/layers.js'

test('each stack of layers is counted separately, by the prefix before the first number', () => {
  const { list, of } = stacksOf([
    'model.layers.1.mlp.experts.3.w',
    'vision_tower.encoder.layers.5.norm.weight',
    'projector.mlp.2.weight',
    'layer1.0.conv2.weight',
    'lm_head.weight',
  ])
  assert.equal(list, [
    { prefix: 'layer1', depth: 1 },
    { prefix: 'model.layers', depth: 2 },
    { prefix: 'vision_tower.encoder.layers', depth: 6 },
  ])
  assert.is(of('model.layers.1.mlp.experts.3.w')?.layer, 1)
  assert.is(of('projector.mlp.2.weight'), undefined)
  assert.is(of('lm_head.weight'), undefined)
})

test('lists of single parameters count as stacks if a model has no others', () => {
  assert.equal(stacksOf(['0.weight', '2.weight', '4.weight']).list, [{ prefix: '', depth: 5 }])
  assert.equal(stacksOf(['features.0.weight', 'features.3.weight', 'classifier.1.weight']).list, [
    { prefix: 'classifier', depth: 2 },
    { prefix: 'features', depth: 4 },
  ])
})

test('stacks are found by a prefix, also inside layers of another stack', () => {
  assert.equal(siteOf('down_blocks.1.resnets.0.conv.weight', 'down_blocks.1.resnets'), {
    prefix: 'down_blocks.1.resnets',
    layer: 0,
    rest: 'conv.weight',
  })
  assert.is(siteOf('model.layersX.1.w', 'model.layers'), undefined)
  assert.is(nameAt('', 3, 'weight'), '3.weight')
})

test('a gradient is spread evenly and interpolated linearly; ends are exact', () => {
  const at = (layer: number, layers: number) => gradientAt([0, 0.5, 1], { layer, count: layers })
  assert.equal(
    [0, 1, 2, 3, 4].map((layer) => at(layer, 5)),
    [0, 0.25, 0.5, 0.75, 1],
  )
  assert.equal(
    [0, 1, 2, 3].map((layer) => gradientAt([0, 0.5, 0.3, 0.7, 1], { layer, count: 4 }).toFixed(6)),
    ['0.000000', '0.433333', '0.566667', '1.000000'],
  )
})

test('outside of layers, and in a model with one layer, the first value applies', () => {
  assert.is(gradientAt([3, 1], { layer: undefined, count: 8 }), 3)
  assert.is(gradientAt([3, 1], { layer: 0, count: 1 }), 3)
  assert.is(gradientAt([3], { layer: 5, count: 8 }), 3)
})

test.run()

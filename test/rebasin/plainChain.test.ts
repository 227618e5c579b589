/** `spec: chain`: models whose names or shapes say something else are refused, or keep the channels in question. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Fault } from '../../src/core/diagnostics.js'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import type { Spec } from '../../src/rebasin/spec.js'
import { aligned, linear, relu } from './forward.js'
import { sourceOf } from './load.js'
import { anyPermutation, near, randomModel } from './random.js'

type ShapeList = Record<string, readonly number[]>
const dense = (name: string, rows: number, columns: number): ShapeList => ({
  [`${name}.weight`]: [rows, columns],
  [`${name}.bias`]: [rows],
})
const conv = (name: string, rows: number, columns: number, ...kernel: readonly number[]): ShapeList => ({
  [`${name}.weight`]: [rows, columns, ...(kernel.length > 0 ? kernel : [3, 3])],
  [`${name}.bias`]: [rows],
})
const chain = (...parts: readonly ShapeList[]): Spec =>
  inferSpec(sourceOf(randomModel(1, Object.assign({}, ...parts))), 'chain').spec
const groups = (spec: Spec): string[] => Object.keys(spec.groups).sort()

test('a picture is square: other numbers of places may be poolings or inputs side by side', () => {
  const convs = [conv('conv1', 12, 3), conv('conv2', 16, 12)]
  for (const places of [1, 4, 9, 49])
    assert.equal(groups(chain(...convs, dense('fc', 5, 16 * places))), ['conv1', 'conv2'])
  for (const places of [2, 3, 5, 21, 48]) {
    const spec = chain(...convs, dense('fc', 5, 16 * places))
    assert.equal(groups(spec), ['conv1'])
    assert.match(spec.kept.conv2 ?? '', `fc reads ${places} numbers per channel of conv2`)
  }
  // Mean and deviation over time.
  const sound = [conv('t1', 16, 4, 3), conv('t2', 16, 16, 3)]
  assert.equal(groups(chain(...sound, dense('out', 5, 32))), ['t1'])
  assert.equal(groups(chain(...sound, dense('out', 5, 16 * 10))), ['t1', 't2'])
})

test('an embedding has its units in its columns; a square table without a name for it keeps its order', () => {
  const run = (model: ReturnType<typeof randomModel>) => {
    const { values } = model.get('embedding.weight')!
    return linear(model, 'fc2', relu(linear(model, 'fc1', values.slice(3 * 6, 4 * 6))))
  }
  const net = randomModel(2, { 'embedding.weight': [20, 6], ...dense('fc1', 8, 6), ...dense('fc2', 4, 8) })
  const { spec } = inferSpec(sourceOf(net), 'chain')
  assert.equal(groups(spec), ['embedding', 'fc1'])
  for (const seed of [1, 2]) near(run(net), run(aligned(spec, net, anyPermutation(spec, seed))), 1e-6)
  for (const name of ['embedding', '0'])
    assert.match(
      chain({ [`${name}.weight`]: [6, 6] }, dense('1', 8, 6), dense('2', 4, 8)).kept[name === '0' ? '_0' : name] ?? '',
      'it may be an embedding',
    )
})

test('convolutions that all read one input channel are not depthwise', () => {
  const sizes = [3, 4, 5].map((size, i) => conv(`convs.${i}`, 16, 1, size, 16))
  const spec = chain(...sizes, dense('fc', 5, 16))
  assert.equal(groups(spec), [])
  assert.match(Object.values(spec.kept).join(), 'a kernel of 4×16: it may read the input')
  const square = chain(conv('conv1', 6, 1, 3, 3), conv('conv2', 6, 1, 5, 5), dense('fc', 4, 6))
  assert.match(Object.values(square.kept).join(), 'another kernel than conv1')
  // In a network for coloured pictures, a square one is.
  const apart = chain(conv('conv1', 6, 3), conv('conv2', 6, 1), conv('conv3', 9, 6, 1, 1), dense('fc', 4, 9))
  assert.equal(groups(apart), ['conv1', 'conv3'])
})

test('names of layers beside a sequence are an error', () => {
  const told = (...names: string[]): string => {
    try {
      chain(...names.map((name) => dense(name, 8, 8)))
    } catch (error) {
      const { code, message } = (error as Fault).diagnostics[0]!
      return `${code}: ${message}`
    }
    return 'no error'
  }
  for (const names of [
    ['fc1', 'shortcut', 'fc2'],
    ['fc1', 'block.skip.0', 'fc2'],
    ['fc1', 'residual_layer', 'fc2'],
    ['branch1', 'branch2', 'out'],
    ['actor.0', 'critic.0'],
    ['left', 'right', 'out'],
    ['down1', 'down2', 'up1', 'out'],
    ['fc1', 'head1', 'head2'],
    ['fc1', 'gate', 'fc2'],
    ['fc1', 'tok_emb', 'fc2'],
  ])
    assert.match(told(...names), 'spec-unknown: ', names.join())
  for (const names of [
    ['fc1', 'fc2', 'fc3'],
    ['encoder.0', 'encoder.2', 'decoder.0', 'decoder.2'],
    ['features.0', 'classifier.0', 'classifier.3'],
    ['stem', 'body.0', 'body.1', 'head.0', 'head.2'],
    ['restored.0', 'restored.1', 'restored.2'],
  ])
    assert.is(told(...names), 'no error', names.join())
})

test.run()

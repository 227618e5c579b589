/** Networks that all of their names and shapes identify, from the real layouts of torchvision, and the same beside other layers. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { certainPart, inferSpec } from '../../src/rebasin/infer/index.js'
import type { Spec } from '../../src/rebasin/spec.js'
import { fixture } from '../support/terge.js'

type Layout = Readonly<Record<string, readonly number[]>>
const LAYOUTS = JSON.parse(readFileSync(fixture('networks/torchvision.json'), 'utf8')) as Readonly<
  Record<string, Layout>
>

const infer = (layout: Layout, family = 'auto') => {
  const tensors = new Map(Object.entries(layout).map(([name, shape]) => [name, { name, dtype: 'F32', shape }] as const))
  return inferSpec({ tensors: tensors as unknown as Parameters<typeof inferSpec>[0]['tensors'] }, family)
}
const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)

/** The share of elements in tensors that an alignment permutes. */
function moved({ parts }: Spec, layout: Layout): number {
  const touched = new Set(parts.map(({ tensor }) => tensor))
  const count = (names: readonly string[]) => names.reduce((sum, name) => sum + sizeOf(layout[name]!), 0)
  return count(Object.keys(layout).filter((name) => touched.has(name))) / count(Object.keys(layout))
}

const renamed = (layout: Layout, prefix: string): Layout =>
  Object.fromEntries(Object.entries(layout).map(([name, shape]) => [`${prefix}${name}`, shape]))
const groupsOf = ({ groups }: Spec): string[] => Object.keys(groups)

for (const [name, layout] of Object.entries(LAYOUTS))
  test(`${name}: known as it is, under a prefix, with other classes and other pictures`, () => {
    const { family, spec, assumed } = infer(layout)
    assert.equal([family, assumed], [name, undefined])
    // The insides of grouped convolutions keep their order.
    assert.ok(moved(spec, layout) > (name.startsWith('resnext') ? 0.94 : 0.98), String(moved(spec, layout)))
    const head = Object.keys(layout)
      .filter((tensor) => /^(fc|classifier\.\d)\.(weight|bias)$/.test(tensor))
      .slice(-2)
    const [stem = ''] = Object.keys(layout).filter((tensor) => /weight$/.test(tensor))
    const [rows = 0, , ...kernel] = layout[stem]!
    const others: readonly Layout[] = [
      renamed(layout, 'module.'),
      { ...layout, ...Object.fromEntries(head.map((tensor) => [tensor, [7, ...layout[tensor]!.slice(1)]])) },
      { ...layout, [stem]: [rows, 1, ...kernel] },
      { ...layout, [stem]: [rows, 3, 3, 3] },
    ]
    for (const other of others) {
      const found = infer(other)
      assert.equal([found.family, found.assumed], [name, undefined])
      assert.is(groupsOf(found.spec).length, groupsOf(spec).length)
      assert.equal(found.spec.parts.length, spec.parts.length)
    }
  })

test('one other shape, one more or one fewer tensor in the body: nothing is certain', () => {
  const { resnet18 } = LAYOUTS as { readonly resnet18: Layout }
  const { 'layer1.0.bn1.bias': _, ...fewer } = resnet18
  const others: readonly Layout[] = [
    fewer,
    { ...resnet18, 'layer1.0.extra.weight': [64, 64, 1, 1] },
    { ...resnet18, 'layer1.0.conv1.weight': [64, 64, 5, 5] },
  ]
  for (const other of others) {
    const inferred = infer(other)
    assert.not.equal(inferred.family, 'resnet18')
    assert.is(inferred.assumed?.as, 'resnet')
    assert.equal(groupsOf(certainPart(inferred)), [])
  }
})

test('beside other layers only the insides of the blocks move', () => {
  const { resnet18 } = LAYOUTS as { readonly resnet18: Layout }
  const whole = infer(resnet18)
  const beside = { ...renamed(resnet18, 'backbone.'), 'aux.0.weight': [10, 128, 3, 3], 'aux.0.bias': [10] }
  const inferred = infer(beside)
  assert.is(inferred.family, 'resnet18')
  assert.equal(inferred.assumed, { layers: ['aux.0.weight', 'aux.0.bias'] })
  const spec = certainPart(inferred)
  // One group in each of the eight blocks.
  assert.equal(
    groupsOf(spec).sort(),
    [1, 2, 3, 4].flatMap((layer) => [0, 1].map((block) => `backbone.layer${layer}.${block}.conv1`)),
  )
  assert.ok(groupsOf(whole.spec).length > 8)
  assert.match(spec.kept['backbone.layer1.0.out'] ?? Object.values(spec.kept).join(), 'other layers may read it')
  assert.ok(spec.kept['aux.0.weight'])
  // A head of other sizes is another layer.
  const other = infer({ ...resnet18, 'fc.weight': [16, 12, 512], 'fc.bias': [16] })
  assert.equal([other.family, other.assumed?.layers], ['resnet18', ['fc.weight', 'fc.bias']])
})

test('two known networks in one model are not told apart', () => {
  const { alexnet } = LAYOUTS as { readonly alexnet: Layout }
  const inferred = infer({ ...renamed(alexnet, 'one.'), ...renamed(alexnet, 'two.') }, 'auto')
  assert.not.equal(inferred.family, 'alexnet')
})

test('counters of batches do not matter', () => {
  const { resnet18 } = LAYOUTS as { readonly resnet18: Layout }
  const counters = Object.keys(resnet18)
    .filter((name) => name.endsWith('running_mean'))
    .map((name) => [name.replace('running_mean', 'num_batches_tracked'), []] as const)
  const { family, assumed } = infer({ ...resnet18, ...Object.fromEntries(counters) })
  assert.equal([family, assumed], ['resnet18', undefined])
})

test.run()

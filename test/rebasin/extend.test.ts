/** `spec: {auto: …}`: changes to an inferred spec, and what they do to the function. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Fault } from '../../src/core/diagnostics.js'
import { extendSpec } from '../../src/rebasin/infer/extend.js'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import { readSpec, type Spec, type SpecText, writeSpec } from '../../src/rebasin/spec.js'
import { aligned, linear, relu } from './forward.js'
import { type Model, sourceOf } from './load.js'
import { anyPermutation, near, randomModel } from './random.js'
import { add } from './transformers.js'

const dense = (name: string, rows: number, columns: number) => ({
  [`${name}.weight`]: [rows, columns],
  [`${name}.bias`]: [rows],
})
const net = randomModel(4, {
  ...dense('fc1', 8, 5),
  ...dense('fc2', 6, 8),
  ...dense('fc3', 8, 6),
  ...dense('fc4', 3, 8),
})
const input = Float64Array.of(0.5, -1, 0.25, 2, -0.75)

/** The shortcut goes around two layers. */
function residual(model: Model): Float64Array {
  const x = relu(linear(model, 'fc1', input))
  return linear(model, 'fc4', add(x, linear(model, 'fc3', relu(linear(model, 'fc2', x)))))
}

function extended(text: Omit<SpecText, 'tensors'> & Partial<SpecText>, family = 'chain'): Spec {
  const { spec } = inferSpec(sourceOf(net), family)
  return readSpec(extendSpec(writeSpec(spec, net), { tensors: {}, ...text }, net), net)
}
const groupsOf = (spec: Spec): string[] => Object.keys(spec.groups)
const differs = (spec: Spec): boolean => {
  const [before, after] = [residual(net), residual(aligned(spec, net, anyPermutation(spec, 2)))]
  return before.some((value, i) => Math.abs(value - after[i]!) > 1e-6)
}

test('tied groups share a permutation, so that a shortcut keeps the function', () => {
  assert.ok(differs(extended({})), 'as a plain chain the network is broken')
  for (const tie of [[['fc1', 'fc3']], [['fc1.weight[0]', 'fc4.weight[1]']], [['fc3.bias[0]', 'fc1']]]) {
    const spec = extended({ tie })
    assert.is(groupsOf(spec).length, 2)
    for (const seed of [1, 2, 3]) near(residual(net), residual(aligned(spec, net, anyPermutation(spec, seed))), 1e-6)
  }
})

test('ties go through others, and to an axis that keeps its order', () => {
  const square = randomModel(5, {
    ...dense('fc1', 4, 4),
    ...dense('fc2', 4, 4),
    ...dense('fc3', 4, 4),
    ...dense('fc4', 4, 4),
  })
  const { spec } = inferSpec(sourceOf(square), 'chain')
  const text = (tie: string[][]) => readSpec(extendSpec(writeSpec(spec, square), { tensors: {}, tie }, square), square)
  assert.equal(
    groupsOf(
      text([
        ['fc2', 'fc3'],
        ['fc1', 'fc3'],
      ]),
    ),
    ['fc1'],
  )
  const stays = text([
    ['fc2', 'fc3'],
    ['fc1', 'fc2'],
    ['fc3', 'fc4.weight[0]'],
  ])
  assert.equal(groupsOf(stays), [])
  assert.match(Object.values(stays.kept).join(), 'tied to fc4.weight[0], which keeps its order')
})

test('what the recipe keeps stays, with everything that shares its groups', () => {
  assert.equal(groupsOf(extended({ keep: ['fc1', 'fc3'] })), ['fc2'])
  const spec = extended({ keep: ['fc2.*'] })
  assert.equal(groupsOf(spec), ['fc3'])
  assert.is(spec.kept.fc1, 'the recipe keeps it in order')
  assert.not.ok(spec.parts.some(({ tensor }) => tensor.startsWith('fc2')))
  assert.equal(groupsOf(extended({ tie: [['fc1', 'fc3']], keep: ['fc3'] })), ['fc2'])
})

test('groups and tensors are added and replaced', () => {
  const spec = extended({
    groups: { half: 4 },
    tensors: { 'fc4.weight': [null, ['half', '4']], 'fc3.weight': ['half*2'] },
  })
  assert.equal(groupsOf(spec).sort(), ['fc1', 'fc2', 'fc3', 'half'])
  assert.equal(
    spec.parts.filter(({ tensor }) => tensor === 'fc4.weight').map(({ units }) => units),
    [['half']],
  )
})

test('names that do not exist and sizes that differ are errors', () => {
  const told = (text: Parameters<typeof extended>[0]): string => {
    try {
      extended(text)
    } catch (error) {
      return (error as Fault).diagnostics.map(({ code, message }) => `${code}: ${message}`).join('\n')
    }
    return 'no error'
  }
  assert.is(told({ tie: [['fc1', 'fc2']] }), "spec-misfit: fc1 has 8 units and fc2 6: they can't share a permutation")
  assert.match(told({ tie: [['fc1', 'fc7']] }), "'fc7' is neither a group of the spec nor an axis of a tensor")
  assert.match(told({ tie: [['fc1', 'fc1.weight[2]']] }), 'is neither a group')
  assert.match(told({ keep: ['fc9.*'] }), "no group and no tensor matches 'fc9.*'")
  assert.match(told({ keep: ['/(/'] }), 'spec-misfit: ')
})

test.run()

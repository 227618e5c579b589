/**
 * Real exports by both exporters of PyTorch. `bench/families/families.py` aligned these networks by these graphs, and their
 * outputs stayed the same. `specs.json` has the specs of that run.
 */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { onnxSpec } from '../../src/rebasin/onnx/index.js'
import { type SpecText, writeSpec } from '../../src/rebasin/spec.js'
import { readOnnxFile } from '../../src/steps/rebasin/spec/onnx.js'
import { fixture } from '../support/terge.js'

const read = <T>(name: string): T => JSON.parse(readFileSync(fixture(`onnx/${name}.json`), 'utf8')) as T
const networks = read<Record<string, Record<string, readonly number[]>>>('shapes')
const specs = read<Record<string, SpecText>>('specs')

const specOf = (name: string): SpecText => {
  const shapes = new Map(Object.entries(networks[name]!).map(([tensor, shape]) => [tensor, { shape }]))
  const found = readOnnxFile(fixture(`onnx/${name}.onnx`), name)
  if (!('onnx' in found)) throw new Error(found.fault.message)
  return JSON.parse(JSON.stringify(writeSpec(onnxSpec(found.onnx, shapes), shapes))) as SpecText
}

for (const name of Object.keys(networks))
  test(`${name} as an export`, () => {
    const { groups, tensors } = specOf(name)
    assert.equal({ groups, tensors }, specs[name])
  })

test('both exporters give the same spec', () => {
  /** Which axes share groups, without the groups' names and the order of tensors. */
  const shared = ({ tensors }: SpecText) => {
    const names = new Map<string, string>()
    const sorted = Object.entries(tensors).sort(([x], [y]) => (x < y ? -1 : 1))
    const text = (run: string) =>
      run
        .split('*')
        .map((unit) => {
          if (/^\d+$/.test(unit)) return unit
          if (!names.has(unit)) names.set(unit, `group ${names.size}`)
          return names.get(unit)!
        })
        .join('*')
    return sorted.map(([tensor, axes]) => [
      tensor,
      axes.map((axis) => (axis === null ? axis : [axis].flat().map(text))),
    ])
  }
  const both = Object.keys(networks).filter(
    (name) => Object.hasOwn(networks, name.replace(/dynamo$/, 'torchscript')) && name.endsWith('dynamo'),
  )
  assert.is(both.length, 10)
  for (const name of both)
    assert.equal(shared(specs[name]!), shared(specs[name.replace(/dynamo$/, 'torchscript')]!), name)
})

test('layers that read all channels before them, and channels in turns', () => {
  const { tensors } = specs['dense-dynamo']!
  assert.equal(tensors['fc.weight'], [null, ['stem', 'convs.0', 'convs.1', 'convs.2']])
  assert.equal(tensors['norms.1.running_var'], [['stem', 'convs.0']])
  // Gate and value are two halves that share their units.
  assert.equal(specs['gated-dynamo']!.tensors['up.weight'], ['2*up', 'embed'])
})

test('all gates of a recurrent layer share its units', () => {
  const { tensors, groups } = specs['lstm-torchscript']!
  assert.equal(tensors['rnn.weight_hh_l0']![0], `4*${tensors['rnn.weight_hh_l0']![1]}`)
  assert.equal(tensors['rnn.weight_ih_l1']![1], tensors['rnn.weight_hh_l0']![1])
  assert.is(groups![String(tensors['rnn.weight_hh_l1']![1])], 6)
})

test.run()

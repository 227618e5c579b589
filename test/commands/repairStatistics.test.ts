/** Repairs with measured statistics, and repairs of the points of a path, through the real command. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { correlatedVariance } from '../../src/rebasin/repair.js'
import { loadModel } from '../rebasin/load.js'
import { f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

const positive = (seed: number) => numbers(4, seed).map((value) => 1.5 + value)

const network = (seed: number): Record<string, RawTensor> => ({
  'conv1.weight': f32([4, 1, 3, 3], numbers(36, seed)),
  'bn1.weight': f32([4], positive(seed + 1)),
  'bn1.bias': f32([4], numbers(4, seed + 2)),
  'bn1.running_mean': f32([4], numbers(4, seed + 3)),
  'bn1.running_var': f32([4], positive(seed + 4)),
  'fc.weight': f32([3, 4], numbers(12, seed + 5)),
})
const MEASURED = { 'bn1.running_mean': f32([4], numbers(4, 50)), 'bn1.running_var': f32([4], positive(51)) }

const withModels = (work: (folder: string, write: (text: string) => void) => Promise<void>) =>
  inFolder(async (folder) => {
    writeModel(path.join(folder, 'a.safetensors'), network(1))
    writeModel(path.join(folder, 'b.safetensors'), network(20))
    await work(folder, (text) =>
      writeFileSync(path.join(folder, 'r.yml'), `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\n${text}\n`),
    )
  })
const load = (folder: string, name: string) => loadModel(path.join(folder, name))
const values = (folder: string, name: string, tensor: string) => [...load(folder, name).get(tensor)!.values]

test('measured statistics replace those of the average, and the lineage says where they are from', () =>
  withModels(async (folder, write) => {
    writeModel(path.join(folder, 'm.safetensors'), MEASURED)
    write('merge: {method: linear}\nrepair: {batch_norm: {statistics: m.safetensors}}\noutput: out.safetensors')
    assert.match((await terge(['plan', 'r.yml'], folder)).out, 'repair: 2 running statistics, measured')
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.out, 'repair: 2 running statistics measured')
    for (const name of Object.keys(MEASURED))
      assert.equal(values(folder, 'out.safetensors', name), values(folder, 'm.safetensors', name))
    const [a, b] = ['a', 'b'].map((name) => values(folder, `${name}.safetensors`, 'fc.weight'))
    assert.equal(
      values(folder, 'out.safetensors', 'fc.weight'),
      a!.map((value, i) => Math.fround((value + b![i]!) / 2)),
    )
    const { steps, tensors, models } = JSON.parse(readFileSync(path.join(folder, 'out.lineage.json'), 'utf8'))
    assert.is(steps.repair.batch_norm, 'statistics')
    assert.equal(Object.keys(steps.repair.repaired).sort(), ['bn1.running_mean', 'bn1.running_var'])
    assert.is(tensors['bn1.running_var'].method, 'repair')
    assert.is(models['repair.measured.merge'].files[0].name, 'm.safetensors')
    assert.is((await terge(['verify', 'out.safetensors', '--reproduce'], folder)).code, 0)
  }))

test('statistics that do not fit, or that nobody can have measured, are errors', () =>
  withModels(async (folder, write) => {
    write('merge: {method: linear}\nrepair: {batch_norm: {statistics: m.safetensors}}\noutput: out.safetensors')
    const refuse = async (own: Record<string, RawTensor>, message: string) => {
      writeModel(path.join(folder, 'm.safetensors'), own)
      const found = await terge(['run', 'r.yml'], folder)
      assert.is(found.code, 2)
      assert.match(found.err, message)
    }
    const { 'bn1.running_mean': mean, ...rest } = MEASURED
    await refuse(rest, 'missing-statistics: the statistics of merge have no tensor bn1.running_mean')
    await refuse(
      { ...rest, 'bn1.running_mean': f32([3], [1, 2, 3]) },
      'bn1.running_mean is F32[3], but [4] in the model',
    )
    const bad = (value: number) => ({ 'bn1.running_mean': mean!, 'bn1.running_var': f32([4], [1, 2, value, 3]) })
    await refuse(bad(-1), 'bad-statistics: the measured bn1.running_var has negative values')
    await refuse(bad(Number.NaN), 'bad-statistics: the measured bn1.running_var has values that are not finite')
  }))

test('each point between the ends is repaired by its own weights', () =>
  withModels(async (folder, write) => {
    const path = 'interpolate: {from: a, to: b, at: [0, 0.25, 1], repair: {batch_norm: correlation}'
    write(`steps: {p: {${path}}}}\noutput: out`)
    assert.match(
      (await terge(['plan', 'r.yml'], folder)).out,
      'p/t-0.250: 1 BatchNorm, running variances by correlation',
    )
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    const [a, b] = ['a', 'b'].map((name) => load(folder, `${name}.safetensors`))
    const of = (name: string) => [a!, b!].map((model) => model.get(name)!.values)
    const expected = correlatedVariance(of('bn1.running_var'), of('conv1.weight'), [0.75, 0.25])
    assert.equal(values(folder, 'out/t-0.250.safetensors', 'bn1.running_var'), [...expected])
    for (const [point, model] of [
      ['t-0.000', a!],
      ['t-1.000', b!],
    ] as const)
      for (const [name, { values: own }] of model)
        assert.equal(load(folder, `out/${point}.safetensors`).get(name)!.values, own)
    const { tensors } = JSON.parse(readFileSync(`${folder}/out/t-0.250.lineage.json`, 'utf8'))
    assert.is(tensors['bn1.running_var'].method, 'repair')
    assert.is((await terge(['verify', 'out/t-0.250.lineage.json', '--reproduce'], folder)).code, 0)

    write(`steps: {p: {${path}, method: slerp}}}\noutput: out`)
    assert.match((await terge(['validate', 'r.yml'], folder)).err, 'repair by correlation needs averages')
  }))

test('points with measured statistics have a file each', () =>
  withModels(async (folder, write) => {
    const text = (file: string) =>
      `steps: {p: {interpolate: {from: a, to: b, points: 4, repair: {batch_norm: {statistics: "${file}"}}}}}\noutput: out`
    write(text('m.safetensors'))
    assert.match((await terge(['validate', 'r.yml'], folder)).err, 'all points have the same statistics file')
    for (const [index, point] of ['t-0.333', 't-0.667'].entries())
      writeModel(path.join(folder, `${point}.m.safetensors`), {
        ...MEASURED,
        'bn1.running_var': f32([4], positive(90 + index)),
      })
    write(text('{point}.m.safetensors'))
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    for (const [index, point] of ['t-0.333', 't-0.667'].entries())
      assert.equal(values(folder, `out/${point}.safetensors`, 'bn1.running_var'), [...positive(90 + index)])
  }))

test.run()

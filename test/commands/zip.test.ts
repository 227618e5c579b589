/** Zips through the real command: networks of other widths on digits, records, resumes, and what is refused. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, linear, mlp, relu } from '../rebasin/forward.js'
import { loadModel, type Model } from '../rebasin/load.js'
import { f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const [A, B] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`))
const digits = loadModel(fixture('digits/test.safetensors'))
const train = loadModel(fixture('digits/train.safetensors'))
const LAYERS = ['fc1', 'fc2', 'fc3', 'fc4']
const SAMPLES = 200

/** What each hidden layer gives, and what the next one reads. */
function activationsOf(model: Model): Record<string, RawTensor> {
  const rows = new Map(LAYERS.slice(0, 3).map((name) => [name, new Float32Array(SAMPLES * 256)]))
  for (let sample = 0; sample < SAMPLES; sample++) {
    let values: Float64Array = Float64Array.from(
      { length: 64 },
      (_, i) => train.get('images')!.values[sample * 64 + i]! / 16,
    )
    for (const [name, into] of rows) {
      values = relu(linear(model, name, values))
      into.set(values, sample * 256)
    }
  }
  return Object.fromEntries(
    [...rows].map(([name, values]) => [`${name}@fc${Number(name[2]) + 1}.in`, f32([SAMPLES, 256], values)]),
  )
}

const accuracyOf = (file: string): number => {
  const model = loadModel(file)
  return evaluate(digits, (pixels) => mlp(model, LAYERS, pixels)).accuracy
}

test('two networks become one, of the same width and of half of it: digests, threads and resumes', () =>
  inFolder(async (folder) => {
    const at = (name: string) => path.join(folder, name)
    for (const [index, name] of ['a', 'b'].entries())
      writeModel(at(`${name}-act.safetensors`), activationsOf(loadModel([A, B][index]!)))
    const write = (more: string) =>
      writeFileSync(
        at('r.yml'),
        `terge: 1
models: {a: ${A}, b: ${B}}
zip: {models: [a, b], spec: chain, ${more}}
output: out.safetensors
`,
      )
    const data = 'statistics: {a: a-act.safetensors, b: b-act.safetensors}'
    for (const [more, least, width] of [
      [`width: larger, ${data}`, 0.95, 256],
      [`width: 50%, ${data}`, 0.9, 128],
    ] as const) {
      write(more)
      const planned = await terge(['plan', 'r.yml'], folder)
      assert.match(planned.out, `a, b: zipit by activations, family chain`)
      assert.match(planned.out, `fc1 256 + 256 → ${width}`)
      assert.match(planned.out, 'inputs of 3 layers by least squares')
      const ran = await terge(['run', 'r.yml', '--threads', '2', '--force'], folder)
      assert.is(ran.code, 0, ran.err)
      assert.match(ran.out, new RegExp(`zip: 1536 units → ${3 * width}, \\d+ of them shared by models`))
      const found = accuracyOf(at('out.safetensors'))
      assert.ok(found >= least, `${more}: ${found}`)
      assert.is((await terge(['verify', 'out.safetensors'], folder)).code, 0)
    }
    const lineage = () => JSON.parse(readFileSync(at('out.lineage.json'), 'utf8'))
    const { steps, output } = lineage()
    assert.is(steps.zip.by, 'activations')
    assert.equal(steps.zip.fitted, ['fc2.weight', 'fc3.weight', 'fc4.weight'])
    assert.equal(steps.zip.groups.fc2.sizes, [256, 256])
    assert.is(steps.zip.groups.fc2.width, 128)
    assert.ok(steps.zip.groups.fc2.similarity > 0.2)
    const again = await terge(['run', 'r.yml', '--threads', '1', '--memory', '300MB', '--force'], folder)
    assert.is(again.code, 0, again.err)
    assert.is(lineage().output.digest, output.digest)
    assert.is((await terge(['run', 'r.yml', '--resume'], folder)).code, 0)
  }))

type Shapes = Readonly<Record<string, readonly number[]>>
const random = (shapes: Shapes, seed: number): Record<string, RawTensor> =>
  Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => [
      name,
      f32(
        shape,
        numbers(
          shape.reduce((product, n) => product * n, 1),
          seed + i,
        ),
      ),
    ]),
  )
const small = (a: number, b: number, classes = 3): Shapes => ({
  'fc1.weight': [a, 4],
  'fc1.bias': [a],
  'fc2.weight': [b, a],
  'fc2.bias': [b],
  'fc3.weight': [classes, b],
  'fc3.bias': [classes],
})

const inZip = (
  a: Shapes,
  b: Shapes,
  work: (zip: (more: string) => Promise<{ code: number | null; err: string }>, folder: string) => Promise<void>,
) =>
  inFolder(async (folder) => {
    writeModel(path.join(folder, 'a.safetensors'), random(a, 1))
    writeModel(path.join(folder, 'b.safetensors'), random(b, 9))
    await work((more) => {
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nzip: {models: [a, b], spec: chain, ${more}}\noutput: out.safetensors\n`,
      )
      return terge(['run', 'r.yml', '--force'], folder)
    }, folder)
  })

test('networks of other widths: by group, with all units as the mean of both, and with heads apart', () =>
  inZip(small(6, 5), small(3, 4, 2), async (zip, folder) => {
    const apart = await zip('width: {fc1: 7, "*": sum}, heads: ["fc3.*"]')
    assert.is(apart.code, 0, apart.err)
    const made = loadModel(path.join(folder, 'out.safetensors'))
    assert.equal(
      [...made].map(([name, { shape }]) => `${name} ${shape}`).join(' '),
      'fc1.bias 7 fc1.weight 7,4 fc2.bias 9 fc2.weight 9,7 fc3.bias 5 fc3.weight 5,9',
    )
    const all = await zip('width: sum, heads: ["fc3.*"]')
    assert.is(all.code, 0, all.err)
    const [whole, a, b] = ['out', 'a', 'b'].map((name) => loadModel(path.join(folder, `${name}.safetensors`)))
    const output = (model: Model) => {
      const x = Float64Array.of(0.4, -0.3, 0.8, 0.1)
      return linear(model, 'fc3', relu(linear(model, 'fc2', relu(linear(model, 'fc1', x)))))
    }
    const expected = [...output(a!), ...output(b!)]
    for (const [i, value] of output(whole!).entries()) assert.ok(Math.abs(value - expected[i]!) < 1e-5)
  }))

test('what does not fit is refused at its place', () =>
  inZip(small(6, 5), small(3, 4, 2), async (zip) => {
    const refuse = async (more: string, message: string) => {
      const { code, err } = await zip(more)
      assert.is(code, 2, err)
      assert.match(err, message)
    }
    await refuse('width: larger', "spec-misfit: the models can't be zipped: fc3.bias is [3] in a but [2] in b")
    await refuse(
      'heads: ["fc3.*"], width: 20',
      'zip-width: group fc1: 20 units are more than the models have together: 6 in a, 3 in b',
    )
    await refuse(
      'heads: ["fc3.*"], method: pleas, width: 5',
      'pleas merges no units of one model, so 5 units are too few',
    )
    await refuse('heads: ["fc3.*"], width: {fc9: 4}', "r.yml:3:62: error no-match: the pattern 'fc9' matches no group")
    await refuse('heads: ["fc3.*"], width: {"fc1": keep}', 'zip-width: group fc1: it has 6 in a, 3 in b units')
    await refuse('heads: ["fc2.*"], width: larger', "fc2.bias can't be a head: its outputs are units of a group")
    await refuse('heads: [fc8.weight]', 'no-match: the pattern fc8.weight matches no tensor of a')
  }))

test('other structures are refused, and norms over all units keep their width', () =>
  inFolder(async (folder) => {
    const shapes: Shapes = { ...small(6, 5), 'norm.weight': [5], 'norm.bias': [5] }
    writeModel(path.join(folder, 'a.safetensors'), random(small(6, 5), 1))
    writeModel(path.join(folder, 'b.safetensors'), random({ ...small(6, 5), 'fc4.weight': [2, 3] }, 9))
    writeModel(path.join(folder, 'c.safetensors'), random(shapes, 3))
    writeModel(path.join(folder, 'd.safetensors'), random({ ...shapes, ...small(4, 5) }, 4))
    const spec = `{groups: {fc1: 6, fc2: 5}, tensors: {fc1.weight: [fc1], fc1.bias: [fc1], fc2.weight: [fc2, fc1], fc2.bias: [fc2], norm.weight: [fc2], norm.bias: [fc2], fc3.weight: [null, fc2]}}`
    const run = (models: string, more: string) => {
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {${models}}\nzip: {models: [${models.replaceAll(/: [^,]+/g, '')}], ${more}}\noutput: out.safetensors\n`,
      )
      return terge(['run', 'r.yml', '--force'], folder)
    }
    const other = await run('a: a.safetensors, b: b.safetensors', 'spec: chain')
    assert.match(other.err, "spec-misfit: a and b can't be zipped: a has no tensor fc4.weight, which b has")
    const normed = await run('c: c.safetensors, d: d.safetensors', `width: sum, spec: ${spec}`)
    assert.is(normed.code, 0, normed.err)
    assert.match(normed.err, 'zip-kept: zip keeps the width of fc2')
    const made = loadModel(path.join(folder, 'out.safetensors'))
    assert.equal([made.get('fc1.weight')!.shape, made.get('norm.weight')!.shape], [[10, 4], [5]])
  }))

test.run()

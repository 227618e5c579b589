/** Alignment by activations through the real command: results, records, and files that do not fit. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluate, linear, mlp, relu } from '../rebasin/forward.js'
import { loadModel, type Model } from '../rebasin/load.js'
import { f32, i64, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const FILES = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`))
const [A, B] = FILES
const MODELS = FILES.map((file) => loadModel(file))
const digits = loadModel(fixture('digits/test.safetensors'))
const SAMPLES = 120
const LAYERS = ['fc1', 'fc2', 'fc3', 'fc4']

/** What comes out of each hidden layer, after ReLU, for some digits. */
function activationsOf(model: Model): Record<string, RawTensor> {
  const rows = new Map(LAYERS.slice(0, 3).map((name) => [name, new Float32Array(SAMPLES * 256)]))
  for (let sample = 0; sample < SAMPLES; sample++) {
    let values: Float64Array = Float64Array.from(
      { length: 64 },
      (_, i) => digits.get('images')!.values[sample * 64 + i]! / 16,
    )
    for (const [name, into] of rows) {
      values = relu(linear(model, name, values))
      into.set(values, sample * 256)
    }
  }
  return Object.fromEntries([...rows].map(([name, values]) => [name, f32([SAMPLES, 256], values)]))
}

const [MEASURED_A, MEASURED_B] = MODELS.map(activationsOf)

const recipe = (method: string, more = '', output = 'out.safetensors'): string =>
  `terge: 1
models: {a: ${A}, b: ${B}}
rebasin: {model: b, onto: a, spec: chain, method: ${method}, ${more}}
merge: {method: linear}
output: ${output}
`
const STATISTICS = 'statistics: {a: a-act.safetensors, b: b-act.safetensors}'

const withActivations = (work: (folder: string, write: (text: string) => void) => Promise<void>) =>
  inFolder(async (folder) => {
    writeModel(path.join(folder, 'a-act.safetensors'), MEASURED_A!)
    writeModel(path.join(folder, 'b-act.safetensors'), MEASURED_B!)
    await work(folder, (text) => writeFileSync(path.join(folder, 'r.yml'), text))
  })

test('activation-matching and mixed: the midpoint reads digits, and the lineage has correlations and files', () =>
  withActivations(async (folder, write) => {
    const digests: string[] = []
    for (const method of ['activation-matching', 'mixed']) {
      write(recipe(method, STATISTICS))
      const planned = await terge(['plan', 'r.yml'], folder)
      assert.match(planned.out, new RegExp(`b onto a: ${method}, family chain`))
      assert.match(planned.out, 'activations: 3 tensors with 120 samples')
      const ran = await terge(['run', 'r.yml', '--threads', '2', '--force'], folder)
      assert.is(ran.code, 0, ran.err)
      assert.match(ran.out, /units moved, similarity 0\.0\d+ → 0\.\d+, correlation -?0\.0\d+ → 0\.[4-9]\d+,/)
      const { accuracy } = evaluate(digits, (pixels) =>
        mlp(loadModel(path.join(folder, 'out.safetensors')), LAYERS, pixels),
      )
      assert.ok(accuracy >= 0.96, `${method}: ${accuracy}`)
      const lineage = JSON.parse(readFileSync(path.join(folder, 'out.lineage.json'), 'utf8'))
      const step = lineage.steps['rebasin-b']
      assert.is(step.method, method)
      assert.ok(step.correlation.after > 0.4 && Math.abs(step.correlation.before) < 0.1)
      digests.push(lineage.output.digest)
      assert.is((await terge(['verify', 'out.safetensors'], folder)).code, 0)
      if (method === 'activation-matching') continue
      // The number of threads and the memory do not count, and a finished output is reused.
      const again = await terge(['run', 'r.yml', '--threads', '1', '--memory', '400MB', '--force'], folder)
      assert.is(again.code, 0, again.err)
      const { output } = JSON.parse(readFileSync(path.join(folder, 'out.lineage.json'), 'utf8'))
      assert.is(output.digest, digests.at(-1))
      assert.is((await terge(['run', 'r.yml', '--resume'], folder)).code, 0)
    }
    assert.is.not(digests[0], digests[1])
  }))

test('mixed matches groups without activations by their weights', () =>
  withActivations(async (folder, write) => {
    const { fc2: _, ...some } = MEASURED_A!
    writeModel(path.join(folder, 'a-act.safetensors'), some)
    const { fc2: __, ...others } = MEASURED_B!
    writeModel(path.join(folder, 'b-act.safetensors'), others)
    write(recipe('mixed', STATISTICS))
    assert.match((await terge(['plan', 'r.yml'], folder)).out, 'with 120 samples; by weights only: fc2')
    write(recipe('activation-matching', STATISTICS))
    const refused = await terge(['validate', 'r.yml'], folder)
    assert.match(refused.err, 'missing-statistics: the activations of b have no tensor for the group fc2')
  }))

test('files that do not fit are errors before anything is read', () =>
  withActivations(async (folder, write) => {
    const refuse = async (own: Record<string, RawTensor>, message: string | RegExp) => {
      writeModel(path.join(folder, 'b-act.safetensors'), own)
      write(recipe('mixed', STATISTICS))
      const found = await terge(['validate', 'r.yml'], folder)
      assert.match(found.err, message)
      return found.code
    }
    const own = MEASURED_B!
    assert.is(
      await refuse(
        { ...own, fc1: f32([119, 256], new Float32Array(119 * 256)) },
        'bad-statistics: fc1 is [119, 256] for b but [120, 256] for a',
      ),
      2,
    )
    assert.is(
      await refuse(
        { ...own, fc1: f32([120, 255], new Float32Array(120 * 255)) },
        'fc1 is [120, 255] but must be [samples, 256]',
      ),
      2,
    )
    assert.is(
      await refuse({ ...own, 'fc1@x': own.fc1! }, 'bad-statistics: the activations of a have no tensor fc1@x'),
      2,
    )
    assert.is(
      await refuse({ ...own, fc1: i64([120, 256], new Array(120 * 256).fill(1n)) }, 'the activations in fc1 are I64'),
      2,
    )
    assert.is(
      await refuse({ ...own, fc9: own.fc1! }, 'foreign-statistics: the activations of b have 1 tensor that belong'),
      0,
    )
    const empty = { ...own, fc2: f32([120, 256], new Float32Array(120 * 256).fill(Number.POSITIVE_INFINITY)) }
    writeModel(path.join(folder, 'b-act.safetensors'), empty)
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 2)
    assert.match(ran.err, 'the activations of b have values in fc2 that are not finite')
  }))

test('keys that do not go together', () =>
  withActivations(async (folder, write) => {
    const refuse = async (method: string, more: string, message: string) => {
      write(recipe(method, more))
      const found = await terge(['validate', 'r.yml'], folder)
      assert.is(found.code, 2)
      assert.match(found.err, message)
    }
    await refuse('mixed', '', 'mixed needs the activations of both models')
    await refuse('weight-matching', STATISTICS, 'weight-matching does not use statistics')
    await refuse('mixed', 'statistics: {a: x.safetensors, c: y.safetensors}', "'c' is not one of the models")
    await refuse('mixed', 'statistics: {a: a-act.safetensors, b: a-act.safetensors}', 'have the same activations file')
  }))

test('symmetry: orthogonal uses labels, and names the ones that it lacks', () =>
  inFolder(async (folder) => {
    const text = (method: string) =>
      `terge: 1\nmodels: {a: ${fixture('lm/base')}, b: ${fixture('lm/indep')}}\nrebasin: {model: b, onto: a, symmetry: orthogonal, max_iterations: 2, method: ${method}, ${STATISTICS}}\nmerge: {method: linear}\noutput: out\n`
    const measured = (seed: number) => ({
      'hidden@model.norm.in': f32([64, 96], numbers(64 * 96, seed)),
      'layers.0.ffn@model.layers.0.mlp.up_proj': f32([64, 256], numbers(64 * 256, seed + 1)),
      // After a norm's weights: of no use here.
      'hidden@model.norm': f32([64, 96], numbers(64 * 96, seed + 2)),
    })
    writeModel(path.join(folder, 'a-act.safetensors'), measured(1))
    writeModel(path.join(folder, 'b-act.safetensors'), measured(7))
    writeFileSync(path.join(folder, 'r.yml'), text('activation-matching'))
    const refused = await terge(['validate', 'r.yml'], folder)
    assert.is(refused.code, 2)
    assert.match(
      refused.err,
      'missing-statistics: the activations of b have no tensor for model.layers.0.self_attn.q_proj and 14 other places',
    )
    writeFileSync(path.join(folder, 'r.yml'), text('mixed'))
    const planned = await terge(['plan', 'r.yml'], folder)
    assert.match(planned.out, 'b onto a: mixed, orthogonal, family llama')
    assert.match(planned.out, 'activations: 2 tensors with 64 samples')
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.out, /residual stream of 96 rotated, similarity 0\.\d+ → 0\.\d+, correlation -?0\.\d+ → 0\.\d+/)
  }))

/** A Python with torch and safetensors, if this machine has one. */
const python = [process.env.TERGE_TEST_PYTHON, 'python3'].find(
  (name) => name && spawnSync(name, ['-c', 'import torch, safetensors.torch']).status === 0,
)

test('the documented script writes activations that align a shuffled network', () =>
  inFolder(async (folder) => {
    if (python === undefined) return
    const docs = readFileSync(fixture('../../docs/statistics.md'), 'utf8')
    const script = /```python\n(# terge inspect[\s\S]*?)```/.exec(docs)![1]!
    writeFileSync(
      path.join(folder, 'activations.py'),
      script.replace('torch.rand(', 'torch.manual_seed(1); batches = torch.rand('),
    )
    const values = [
      f32([32, 64], numbers(2048, 1)),
      f32([32], numbers(32, 2)),
      f32([10, 32], numbers(320, 3)),
      f32([10], numbers(10, 4)),
    ]
    const [w, b, v, c] = values
    const rows = (tensor: RawTensor, turn: (row: Uint8Array[]) => Uint8Array[]) => {
      const width = tensor.bytes.length / 32
      const all = Array.from({ length: 32 }, (_, i) => tensor.bytes.slice(i * width, (i + 1) * width))
      return { ...tensor, bytes: Uint8Array.from(turn(all).flatMap((row) => [...row])) }
    }
    const columns = (tensor: RawTensor) => {
      const all = Array.from({ length: 320 }, (_, i) => tensor.bytes.slice(i * 4, i * 4 + 4))
      const turned = all.map((_, i) => all[Math.floor(i / 32) * 32 + (31 - (i % 32))]!)
      return { ...tensor, bytes: Uint8Array.from(turned.flatMap((row) => [...row])) }
    }
    writeModel(path.join(folder, 'a.safetensors'), { '0.weight': w!, '0.bias': b!, '2.weight': v!, '2.bias': c! })
    const back = (row: Uint8Array[]) => row.reverse()
    const other = { '0.weight': rows(w!, back), '0.bias': rows(b!, back), '2.weight': columns(v!), '2.bias': c! }
    writeModel(path.join(folder, 'b.safetensors'), other)
    const spec = { groups: { h: 32 }, tensors: { '0.weight': ['h'], '0.bias': ['h'], '2.weight': [null, 'h'] } }
    writeFileSync(path.join(folder, 'spec.json'), JSON.stringify(spec))
    for (const name of ['a', 'b']) {
      const made = spawnSync(python, ['activations.py', `${name}.safetensors`, `${name}-act.safetensors`], {
        cwd: folder,
      })
      assert.is(made.status, 0, String(made.stderr))
    }
    const text = `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nrebasin: {model: b, onto: a, spec: spec.json, method: activation-matching, ${STATISTICS}}\nmerge: {method: linear}\noutput: out.safetensors\n`
    writeFileSync(path.join(folder, 'r.yml'), text)
    const ran = await terge(['run', 'r.yml'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.out, '32 of 32 units moved, similarity')
    for (const [name, { values }] of loadModel(path.join(folder, 'out.safetensors')))
      assert.equal(values, loadModel(path.join(folder, 'a.safetensors')).get(name)!.values)
  }))

test.run()

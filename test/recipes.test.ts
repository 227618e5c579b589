/** Every recipe of recipes/ is valid without a warning, plans, runs, and its result is what its lineage says. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inspect, type Lineage, load, plan, run, validate, verify } from '../src/index.js'
import { inFolder } from './support/files.js'

const recipes = fileURLToPath(new URL('../../recipes/', import.meta.url))
const files = readdirSync(recipes, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.ya?ml$/.test(name))
  .sort()

/** These show what becomes of models that lack tensors: a warning counts them. */
const LACKING = ['crop.yml', 'different-architectures.yml']

/** Runs one with its outputs in `folder`: the text is the file's but for its `out/`. */
async function runInto(folder: string, name: string) {
  const file = path.join(recipes, name)
  const text = readFileSync(file, 'utf8').replaceAll(/(?<=[ :])out\//g, `${folder}/`)
  const prepared = await plan(file, { text })
  assert.ok(
    prepared.bindings.outputs.every((output) => output.startsWith(folder)),
    `${name}: outputs go to out/`,
  )
  return { prepared, ...(await run(prepared, { threads: 2, sync: false, commands: 'run' })) }
}

const outputsOf = mkdtempSync(path.join(os.tmpdir(), 'terge-recipes-'))
test.after(() => rmSync(outputsOf, { recursive: true, force: true }))
const results = new Map<string, ReturnType<typeof runInto>>()
/** What a recipe makes; each one is run once, by the first test that asks for it. */
function made(name: string): ReturnType<typeof runInto> {
  const folder = path.join(outputsOf, `${results.size}`)
  const known = results.get(name)
  if (known) return known
  mkdirSync(folder)
  const result = runInto(folder, name)
  results.set(name, result)
  return result
}

test('there are recipes, the quickstart among them', () => {
  assert.ok(files.length > 10)
  assert.ok(files.includes(path.join('quickstart', 'rebasin.yml')))
})

for (const name of files) {
  test(`${name}: valid, planned, run, verified`, async () => {
    const file = path.join(recipes, name)
    assert.match(
      readFileSync(file, 'utf8'),
      /^# yaml-language-server: \$schema=(\.\.\/)+schemas\/recipe\.v1\.schema\.json\n#/,
    )
    assert.equal(load(file).diagnostics, [])
    const { diagnostics } = await validate(file)
    assert.equal(
      diagnostics.map(({ code }) => code),
      LACKING.includes(name) ? ['unmerged-tensors'] : [],
    )
    const { outputs } = await made(name)
    for (const output of outputs) {
      if (!output.lineage.output.dropped) {
        const checkpoint = await inspect(output.path)
        assert.is(checkpoint.tensors.size, output.lineage.output.tensors)
      }
      const verified = await verify(output.lineagePath, { recipeFolder: path.dirname(file) })
      assert.equal(verified.problems, [])
      assert.ok(verified.ok)
    }
  })
}

const evaluate = (...checkpoints: string[]): string =>
  execFileSync(process.execPath, [path.join(recipes, 'quickstart/evaluate.mjs'), ...checkpoints], { encoding: 'utf8' })

test('quickstart: the evaluation reads trained models well, and their plain average worse', async () => {
  const models = ['mlp-0', 'mlp-1'].map((name) => path.join(recipes, `quickstart/models/${name}.safetensors`))
  const { outputs } = await made(path.join('quickstart', 'average.yml'))
  const [first, second, average] = [...models, outputs[0]!.path].map((file) => JSON.parse(evaluate(file)).accuracy)
  assert.equal([first, second], [351 / 360, 353 / 360])
  assert.equal(average, 330 / 360)
  assert.match(evaluate(...models), /^0\.975 {2}.*mlp-0\.safetensors\n0\.981 {2}.*mlp-1\.safetensors\n$/)
})

test('quickstart: aligned, the average reads as well as its parts', async () => {
  const { outputs } = await made(path.join('quickstart', 'rebasin.yml'))
  const [naive, aligned] = outputs.map(({ lineage }) => lineage.evaluations!)
  assert.is(naive!.accuracy, 330 / 360)
  assert.ok(aligned!.accuracy! >= 0.975 && aligned!.loss! <= 0.09, JSON.stringify(aligned))
})

test('quickstart: a mixture has the MLPs of its experts, and a router of two rows in each layer', async () => {
  const { outputs } = await made(path.join('quickstart', 'mixture.yml'))
  const { lineage } = outputs[0]!
  for (const layer of [0, 1, 2, 3]) {
    for (const [expert, model] of ['python', 'c'].entries()) {
      const { sources, reason } = lineage.tensors[`model.layers.${layer}.block_sparse_moe.experts.${expert}.w2.weight`]!
      assert.equal([sources[0]!.model, sources[0]!.tensor], [model, `model.layers.${layer}.mlp.down_proj.weight`])
      assert.is(reason, 'expert')
    }
    assert.equal(lineage.tensors[`model.layers.${layer}.block_sparse_moe.gate.weight`]!.shape, [2, 96])
  }
})

test('quickstart: the same from a program', () =>
  inFolder(async (folder) => {
    const words = [path.join(recipes, 'quickstart/merge.mjs'), path.join(folder, 'out.safetensors')]
    const env = { ...process.env, FORCE_COLOR: '0' }
    const told = execFileSync(process.execPath, words, { encoding: 'utf8', env })
    assert.is(told, '{ read: 1206352, write: 603176 }\nstarted\nfirst 0.75, second 0.25\ntrue\n')
  }))

const weights = (lineage: Lineage, tensor: string) => lineage.tensors[tensor]!.sources.map(({ weight }) => weight)

test('different architectures: weights renormalised over the models that have the tensor', async () => {
  const { outputs } = await made('different-architectures.yml')
  const { lineage } = outputs[0]!
  assert.equal(weights(lineage, 'fc1.weight'), [0.5, 0.25, 0.25])
  assert.equal(weights(lineage, 'fc3.weight'), [2 / 3, 1 / 3])
  assert.equal(lineage.tensors['fc3.weight']!.absent, [{ model: 'small', reason: 'missing' }])
  assert.equal(lineage.tensors['fc4.bias']!.absent, [{ model: 'small', reason: 'shape' }])
})

test('rules: a rule lies over the settings of merge, gradients run over the layers', async () => {
  const { lineage } = (await made('rules.yml')).outputs[0]!
  assert.equal(weights(lineage, 'lm_head.weight'), [0.5, 0.25, 0.25])
  assert.equal(weights(lineage, 'model.layers.0.self_attn.q_proj.weight'), [1 / 1.5, 0, 0.5 / 1.5])
  assert.equal(weights(lineage, 'model.layers.3.self_attn.q_proj.weight'), [0, 1 / 1.5, 0.5 / 1.5])
  const { method, parameters } = lineage.tensors['model.layers.1.mlp.down_proj.weight']!
  assert.equal([method, parameters], ['slerp', { t: 0.25 }])
})

test('dtype and shards: every file within its size, every tensor cast, the text in the headers', async () => {
  const checkpoint = await inspect((await made('dtype-and-shards.yml')).outputs[0]!.path)
  assert.ok(checkpoint.files.length > 1)
  assert.ok(checkpoint.files.every(({ size, headerBytes }) => size - headerBytes <= 300_000))
  assert.ok([...checkpoint.tensors.values()].every(({ dtype }) => dtype === 'F16'))
  assert.is(checkpoint.metadata.purpose, 'an example of shards')
})

test('filters: what is copied, and why', async () => {
  const { lineage } = (await made('filters.yml')).outputs[0]!
  assert.is(lineage.tensors['model.norm.weight']!.reason, 'not-included')
  assert.is(lineage.tensors['model.layers.0.input_layernorm.weight']!.reason, 'excluded')
  assert.is(lineage.tensors['lm_head.weight']!.method, 'linear')
})

test.run()

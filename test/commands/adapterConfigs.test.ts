/** Merged adapters have configurations and names with which PEFT loads all of their tensors. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, run } from '../../src/index.js'
import { mergedConfig } from '../../src/steps/merge/adapters/config.js'
import { savedAs } from '../../src/steps/merge/adapters/saved.js'
import { matrix, stored, writeAdapter } from '../support/adapters.js'
import { inFolder, type RawTensor, safetensors } from '../support/files.js'
import { tensorsOf } from '../support/lowRank.js'
import { terge } from '../support/terge.js'

const P = 'base_model.model.'
const numbers = (shape: readonly number[], seed: number) => stored(matrix(shape, seed))

const CONFIG = { r: 2, lora_alpha: 2, target_modules: ['q'] }

/** Writes two adapters, and merges them. */
async function merge(
  folder: string,
  [a, b]: readonly (readonly [tensors: Record<string, ReturnType<typeof numbers>>, config: Record<string, unknown>])[],
  settings: Record<string, unknown>,
) {
  writeAdapter(path.join(folder, 'a'), a![0], { ...CONFIG, ...a![1] })
  writeAdapter(path.join(folder, 'b'), b![0], { ...CONFIG, ...b![1] })
  const recipe = { terge: 1, models: { a: 'a', b: 'b' }, merge: settings, output: 'out' }
  writeFileSync(path.join(folder, 'r.yml'), JSON.stringify(recipe))
  const ran = await terge(['run', 'r.yml', '--force'], folder)
  if (ran.code !== 0) return { ...ran, tensors: new Map(), config: {} }
  const config = JSON.parse(readFileSync(path.join(folder, 'out/adapter_config.json'), 'utf8'))
  return { ...ran, tensors: await tensorsOf(path.join(folder, 'out')), config }
}

const layer = (module: string, seed: number) => ({
  [`${P}${module}.lora_A.weight`]: numbers([2, 4], seed),
  [`${P}${module}.lora_B.weight`]: numbers([4, 2], seed + 1),
})

test('the weight of an embedding beneath its update stays there, whatever the weights of the adapters', () =>
  inFolder(async (folder) => {
    const embedding = (seed: number, base: number) => ({
      [`${P}wte.lora_embedding_A`]: numbers([2, 6], seed),
      [`${P}wte.lora_embedding_B`]: numbers([4, 2], seed + 1),
      [`${P}wte.base_layer.weight`]: numbers([6, 4], base),
    })
    const config = { target_modules: ['wte'] }
    const weights = { method: 'task_arithmetic', weights: { a: 0.5, b: 0.7 } }
    const same = await merge(
      folder,
      [
        [embedding(1, 9), config],
        [embedding(3, 9), config],
      ],
      weights,
    )
    assert.is(same.code, 0, same.err)
    assert.equal(same.tensors.get(`${P}wte.base_layer.weight`)!.values, Float64Array.from(matrix([6, 4], 9).values))
    assert.equal([same.config.modules_to_save, same.config.target_modules], [null, ['wte']])
    const other = await merge(
      folder,
      [
        [embedding(1, 9), config],
        [embedding(3, 8), config],
      ],
      weights,
    )
    assert.match(other.err, 'error adapter-whole: wte.weight is saved whole')
    const tied = { ...config, ensure_weight_tying: true }
    const mixed = await merge(
      folder,
      [
        [embedding(1, 9), tied],
        [embedding(3, 9), config],
      ],
      weights,
    )
    assert.match(mixed.err, "error adapter-arithmetic: 'a' changes a tied head with its embedding")
  }))

test('changes of biases are in all layers of the result or in none; layers that are left out are not targets', () =>
  inFolder(async (folder) => {
    const a = { ...layer('0.q', 1), [`${P}0.q.lora_B.bias`]: numbers([4], 5) }
    const b = { ...layer('0.q', 3), ...layer('1.q', 6) }
    const own = [
      [a, { lora_bias: true }],
      [b, { eva_config: { rho: 2 }, target_parameters: ['x.y'] }],
    ] as const
    const both = await merge(folder, own, { method: 'task_arithmetic', weights: { a: 0.5, b: 0.7 } })
    assert.is(both.code, 0, both.err)
    assert.match(
      both.err,
      'warning adapter-bias: the result has changes of biases (lora_bias), which PEFT keeps in all layers: 1 layer',
    )
    assert.equal([...both.tensors.get(`${P}1.q.lora_B.bias`)!.values], [0, 0, 0, 0])
    assert.is(both.config.lora_bias, true)
    const [one, two] = [...own].reverse()
    const less = { method: 'task_arithmetic', weights: { a: 0.7, b: 0 }, filters: { exclude: ['0.q.weight'] } }
    const left = await merge(folder, [one!, two!], less)
    assert.is(left.code, 0, left.err)
    assert.equal([...left.tensors.keys()], [`${P}1.q.lora_A.weight`, `${P}1.q.lora_B.weight`])
    assert.equal(left.config.target_modules, ['1.q'])
    assert.equal([left.config.target_parameters, left.config.eva_config], [null, undefined])
  }))

test('tensors that were saved whole have the names that PEFT gives them', () => {
  const none = { ...{ left: [], ties: undefined }, hasBiases: false, isDora: false }
  // PEFT copies a classifier as one module, which has other modules inside.
  const head = ['classifier.dense.weight', 'classifier.dense.bias', 'classifier.out_proj.weight']
  const configs = [{ modules_to_save: ['classifier', 'score'] }]
  assert.equal(savedAs(head, head, new Set(), configs).modules, ['classifier'])
  assert.equal(savedAs(head.slice(0, 2), head, new Set(), configs).modules, ['classifier.dense'])
  const biases = ['0.q.bias', '0.norm.bias']
  const saved = savedAs(biases, biases, new Set(['0.q']), [{ bias: 'all' }])
  assert.equal([...saved.names.values()], ['0.q.base_layer.bias', '0.norm.bias'])
  assert.equal([saved.modules, saved.bias], [[], 'all'])
  assert.is(savedAs(biases.slice(0, 1), biases, new Set(['0.q']), [{ bias: 'lora_only' }]).bias, 'lora_only')
  const made = mergedConfig([{ lora_bias: true }], [{ module: '0.q', rank: 1, scale: 1 }], { saved, ...none })
  assert.equal([made.bias, made.modules_to_save, made.lora_bias], ['all', null, false])
})

test('a module that is saved whole has its unchanged tensors too, and a task needs its whole head', () =>
  inFolder(async (folder) => {
    const counts: RawTensor = { dtype: 'I64', shape: [], bytes: new Uint8Array(8) }
    const model = (seed: number) => ({
      'conv.weight': numbers([4, 2, 1, 1], seed),
      'norm.weight': numbers([4], seed + 1),
      'norm.num_batches_tracked': counts,
      'classifier.weight': numbers([3, 4], seed + 2),
    })
    const architectures = ['XForSequenceClassification']
    for (const [name, seed] of [
      ['base', 1],
      ['tuned', 5],
    ] as const) {
      mkdirSync(path.join(folder, name))
      writeFileSync(path.join(folder, name, 'model.safetensors'), safetensors(model(seed)))
      writeFileSync(path.join(folder, name, 'config.json'), JSON.stringify({ architectures }))
    }
    const lora = { from: 'tuned', base: 'base', rank: 2, modules_to_save: true }
    const models = { base: 'base', tuned: 'tuned' }
    const recipe = { terge: 1, models, steps: { a: { extract: { lora } } }, output: { path: 'out', from: 'a' } }
    writeFileSync(path.join(folder, 'r.yml'), JSON.stringify(recipe))
    await run(await plan(path.join(folder, 'r.yml')), { threads: 1, sync: false })
    const made = await tensorsOf(path.join(folder, 'out'))
    assert.ok(made.has(`${P}norm.num_batches_tracked`))
    const config = JSON.parse(readFileSync(path.join(folder, 'out/adapter_config.json'), 'utf8'))
    assert.equal([config.task_type, config.modules_to_save], [null, ['norm']])
    const head = ['classifier.weight']
    const saved = (whole: readonly string[]) => savedAs(whole, head, new Set(), [{ task_type: 'SEQ_CLS' }]).task
    assert.equal([saved(head), saved([])], ['SEQ_CLS', null])
  }))

test.run()

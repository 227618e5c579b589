/** Adapters that change matrices as parameters, such as routers: merged with each other they stay parameters. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, run } from '../../src/index.js'
import { matrix, product } from '../reference/linalg.js'
import { f32Of, inFolder, type RawTensor, random, tensorsOf, writeModel } from '../support/files.js'

const MLP = 'base_model.model.model.layers.0.mlp'

/** An adapter of PEFT: a layer, a router, and a stack of two experts. */
function writeAdapter(
  folder: string,
  name: string,
  seed: number,
  rank: number,
  router: number,
): Map<string, RawTensor> {
  const tensors = new Map(
    Object.entries({
      'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight': [rank, 6],
      'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight': [6, rank],
      [`${MLP}.gate.lora_A.weight`]: [router, 6],
      [`${MLP}.gate.lora_B.weight`]: [3, router],
      [`${MLP}.experts.lora_A.weight`]: [2 * rank, 4],
      [`${MLP}.experts.lora_B.weight`]: [6, 2 * rank],
    }).map(([stored, shape], i) => [stored, random(shape, seed + i)] as const),
  )
  mkdirSync(path.join(folder, name))
  writeModel(path.join(folder, name, 'adapter_model.safetensors'), Object.fromEntries(tensors))
  const config = {
    ...{ peft_type: 'LORA', peft_version: '0.21.0', r: rank, lora_alpha: 2 * rank, target_modules: ['q_proj'] },
    target_parameters: ['experts.down_proj', 'gate.weight'],
    ...{ rank_pattern: { 'gate.weight': router }, alpha_pattern: { 'gate.weight': 5 } },
  }
  writeFileSync(path.join(folder, name, 'adapter_config.json'), JSON.stringify(config))
  return tensors
}

/** The update B·A of a router. */
function updateOf(tensors: ReadonlyMap<string, RawTensor>, rank: number): number[] {
  const factor = (name: string, rows: number, columns: number) => {
    const own = tensors.get(`${MLP}.gate.lora_${name}.weight`)!
    assert.equal(own.shape, [rows, columns])
    return matrix(rows, columns, f32Of(own))
  }
  return [...product(factor('B', 3, rank), factor('A', rank, 6)).values]
}

test('routers of different ranks', () =>
  inFolder(async (folder) => {
    const a = writeAdapter(folder, 'a', 1, 2, 1)
    const b = writeAdapter(folder, 'b', 50, 3, 2)
    const recipe = path.join(folder, 'r.yml')
    writeFileSync(
      recipe,
      'terge: 1\nmodels: {a: ./a, b: ./b}\nmerge: {method: linear, weights: {a: 0.4, b: 0.6}, rank: full}\noutput: ./both\n',
    )
    await run(await plan(recipe))
    const config = JSON.parse(readFileSync(path.join(folder, 'both/adapter_config.json'), 'utf8'))
    assert.equal(config.target_modules, ['q_proj'])
    assert.equal(config.target_parameters, ['experts.down_proj', 'gate.weight'])
    const name = 'model.layers.0.mlp.gate.weight'
    const rank = config.rank_pattern[name] ?? config.r
    assert.is(rank, 3)
    const scale = (config.alpha_pattern[name] ?? config.lora_alpha) / rank
    const made = updateOf(new Map(Object.entries(tensorsOf(path.join(folder, 'both')))), rank)
    const [first, second] = [a, b].map((own, i) => updateOf(own, i + 1).map((value) => (value * 5) / (i + 1)))
    for (const [at, value] of made.entries())
      assert.ok(Math.abs(scale * value - (0.4 * first![at]! + 0.6 * second![at]!)) < 1e-5)
  }))

test.run()

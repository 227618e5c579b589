/** Adapters that change matrices as parameters, such as routers: merged with each other they stay parameters. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inspect, plan, run } from '../../src/index.js'
import { f32Of, inFolder, type RawTensor, random, writeModel } from '../support/files.js'

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

/** B·A of matrices that are stored by rows. */
function product(b: readonly number[], a: readonly number[], rank: number): number[] {
  const [rows, columns] = [b.length / rank, a.length / rank]
  return Array.from({ length: rows * columns }, (_, at) => {
    let sum = 0
    for (let r = 0; r < rank; r++) sum += b[Math.floor(at / columns) * rank + r]! * a[r * columns + (at % columns)]!
    return sum
  })
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
    const { stored } = await inspect(path.join(folder, 'both'))
    const content = readFileSync(path.join(folder, 'both/adapter_model.safetensors'))
    const floats = (name: string): number[] => {
      const { offset, bytes } = stored.get(name)!
      return [
        ...new Float32Array(content.buffer.slice(content.byteOffset + offset, content.byteOffset + offset + bytes)),
      ]
    }
    const name = 'model.layers.0.mlp.gate.weight'
    const rank = config.rank_pattern[name] ?? config.r
    assert.is(rank, 3)
    const scale = (config.alpha_pattern[name] ?? config.lora_alpha) / rank
    const made = product(floats(`${MLP}.gate.lora_B.weight`), floats(`${MLP}.gate.lora_A.weight`), rank)
    const [first, second] = [a, b].map((own, i) => {
      const [left, right] = ['B', 'A'].map((factor) => [...f32Of(own.get(`${MLP}.gate.lora_${factor}.weight`)!)])
      return product(left!, right!, i + 1).map((value) => (value * 5) / (i + 1))
    })
    for (const [at, value] of made.entries())
      assert.ok(Math.abs(scale * value - (0.4 * first![at]! + 0.6 * second![at]!)) < 1e-5)
  }))

test.run()

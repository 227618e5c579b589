/** Weights per block of a UNet: the same tensors as in SuperMerger, in original files and in diffusers, and refusals. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import type { MergeExpr } from '../../src/expr/types.js'
import { plan } from '../../src/session/plan.js'
import { type DiffusionKind, diffusionModel, moduleOf, originalNames, type RawTensors } from '../support/diffusion.js'
import { f32, inFolder, writeModel } from '../support/files.js'

/** `blockfromkey` of SuperMerger, as the place in its list: 0 is BASE. */
function superMerger(key: string, kind: DiffusionKind): number {
  if (kind === 'sdxl') {
    if (/label_emb|time_embed/.test(key)) return 1
    if (/conditioner\.embedders\.|first_stage_model/.test(key)) return 0
    if (key.includes('model.diffusion_model.out.')) return 19
    const [, block, number] = /(input|middle|output)_blocks?\.(\d+)/.exec(key)!
    return block === 'middle' ? 10 : Number(number) + (block === 'input' ? 1 : 11)
  }
  if (key.includes('time_embed')) return 1
  if (key.includes('.out.')) return 25
  const [, block, number] = /\.(input_blocks|middle_block|output_blocks)\.(\d+)\./.exec(key) ?? []
  if (!block) return 0
  return block === 'middle_block' ? 13 : Number(number) + (block === 'input_blocks' ? 1 : 14)
}

/** The weight of `b` by tensor, of a merge with this recipe. */
async function weightsOf(model: RawTensors, merge: string): Promise<ReadonlyMap<string, number>> {
  return inFolder(async (folder) => {
    writeModel(path.join(folder, 'model.safetensors'), model)
    const file = path.join(folder, 'recipe.yml')
    writeFileSync(
      file,
      `terge: 1\nmodels: {a: model.safetensors, b: {path: model.safetensors}}\nbase: a\nmerge: ${merge}\noutput: out.safetensors\n`,
    )
    const { plan: made } = await plan(file)
    return new Map(
      made.outputs[0]!.tensors.map(({ name, expr }) => {
        const { weights } = expr as MergeExpr
        return [name, weights.at(-1)!]
      }),
    )
  })
}

const fails = async (model: RawTensors, merge: string): Promise<readonly (string | undefined)[]> => {
  try {
    await weightsOf(model, merge)
  } catch (error) {
    if (error instanceof Fault) return error.diagnostics.flatMap(({ code, message, hint }) => [code, message, hint])
    throw error
  }
  return []
}

const counting = (count: number): number[] => Array.from({ length: count }, (_, index) => 0.01 + index / 100)
const taskArithmetic = (weight: string): string => `{method: task_arithmetic, models: [b], weights: {b: ${weight}}}`

for (const [kind, count] of [
  ['sd15', 26],
  ['sdxl', 20],
] as const) {
  const { diffusers, original } = diffusionModel(kind)
  const numbers = counting(count)
  const [base, ...blocks] = numbers
  const written = taskArithmetic(`{mbw: [${numbers}]}`)

  test(`${kind}: ${count} numbers in an original file`, async () => {
    const weights = await weightsOf(original, written)
    assert.is(weights.size, Object.keys(original).length)
    for (const [name, weight] of weights) assert.is(weight, numbers[superMerger(name, kind)], name)
    assert.equal(weights, await weightsOf(original, taskArithmetic(`{mbw: [${blocks}], base: ${base}}`)))
  })

  test(`${kind}: the same numbers in a pipeline of diffusers and in a UNet alone`, async () => {
    const names = originalNames(kind)
    const weights = await weightsOf(diffusers, written)
    assert.is(weights.size, Object.keys(diffusers).length)
    for (const [name, weight] of weights) assert.is(weight, numbers[superMerger(names.get(name)!, kind)], name)
    const alone = await weightsOf(moduleOf(diffusers, 'unet.'), written)
    for (const [name, weight] of alone) assert.is(weight, weights.get(`unet.${name}`), name)
  })
}

test('parameters take numbers per block, for all models or for one', async () => {
  const { original } = diffusionModel('sd15')
  const bare = moduleOf(original, 'model.diffusion_model.')
  const list = `{mbw: [${counting(25)}], base: 0.9}`
  await inFolder(async (folder) => {
    writeModel(path.join(folder, 'm.safetensors'), bare)
    for (const merge of [
      `{method: slerp, models: [a, b], parameters: {t: ${list}}}`,
      `{method: ties, models: [b], parameters: {density: ${list}}}`,
      `{method: ties, models: [b], parameters: {density: {b: ${list}}}}`,
    ]) {
      const file = path.join(folder, 'r.yml')
      const models = 'models: {a: m.safetensors, b: {path: m.safetensors}}'
      writeFileSync(file, `terge: 1\n${models}\nbase: a\nmerge: ${merge}\noutput: out.safetensors\n`)
      const { plan: made } = await plan(file)
      const found = new Map(made.outputs[0]!.tensors.map(({ name, expr }) => [name, (expr as MergeExpr).parameters]))
      const value = (name: string): unknown => {
        const { t, density } = found.get(name)! as Record<string, unknown>
        return t ?? (density as number[])[0]
      }
      assert.equal([value('time_embed.0.weight'), value('middle_block.1.norm.bias')], [0.01, 0.13])
    }
  })
})

test('wrong numbers are refused', async () => {
  const { original } = diffusionModel('sdxl')
  const forms = 'write 25 numbers for Stable Diffusion 1 and 2, 19 for SDXL, or one more with BASE first'
  const tried = (weight: string) => fails(original, taskArithmetic(weight))
  assert.equal(await tried(`{mbw: [${counting(24)}]}`), ['block-weights', 'mbw has 24 numbers', forms])
  assert.equal(await tried(`{mbw: [${counting(19)}]}`), [
    'block-weights',
    'mbw has 19 numbers, and none of them is for tensors outside blocks',
    'add base: NUMBER, or write BASE as the first number',
  ])
  assert.equal(await tried(`{mbw: [${counting(20)}], base: 1}`), [
    'block-weights',
    'mbw has 20 numbers, of which the first is BASE',
    'remove base',
  ])
  assert.equal(await tried(`{mbw: [${counting(26)}]}`), [
    'block-weights',
    'mbw has 25 numbers, up to OUT11, but the UNet of a has 19 blocks, up to OUT08',
    `other tools drop blocks from such a list: mbw: [${[...counting(10), ...counting(26).slice(13, 23)].join(', ')}]`,
  ])
  assert.equal(await fails({ 'layers.0.weight': f32([1], [1]) }, taskArithmetic(`{mbw: [${counting(20)}]}`)), [
    'block-weights',
    'a has no UNet of Stable Diffusion, so it has no blocks for mbw',
    'write rules with patterns instead of mbw',
  ])
})

test.run()

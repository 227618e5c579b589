/** `terge import --mbw`: lists of block weights in the forms that people have, and what the recipe computes. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../src/checkpoints/open.js'
import { diffusionModel, moduleOf, type RawTensors } from '../support/diffusion.js'
import { inFolder, writeModel } from '../support/files.js'
import { readTensors } from '../support/layouts.js'
import { terge } from '../support/terge.js'

const unetOf = (kind: 'sd15' | 'sdxl', seed: number): RawTensors =>
  moduleOf(diffusionModel(kind, seed).original, 'model.diffusion_model.')

const RAMP = Array.from({ length: 25 }, (_, index) => Math.abs(12 - index) / 16)
const listed = (numbers: readonly number[]): string => `[${numbers.join(', ')}]`

/** Lines of presets as SuperMerger keeps them, with a heading and other lines. */
const PRESETS = `preset_name\tpreset_weights\nRAMP\t0.5,${RAMP}\nOTHER:${RAMP.map(() => 1)}\n\nRANDOM\t0,R,R,U\n`

async function imports(folder: string, ...args: string[]): Promise<string> {
  const { code, out, err } = await terge(['import', ...args], folder)
  assert.equal([code, err], [0, ''])
  return out
}

test('numbers, files with numbers, presets and merged files give the same recipe', async () => {
  await inFolder(async (folder) => {
    const file = (name: string): string => path.join(folder, name)
    writeModel(file('a.safetensors'), unetOf('sd15', 1))
    writeFileSync(file('presets.txt'), PRESETS)
    writeFileSync(file('numbers.txt'), `0.5,\n${RAMP.join(' ')}\n`)
    const noted = { mbw: true, mode: 'Weight sum', calcmode: 'normal', weights_alpha_orig: `0.5,${RAMP}` }
    writeMerged(file('merged.safetensors'), { type: 'sd-webui-supermerger', elemental_merge: '', ...noted })
    const models = ['a.safetensors', 'b.safetensors']
    const recipe = await imports(folder, '--mbw', `0.5, ${RAMP}`, ...models)
    assert.is(
      recipe,
      `# Weights per block: a + α (b − a).
terge: 1
models:
  a: a.safetensors
  b: b.safetensors
base: a
merge:
  method: task_arithmetic
  models: [b]
  weights:
    b:
      # BASE, IN00 to IN11, M00, OUT00 to OUT11
      mbw: ${listed([0.5, ...RAMP])}
output: merged.safetensors
`,
    )
    assert.is(await imports(folder, '--mbw', `${RAMP}`, '--mbw-base', '0.5', ...models), recipe)
    for (const given of ['presets.txt:RAMP', 'numbers.txt', 'merged.safetensors'])
      assert.is(await imports(folder, '--mbw', given, ...models), recipe, given)
  })
})

/** A safetensors file without tensors, with the metadata of SuperMerger. */
function writeMerged(file: string, recipe: object): void {
  const metadata = JSON.stringify({ __metadata__: { sd_merge_recipe: JSON.stringify(recipe) } })
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(metadata.length))
  writeFileSync(file, Buffer.concat([length, Buffer.from(metadata)]))
}

test('a list for Stable Diffusion 1 is shortened for SDXL, and three models add a difference', async () => {
  await inFolder(async (folder) => {
    writeModel(path.join(folder, 'xl.safetensors'), unetOf('sdxl', 1))
    const recipe = await imports(folder, '--mbw', `0.5,${RAMP}`, 'xl.safetensors', 'b.safetensors', 'c.safetensors')
    const kept = [0.5, ...RAMP.slice(0, 9), ...RAMP.slice(12, 22)]
    assert.match(recipe, `mbw: ${listed(kept)}`)
    assert.match(recipe, 'without IN09 to IN11 and OUT09 to OUT11')
    assert.match(recipe, 'base: c\n')
    assert.match(recipe, 'models: [xl, b]\n')
    assert.match(recipe, '    xl: 1\n')
  })
})

test('the recipe computes a + α (b − a) with the weight of each block', async () => {
  await inFolder(async (folder) => {
    const [a, b] = [unetOf('sd15', 1), unetOf('sd15', 2)]
    writeModel(path.join(folder, 'a.safetensors'), a)
    writeModel(path.join(folder, 'b.safetensors'), b)
    await imports(folder, '--mbw', `0.5,${RAMP}`, 'a.safetensors', 'b.safetensors', '-o', 'merge.yml')
    const { code, err } = await terge(['run', 'merge.yml'], folder)
    assert.is(code, 0, err)
    const merged = await openCheckpoint('merged', path.join(folder, 'merged.safetensors'))
    const tensors = await readTensors(merged, merged.tensors)
    const value = (model: RawTensors, name: string): number =>
      new Float32Array(Uint32Array.of(new Uint16Array(model[name]!.bytes.buffer.slice(0, 2))[0]! << 16).buffer)[0]!
    const places = {
      'time_embed.0.weight': 0,
      'input_blocks.4.0.in_layers.2.weight': 4,
      'middle_block.0.in_layers.2.weight': 12,
    }
    const more = { 'output_blocks.0.0.in_layers.2.weight': 13, 'out.2.weight': 24 }
    for (const [name, place] of Object.entries({ ...places, ...more })) {
      const [from, to] = [value(a, name), value(b, name)]
      const wanted = from + RAMP[place]! * (to - from)
      assert.ok(Math.abs(value(tensors, name) - wanted) <= Math.abs(wanted) / 200, name)
    }
    assert.match(readFileSync(path.join(folder, 'merge.yml'), 'utf8'), 'mbw')
  })
})

const REFUSED: readonly (readonly [what: string, args: readonly string[], error: string])[] = [
  ['a wrong number of numbers', ['--mbw', '0,1,2'], "error bad-flag: '0,1,2' has 3 numbers"],
  [
    'no BASE',
    ['--mbw', `${RAMP}`],
    'error bad-flag: the weights have 25 numbers, and none of them is for tensors outside blocks',
  ],
  [
    'two of BASE',
    ['--mbw', `0,${RAMP}`, '--mbw-base', '1'],
    'error bad-flag: the weights have 26 numbers, of which the first is BASE',
  ],
  [
    'a BASE that is no number',
    ['--mbw', `${RAMP}`, '--mbw-base', 'x'],
    "error bad-flag: --mbw-base must be a number, not 'x'",
  ],
  ['an unknown preset', ['--mbw', 'presets.txt:RMP'], "error bad-flag: presets.txt has no preset 'RMP'"],
  ['a file of presets without a name', ['--mbw', 'presets.txt'], 'error bad-flag: presets.txt has 2 presets'],
  ['neither', ['--mbw', 'nothing'], "error bad-flag: --mbw 'nothing' is neither a list of numbers nor a file"],
  ['strict', ['--mbw', `0,${RAMP}`, '--strict'], 'error bad-flag: --strict applies to mergekit configurations'],
  ['BASE alone', ['--mbw-base', '1'], 'error bad-flag: --mbw-base needs --mbw'],
  ['no weights', [], "error bad-usage: unexpected argument 'b.safetensors'"],
  [
    'other modes',
    ['--mbw', 'twice.safetensors'],
    "error bad-flag: twice.safetensors gives no block weights: it was merged in the mode 'sum Twice'",
  ],
  ['three models', ['--mbw', 'add.safetensors'], 'error bad-flag: add.safetensors was merged from three models'],
]

for (const [what, args, error] of REFUSED)
  test(`import refuses ${what}`, async () => {
    await inFolder(async (folder) => {
      writeFileSync(path.join(folder, 'presets.txt'), PRESETS)
      const noted = { mbw: true, calcmode: 'normal', weights_alpha_orig: `0.5,${RAMP}` }
      writeMerged(path.join(folder, 'twice.safetensors'), { ...noted, mode: 'sum Twice' })
      writeMerged(path.join(folder, 'add.safetensors'), { ...noted, mode: 'Add difference' })
      const { code, out, err } = await terge(['import', ...args, 'a.safetensors', 'b.safetensors'], folder)
      assert.equal([code, out, err.split('\n')[0]!.startsWith(error)], [2, '', true], err)
    })
  })

test.run()

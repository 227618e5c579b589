/** Adapters of every kind merged with each other: the result, applied to a base, is what the real libraries make of it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault, plan, run } from '../../src/index.js'
import { matrix, stored, writeAdapter } from '../support/adapters.js'
import { f32, inFolder, type RawTensor, safetensors } from '../support/files.js'
import { changesOf, distance, tensorsOf } from '../support/lowRank.js'
import { fixture } from '../support/terge.js'

const FIXTURES = fixture('adapters')
const P = 'base_model.model.'

/** The adapter of a set: a file beside its configuration, or one of sd-scripts. */
function adapterOf(set: string): string | undefined {
  const [peft, kohya] = ['adapter_model', 'kohya'].map((name) => path.join(FIXTURES, set, `${name}.safetensors`))
  return [peft!, kohya!].find((file) => existsSync(file))
}

async function execute(folder: string, recipe: object): Promise<string> {
  const file = path.join(folder, 'r.yml')
  writeFileSync(file, JSON.stringify({ terge: 1, ...recipe }))
  try {
    await run(await plan(file), { threads: 1, sync: false, force: true })
  } catch (error) {
    if (error instanceof Fault) return error.diagnostics.map(({ code, message }) => `${code}: ${message}`).join('\n')
    throw error
  }
  return ''
}

/** Merges adapters, and applies the result to the base of a set. Returns the model, or errors. */
async function merged(folder: string, models: readonly string[], weights: readonly number[], set: string, more = {}) {
  const isFile = models[0]!.endsWith('kohya.safetensors')
  const adapter = path.join(folder, isFile ? 'both.safetensors' : 'both')
  const named = Object.fromEntries(models.map((model, i) => [`a${i}`, model]))
  const merge = { method: 'linear', weights, parameters: { normalize: false }, rank: 1000, ...more }
  const told = await execute(folder, { models: named, merge, output: adapter })
  if (told !== '') return told
  const from = path.join(FIXTURES, set)
  const base = path.join(folder, 'base')
  mkdirSync(base, { recursive: true })
  writeFileSync(path.join(base, 'model.safetensors'), readFileSync(path.join(from, 'base.safetensors')))
  const config = path.join(from, 'base-config.json')
  if (existsSync(config)) writeFileSync(path.join(base, 'config.json'), readFileSync(config))
  const model = { path: isFile ? path.join(base, 'model.safetensors') : base, lora: adapter }
  const applied = {
    models: { m: model },
    merge: { method: 'passthrough' },
    output: path.join(folder, 'out.safetensors'),
  }
  assert.is(await execute(folder, applied), '')
  return tensorsOf(path.join(folder, 'out.safetensors'))
}

/** What can't be merged without the base, and the code of the error. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  'hra-linear': /adapter-arithmetic: a0: its update of .* is HRA, whose change depends on the weight/,
  'ia3-linear': /adapter-arithmetic: .* is IA³, whose change depends on the weight/,
  'oft-series': /adapter-arithmetic: .* is OFT, whose change depends on the weight/,
  'olora-unconverted': /adapter-arithmetic: .* takes a part from the weight first \(init_lora_weights: olora\)/,
  'pissa-unconverted': /adapter-arithmetic: .* takes a part from the weight first \(init_lora_weights: pissa\)/,
  'trainable-tokens-in-lora': /adapter-arithmetic: .* is rows of tokens, whose change depends on the weight/,
  'vera-linear': /adapter-arithmetic: .* is VeRA, whose number of inputs only the base shows/,
}

const OTHER_KINDS = /^(adalora|dora|loha|lokr|locon|lyco)/

for (const set of readdirSync(FIXTURES).filter((set) => OTHER_KINDS.test(set) || REFUSED[set]))
  test(`${set}: merged with itself at weights of 1 in total, it is what its library makes of it`, () =>
    inFolder(async (folder) => {
      const own = adapterOf(set)!
      const made = await merged(folder, [own, own], [0.25, 0.75], set)
      const refused = REFUSED[set]
      if (refused || typeof made === 'string')
        return assert.match(String(made), refused ?? 'no error', `${set}: ${JSON.stringify(made)}`)
      const wanted = await tensorsOf(path.join(FIXTURES, set, 'merged.safetensors'))
      let most = 0
      for (const [name, { values }] of wanted)
        most = Math.max(most, ...values.map((value, i) => Math.abs(value - made.get(name)!.values[i]!)))
      assert.ok(most < 2e-6, `${set}: ${most}`)
    }))

test('LoHa, LoKr, AdaLoRA and LoRA in one merge: the sum of what PEFT makes of each', () =>
  inFolder(async (folder) => {
    const sets = ['loha-linear', 'lokr-linear', 'adalora-linear']
    const weights = [0.5, 0.25, -1]
    const files = await Promise.all(
      sets.map(async (set) => ({
        base: await tensorsOf(path.join(FIXTURES, set, 'base.safetensors')),
        own: await tensorsOf(path.join(FIXTURES, set, 'merged.safetensors')),
      })),
    )
    const models = sets.map((set) => adapterOf(set)!)
    for (const more of [{}, { rank: 'full' }]) {
      const made = await merged(folder, models, weights, 'loha-linear', more)
      if ('rank' in more) {
        assert.match(
          String(made),
          /adapter-rank: model\.layers\.0\.self_attn\.q_proj has no factors of a rank below 12 in 'a1': the exact result is as large/,
        )
        continue
      }
      if (typeof made === 'string') return assert.unreachable(made)
      for (const [name, { values }] of files[0]!.base) {
        const wanted = values.map((value, i) =>
          files.reduce((sum, { base, own }, at) => {
            const difference = own.get(name) && base.get(name)!.values.length === values.length
            return difference ? sum + weights[at]! * (own.get(name)!.values[i]! - base.get(name)!.values[i]!) : sum
          }, value),
        )
        assert.ok(
          distance(made.get(name)!.values, wanted) < 1e-6,
          `${name}: ${distance(made.get(name)!.values, wanted)}`,
        )
      }
    }
    const ties = await merged(folder, models, [1, 1, 1], 'loha-linear', { method: 'ties', parameters: {} })
    assert.match(String(ties), /adapter-arithmetic: .*, and ties merges adapters by their factors/)
  }))

test('DoRA: different factors with equal norms are merged, and other norms are refused by name', () =>
  inFolder(async (folder) => {
    const [rows, columns] = [6, 5]
    const norms = (seed: number) => f32([rows], [...matrix([rows], seed).values].map(Math.abs))
    const write = (name: string, seed: number, modules: readonly string[], magnitude: number | undefined) =>
      writeAdapter(
        path.join(folder, name),
        Object.fromEntries(
          modules.flatMap((module, i): (readonly [string, RawTensor])[] => [
            [`${P}${module}.lora_A.weight`, stored(matrix([2, columns], seed + i))],
            [`${P}${module}.lora_B.weight`, stored(matrix([rows, 2], seed + i + 50))],
            ...(magnitude === undefined
              ? []
              : [[`${P}${module}.lora_magnitude_vector`, norms(magnitude + i)] as const]),
          ]),
        ),
        { r: 2, lora_alpha: 2, use_dora: magnitude !== undefined, peft_type: 'LORA' },
      )
    write('one', 1, ['q', 'k'], 90)
    write('two', 10, ['q', 'k'], 90)
    write('other', 20, ['q', 'k'], 91)
    write('few', 30, ['q'], 90)
    write('plain', 40, ['q', 'k'], undefined)
    const merge = (second: string, more: object = {}) =>
      execute(folder, {
        models: { a: 'one', b: second },
        merge: { method: 'linear', weights: [0.75, 0.5], parameters: { normalize: false }, rank: 'full', ...more },
        output: 'out',
      })
    assert.is(await merge('two'), '')
    const config = JSON.parse(readFileSync(path.join(folder, 'out/adapter_config.json'), 'utf8'))
    assert.equal([config.use_dora, config.r], [true, 4])
    const [made, one, two] = await Promise.all(['out', 'one', 'two'].map((name) => changesOf(path.join(folder, name))))
    for (const module of ['q', 'k']) {
      const wanted = one!.get(module)!.values.map((x, i) => 0.75 * x + 0.5 * two!.get(module)!.values[i]!)
      assert.ok(distance(made!.get(module)!.values, wanted) < 1e-7, module)
    }
    const [kept, given] = await Promise.all(['out', 'one'].map((name) => tensorsOf(path.join(folder, name))))
    for (const module of ['q', 'k'])
      assert.equal(kept!.get(`${P}${module}.lora_magnitude_vector`), given!.get(`${P}${module}.lora_magnitude_vector`))
    assert.is(await merge('other', { weights: [1, 0] }), '')
    assert.match(
      await merge('other'),
      /adapter-norms: .* not in 2 modules: k \(its norms differ\), q \(its norms differ\)$/,
    )
    assert.match(await merge('few'), /adapter-norms: .* not in 1 module: k \('b' does not change it/)
    assert.is(await merge('few', { filters: { exclude: ['k.weight'] } }), '')
    assert.match(await merge('plain'), /adapter-norms: .* k \('b' has no norms for it\)/)
  }))

test('files of sd-scripts: an alpha that is no scale is an error with its name', () =>
  inFolder(async (folder) => {
    const name = 'lora_unet_mid_block_attentions_0_proj_in'
    const write = (file: string, alpha: RawTensor, more: Readonly<Record<string, RawTensor>> = {}) =>
      writeFileSync(
        path.join(folder, file),
        safetensors({
          [`${name}.lora_down.weight`]: stored(matrix([2, 6], 1)),
          [`${name}.lora_up.weight`]: stored(matrix([8, 2], 2)),
          [`${name}.alpha`]: alpha,
          ...more,
        }),
      )
    write('a.safetensors', f32([], [1]))
    const told = () =>
      execute(folder, {
        models: { a: 'a.safetensors', b: 'b.safetensors' },
        merge: { method: 'linear', rank: 'full' },
        output: 'out.safetensors',
      })
    for (const [alpha, why] of [
      [f32([], [Number.NaN]), 'is NaN, not a finite number'],
      [f32([], [Number.POSITIVE_INFINITY]), 'is Infinity, not a finite number'],
      [f32([], [-2]), 'is negative'],
      [f32([], [0]), 'is 0: '],
      [f32([0], []), 'is not one number: F32 [0]'],
      [f32([2], [1, 1]), 'is not one number: F32 [2]'],
    ] as const) {
      write('b.safetensors', alpha)
      assert.match(await told(), `bad-adapter: b: ${name}.alpha ${why}`)
    }
    write('b.safetensors', f32([1], [2]))
    assert.is(await told(), '')
    write('b.safetensors', f32([], [2]), { [`${name}.oft_blocks`]: f32([2, 2], [0, 0, 0, 0]) })
    assert.match(await told(), /adapter-arithmetic: b: the adapter has 1 tensor of a kind that terge does not support/)
    write('b.safetensors', f32([], [2]), { [`${name}.unheard`]: f32([1], [0]) })
    assert.match(await told(), /adapter-unused: b: terge does not know 1 tensor of it/)
  }))

test('factors of linear layers with a kernel of size 1 merge with those without; empty tensors are refused', () =>
  inFolder(async (folder) => {
    const name = 'lora_unet_down_blocks_0_attentions_0_proj_in'
    const lora = (ones: readonly number[], rank: number, seed: number) => ({
      [`${name}.lora_down.weight`]: stored(matrix([rank, 6, ...ones], seed)),
      [`${name}.lora_up.weight`]: stored(matrix([5, rank, ...ones], seed + 1)),
    })
    const write = (file: string, tensors: Record<string, RawTensor>) =>
      writeFileSync(path.join(folder, file), safetensors(tensors))
    write('a.safetensors', lora([], 2, 1))
    write('b.safetensors', lora([1, 1], 3, 3))
    const recipe = (lora: string) => ({
      models: { a: 'a.safetensors', b: lora },
      merge: { method: 'task_arithmetic', weights: [1, -0.5] },
      output: 'out.safetensors',
    })
    assert.is(await execute(folder, recipe('b.safetensors')), '')
    const made = await tensorsOf(path.join(folder, 'out.safetensors'))
    assert.equal(made.get(`${name}.lora_down.weight`)!.shape, [5, 6])
    write('c.safetensors', { ...lora([], 2, 1), [`${name}.lora_up.weight`]: f32([5, 0], []) })
    assert.match(await execute(folder, recipe('c.safetensors')), `${name}.lora_up.weight is empty: [5, 0]`)
    const empty = { ...LORA, [`${P}head.weight`]: f32([0], []) }
    writeAdapter(path.join(folder, 'd'), empty, { r: 2, modules_to_save: ['head'] })
    const alone = { models: { a: 'd', b: 'd' }, merge: { method: 'linear' }, output: 'out' }
    assert.match(await execute(folder, alone), "1 tensor of it is empty: 'head.weight'")
  }))

const LORA = { [`${P}q.lora_A.weight`]: f32([2, 1], [1, 2]), [`${P}q.lora_B.weight`]: f32([1, 2], [1, 2]) }

test.run()

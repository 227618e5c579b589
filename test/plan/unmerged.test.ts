import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

const test = suite('what stays unmerged')

type Tensors = Record<string, RawTensor>
let seed = 0
const tensor = (...shape: number[]): RawTensor =>
  f32(
    shape,
    numbers(
      shape.reduce((a, b) => a * b, 1),
      ++seed,
    ),
  )

const shared = (rows = 8): Tensors => ({ 'model.embed_tokens.weight': tensor(rows, 4), 'model.norm.weight': tensor(4) })

const perExpert = (): Tensors => ({
  ...shared(),
  ...Object.fromEntries(
    [0, 1, 2, 3].flatMap((expert) =>
      ['down_proj', 'gate_proj', 'up_proj'].map((name) => [
        `model.layers.0.mlp.experts.${expert}.${name}.weight`,
        tensor(8, 4),
      ]),
    ),
  ),
})
const fused = (): Tensors => ({
  ...shared(),
  'model.layers.0.mlp.experts.gate_up_proj': tensor(4, 16, 4),
  'model.layers.0.mlp.experts.down_proj': tensor(4, 8, 4),
})

interface Outcome {
  readonly code: number
  readonly err: string
  readonly warnings: readonly { readonly code: string; readonly message: string }[]
}

async function merged(models: Record<string, Tensors>, merge = '{method: linear}', more = ''): Promise<Outcome> {
  return inFolder(async (folder) => {
    const entries = Object.keys(models).map((name) => `${name}: ${name}.safetensors`)
    for (const [name, tensors] of Object.entries(models)) writeModel(path.join(folder, `${name}.safetensors`), tensors)
    const recipe = path.join(folder, 'r.yml')
    writeFileSync(
      recipe,
      `terge: 1\nmodels: {${entries.join(', ')}}\n${more}merge: ${merge}\noutput: out.safetensors\n`,
    )
    const { code, out, err } = await terge(['run', recipe, '--json'], folder)
    assert.is(existsSync(path.join(folder, 'out.safetensors')), code === 0)
    return { code, err, warnings: code === 0 ? JSON.parse(out).warnings : [] }
  })
}

test('separate experts against fused ones are an error with counts and examples', async () => {
  const { code, err } = await merged({ a: perExpert(), b: fused() })
  assert.is(code, 2)
  assert.match(err, '"code":"mostly-unmerged"')
  assert.match(err, "'merge' copies 12 of 14 tensors (91 % of the parameters) from the base 'a' unmerged")
  assert.match(err, "'b' lacks 12 tensors of the base (model.layers.0.mlp.experts.0.down_proj.weight (4 similar)")
  assert.match(
    err,
    'has 2 tensors that the base lacks (model.layers.0.mlp.experts.gate_up_proj, model.layers.0.mlp.experts.down_proj)',
  )
  assert.match(err, 'on_missing: keep')
})

test('on_missing: keep accepts unmerged tensors with a warning', async () => {
  const { code, warnings } = await merged({ a: perExpert(), b: fused() }, '{method: linear, on_missing: keep}')
  assert.is(code, 0)
  assert.equal(
    warnings.map(({ code }) => code),
    ['unmerged-tensors'],
  )
})

test('a third model with the base’s layout does not hide unmerged tensors', async () => {
  const { code, err } = await merged({ a: perExpert(), b: perExpert(), c: fused() })
  assert.is(code, 2)
  assert.match(err, 'merges every tensor, but some of them without all models: ')
  assert.match(err, "'c' lacks 12 tensors of the base")
})

test('validate warns of other shapes, with two models and with three', () =>
  inFolder(async (folder) => {
    for (const [name, rows] of Object.entries({ a: 8, b: 10, c: 8 }))
      writeModel(path.join(folder, `${name}.safetensors`), shared(rows))
    for (const [models, what] of [
      [
        'a: a.safetensors, b: b.safetensors',
        "copies 1 of 2 tensors (89 % of the parameters) from the base 'a' unmerged",
      ],
      [
        'a: a.safetensors, b: b.safetensors, c: c.safetensors',
        'merges every tensor, but some of them without all models',
      ],
    ]) {
      const merge = 'merge: {method: linear, on_missing: keep}'
      writeFileSync(path.join(folder, 'r.yml'), `terge: 1\nmodels: {${models}}\n${merge}\noutput: out\n`)
      const { code, out, err } = await terge(['validate', 'r.yml'], folder)
      assert.is(code, 0)
      const message = `'merge' ${what}: 'b' has 1 tensor in another shape or dtype (model.embed_tokens.weight)`
      assert.match(`${out}${err}`, `warning unmerged-tensors: ${message}`)
    }
  }))

test('LayerNorm gamma and beta merge with weight and bias, with one warning', async () => {
  const norm = (one: string, other: string): Tensors => ({
    'bert.embeddings.word_embeddings.weight': tensor(8, 4),
    [`bert.LayerNorm.${one}`]: tensor(4),
    [`bert.LayerNorm.${other}`]: tensor(4),
  })
  const { code, warnings } = await merged({ a: norm('weight', 'bias'), b: norm('gamma', 'beta') })
  assert.is(code, 0)
  assert.equal(
    warnings.map(({ code }) => code),
    ['other-layout'],
  )
  assert.match(warnings[0]!.message, 'reads layer-norm/gamma-beta as layer-norm/weight-bias')
})

test('other row counts are a warning or an error that suggests on_mismatch: crop', async () => {
  const a = { ...shared(), 'model.layers.0.w': tensor(40, 4) }
  const b = { ...shared(9), 'model.layers.0.w': tensor(40, 4) }
  const { warnings } = await merged({ a, b })
  assert.match(warnings[0]!.message, "'b' has 1 tensor in another shape or dtype (model.embed_tokens.weight)")
  assert.match(JSON.stringify(warnings[0]), 'on_mismatch: crop')
  assert.equal((await merged({ a, b }, '{method: linear, on_mismatch: crop}')).warnings, [])
})

test('filtered tensors, intended copies and buffers do not count as unmerged', async () => {
  const a = perExpert()
  const filtered = await merged({ a, b: { ...shared() } }, '{method: linear}', 'filters: {exclude: "/experts/"}\n')
  assert.equal([filtered.code, filtered.warnings], [0, []])
  const copied = await merged(
    { a, b: { ...shared() } },
    '{method: linear, rules: [{match: "/experts/", method: passthrough, models: [a]}]}',
  )
  assert.equal([copied.code, copied.warnings], [0, []])
  const buffers = {
    'h.0.attn.bias': tensor(1, 1, 30, 30),
    'model.layers.0.self_attn.rotary_emb.inv_freq': tensor(200),
    'bn.running_mean': tensor(300),
  }
  for (const models of [
    { a: { ...shared(), ...buffers }, b: shared() },
    { a: shared(), b: { ...shared(), ...buffers } },
  ]) {
    const { code, warnings } = await merged(models)
    assert.equal([code, warnings], [0, []])
  }
})

test.run()

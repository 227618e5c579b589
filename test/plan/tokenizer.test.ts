import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, validate } from '../../src/session/plan.js'
import { run } from '../../src/session/run.js'
import { f32, i64, inFolder, writeModel } from '../support/files.js'
import { fixture } from '../support/terge.js'

const models = ['base', 'prose', 'python'].map((name) => `${name}: ${fixture(`lm/${name}`)}`).join(', ')

test('tokenizer: NAME uses only the tokenizer files of that model', () =>
  inFolder(async (folder) => {
    cpSync(fixture('lm/python'), path.join(folder, 'other'), { recursive: true })
    for (const name of ['tokenizer_config.json', 'generation_config.json'])
      writeFileSync(path.join(folder, 'other', name), '{"x": 1}')
    const text = `terge: 1\nmodels: {${models}, other: ./other}\nmerge: {method: linear, models: [base, prose]}\ntokenizer: other\n`
    const output = path.join(folder, 'out')
    const prepared = await plan(path.join(folder, 'recipe.yml'), { text, output })
    assert.equal(
      prepared.diagnostics.map(({ code }) => code),
      ['unused-model'],
    )
    await run(prepared, { threads: 1, sync: false, digests: false })
    const written = (name: string): string => readFileSync(path.join(output, name), 'utf8')
    assert.is(written('tokenizer_config.json'), '{"x": 1}')
    assert.is(written('generation_config.json'), readFileSync(fixture('lm/base/generation_config.json'), 'utf8'))
    assert.ok(existsSync(path.join(output, 'tokenizer.json')))
  }))

test('tokenizers that cannot be used are errors', async () => {
  const codes = async (more: string, tokenizer: string): Promise<string[]> => {
    const text = `terge: 1\nmodels: {${models}${more}}\nmerge: {method: linear, models: [base, prose, python]}\ntokenizer: ${tokenizer}\n`
    const { diagnostics } = await validate('recipe.yml', { text, output: 'out' })
    return diagnostics.map(({ severity, code, place }) => `${severity} ${code} ${place?.line}:${place?.column}`)
  }
  assert.equal(await codes('', 'base'), [])
  assert.equal(await codes('', 'prse'), ['error unknown-model 4:12'])
  assert.equal(await codes('', 'union'), [])
  assert.equal(await codes('', '{source: union, tokens: {nope: prose}}'), ['error unknown-token 4:37'])
  assert.equal(await codes(`, bare: ${fixture('lm-f32/c')}`, 'bare'), ['error no-tokenizer 4:12'])
})

/** Code, message and hint of a union of two models with these tokens and embeddings. */
const united = (embeddings: readonly Parameters<typeof writeModel>[1][], tokenizer: string): Promise<string[]> =>
  inFolder(async (folder) => {
    for (const [index, tensors] of embeddings.entries()) {
      const model = path.join(folder, 'ab'[index]!)
      mkdirSync(model)
      writeModel(path.join(model, 'model.safetensors'), tensors)
      writeFileSync(path.join(model, 'vocab.txt'), `[UNK]\nx\n${'yz'[index]}\n`)
    }
    const text = `terge: 1\nmodels: {a: ./a, b: ./b}\nmerge: {method: linear}\ntokenizer: ${tokenizer}\n`
    const { diagnostics } = await validate(path.join(folder, 'recipe.yml'), { text, output: 'out' })
    return diagnostics.map(({ code, message, hint }) => `${code}: ${message}; hint: ${hint}`)
  })

test('errors about rows have a hint', async () => {
  const name = 'model.embed_tokens.weight'
  const floats = { [name]: f32([3, 1], [1, 2, 3]) }
  const [unknown] = await united(
    [floats, floats],
    '{source: union, tokens: {x: {source: {kind: model_token, model: b, token: q}}}}',
  )
  assert.is(
    unknown,
    "unknown-token: 'b' has no embedding for 'q'; hint: correct the token or the model; source: {kind: zero} makes a row of zeros",
  )
  const mixed = await united([{ [name]: i64([3, 1], [1n, 2n, 3n]) }, floats], 'union')
  assert.is(
    mixed.find((text) => text.startsWith('tensor-mismatch')),
    `tensor-mismatch: the rows of ${name} are I64 in a: terge can't mix them with rows of other models; hint: convert the models to one floating-point dtype first`,
  )
})

test('a token without a row in any model is a warning with a hint', async () => {
  const name = 'model.embed_tokens.weight'
  const found = await united([{ [name]: f32([2, 1], [1, 2]) }, { 'model.norm.weight': f32([1], [1]) }], 'b')
  assert.ok(
    found.includes(
      "no-embedding: no model has an embedding for 1 token, such as 'z': its row is filled with zeros; hint: choose a source under tokenizer: {tokens: …}",
    ),
    found.join('\n'),
  )
})

test.run()

import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, validate } from '../../src/session/plan.js'
import { run } from '../../src/session/run.js'
import { inFolder } from '../support/files.js'
import { fixture } from '../support/terge.js'

const models = ['base', 'prose', 'python'].map((name) => `${name}: ${fixture(`lm/${name}`)}`).join(', ')

test('the tokenizer of a model that a recipe names, and nothing else of it', () =>
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

test('tokenizers that can not be taken', async () => {
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

test.run()

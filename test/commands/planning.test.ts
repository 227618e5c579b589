/** What plan, validate and --dry-run say of a run agrees with the run and with the page of its lineage. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const [A, B] = [0, 1].map((seed) => fixture(`digits/mlp256-${seed}.safetensors`))
const RECIPE = `terge: 1
models: {a: ${A}, b: ${B}}
merge:
  method: linear
  rules:
    - {match: fc1.*, method: slerp, parameters: {t: 0.5}}
    - {match: fc2.*, weights: {a: 1, b: 3}}
output: out.safetensors
`

test('plan and the page number rules from 1', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'recipe.yml'), RECIPE)
    const planned = await terge(['plan', 'recipe.yml'], folder)
    assert.match(planned.out, /rule 1 fc1\.\*:.*\n.*rule 2 fc2\.\*:/)
    assert.is((await terge(['run', 'recipe.yml'], folder)).code, 0)
    const { out: page } = await terge(['report', 'out.lineage.json'], folder)
    const text = page.replace(/<[^>]*>/g, '')
    assert.match(text, /rule 1: slerp of a, b → 2 tensorsfc1\.\* /)
    assert.match(text, /rule 2: linear of a, b → 2 tensorsfc2\.\* /)
    assert.not.match(text, /rule 0/)
  }))

test('plan and --dry-run obey --memory as the run does', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'recipe.yml'), RECIPE)
    const dry = async (command: readonly string[], ...flags: string[]) =>
      terge([...command, '--threads', '8', ...flags], folder)
    const commands = [
      ['plan', 'recipe.yml'],
      ['run', 'recipe.yml', '--dry-run'],
      ['merge', A!, B!, '-o', 'merged.safetensors', '--dry-run'],
    ]
    for (const command of commands) {
      assert.match((await dry(command)).out, /with 8 threads\n$/)
      const little = await dry(command, '--memory', '65MB')
      const [, threads] = /with (\d+) threads?\n$/.exec(little.out) ?? []
      assert.ok(Number(threads) >= 1 && Number(threads) < 8, little.out)
      const never = await dry(command, '--memory', '1MB')
      assert.is(never.out, '')
      assert.match(never.err, 'error memory-too-small: --memory 1.00 MB is not enough for one thread')
    }
    const [, planned] = /with (\d+) thread/.exec((await dry(commands[0]!, '--memory', '65MB')).out)!
    const ran = await dry(['run', 'recipe.yml'], '--memory', '65MB')
    assert.match(ran.err, `--memory is enough for ${planned} of 8 threads: using ${planned}`)
  }))

test('validate takes --set', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'recipe.yml'), RECIPE)
    assert.is((await terge(['validate', 'recipe.yml', '--set', 'seed=7'], folder)).code, 0)
    const wrong = await terge(['validate', 'recipe.yml', '--set', 'merge.method=liner', '--no-models'], folder)
    assert.is(wrong.code, 2)
    assert.match(wrong.err, "'liner'")
  }))

test.run()

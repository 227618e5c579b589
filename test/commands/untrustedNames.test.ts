/** Names from models are a stranger's: nothing that is printed steers a terminal, or is a command to a service that reads logs. */

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'
import { matrix, weights, writeFolder } from './families.js'

const NAMES = [
  '::error file=x::pwned',
  '  ::set-output name=a::b',
  '##[error]pwned',
  '##vso[task.setvariable variable=a]b',
  '##teamcity[x]',
  'a\u202egnp.exe',
  'a\u001b[2Jb',
  'a\u061cb\u00adc\u180e\u{e0041}',
  'two\nlines ::error::x',
  '\r::warning::x',
]
const unsafe = (text: string): string[] =>
  text.split('\n').filter((line) => /^\s*::|##(\w*)\[|(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(line))

test('every command that shows names of tensors, metadata and files', () =>
  inFolder(async (folder) => {
    const tensors = Object.fromEntries(NAMES.map((name, index) => [name, matrix(index, 2)]))
    writeFolder(path.join(folder, 'a'), { 'model.safetensors': weights(tensors), [`${NAMES[5]}.json`]: {} })
    writeFolder(path.join(folder, 'b'), {
      'model.safetensors': weights(Object.fromEntries(NAMES.map((name, index) => [name, matrix(index, 3)]))),
    })
    writeFolder(folder, { [`${NAMES[5]}.safetensors`]: weights(tensors), '::error::x.safetensors': weights(tensors) })
    const rules = NAMES.map((name) => `{match: ${JSON.stringify(`${name}?`)}, weights: {a: 2}}`)
    writeFileSync(
      path.join(folder, 'r.yaml'),
      `terge: 1\nmodels: {a: a, b: b}\nmerge: {method: linear, rules: [${rules}]}\noutput: o\n`,
    )
    for (const args of [
      ['inspect', 'a'],
      ['inspect', 'a', '--json'],
      ['inspect', 'a', '--spec'],
      ['diff', 'a', 'b'],
      ['diff', 'a', 'b', '--json'],
      ['init', 'a', 'b'],
      ['init', `${NAMES[5]}.safetensors`, './::error::x.safetensors'],
      ['plan', 'r.yaml'],
      ['plan', 'r.yaml', '--json'],
      ['validate', 'r.yaml'],
      ['run', 'r.yaml', '--no-sync', '--set', 'models.b=a'],
      ['report', 'o/lineage.json'],
      ['report', 'o/lineage.json', '--format', 'terge'],
      ['verify', 'o/lineage.json'],
      ['merge', `${NAMES[5]}.safetensors`, NAMES[0]!, '-o', 'x'],
    ]) {
      const { out, err } = await terge(args, folder)
      assert.ok(out + err !== '', args.join(' '))
      assert.equal(unsafe(out), [], `${args.join(' ')}, standard output`)
      assert.equal(unsafe(err), [], `${args.join(' ')}, standard error`)
    }
  }))

test('a recipe that init makes for names with such characters is valid and means them', () =>
  inFolder(async (folder) => {
    const name = `${NAMES[5]}\u{e0041}.safetensors`
    writeFolder(folder, { [name]: weights({ w: matrix(1, 2) }) })
    const made = await terge(['init', name, '-o', 'r.yaml'], folder)
    assert.is(made.code, 0, made.err)
    const { code, err } = await terge(['validate', 'r.yaml'], folder)
    assert.is(code, 0, err)
  }))

test.run()

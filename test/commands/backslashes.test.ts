/** Paths with the separators of Windows, and names that some systems take for one. */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const A = fixture('digits/mlp256-0.safetensors')

const write = (folder: string, model: string, output: string): string => {
  mkdirSync(path.join(folder, 'models'), { recursive: true })
  copyFileSync(A, path.join(folder, 'models/a.safetensors'))
  const file = path.join(folder, 'r.yml')
  writeFileSync(file, `terge: 1\nmodels: {a: '${model}'}\nmerge: {method: passthrough}\noutput: '${output}'\n`)
  return file
}

if (path.sep === '/') {
  test('a model written as on Windows is missing, with a hint that says how to write it', () =>
    inFolder(async (folder) => {
      const { code, err } = await terge(['plan', write(folder, 'models\\a.safetensors', 'out.safetensors')])
      assert.is(code, 2)
      assert.match(err, /missing-model/)
      assert.match(err, /hint: write 'models\/a\.safetensors': only Windows separates folders with \\/)
    }))

  test('an output folder written as on Windows keeps its name, with a warning; a file is an error', () =>
    inFolder(async (folder) => {
      const { code, err } = await terge(['run', write(folder, 'models/a.safetensors', 'out\\a')])
      assert.is(code, 0, err)
      assert.match(err, /warning backslash-path: 'out\\a': \\ is a part of the name on this system/)
      assert.match(err, /hint: write 'out\/a': only Windows/)
      assert.ok(existsSync(path.join(folder, 'out\\a')))
      const file = await terge(['run', write(folder, 'models/a.safetensors', 'out\\a.safetensors')])
      assert.is(file.code, 2)
      assert.match(file.err, /error bad-value: 'out\\a\.safetensors': \\ is a part of the name/)
    }))
}

test.run()

/** Files that are not what a command reads: one error that says what they are. */

import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const POINTER =
  'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n'

test('a Git LFS pointer in place of weights, of an index and of a tokenizer', () =>
  inFolder(async (folder) => {
    const says = async (args: readonly string[], message: string): Promise<void> => {
      const { code, err } = await terge(args, folder)
      assert.is(code, 2)
      assert.is(err, `error ${message}\n  hint: run git lfs pull in its folder\n`)
    }
    for (const name of ['model.safetensors', 'model.bin', 'model.pt']) {
      writeFileSync(path.join(folder, name), POINTER)
      await says(['inspect', name], `unsupported-format: ${name}: a Git LFS pointer, not the file itself`)
    }
    mkdirSync(path.join(folder, 'sharded'))
    writeFileSync(path.join(folder, 'sharded/model.safetensors.index.json'), POINTER)
    writeFileSync(path.join(folder, 'sharded/model-00001-of-00001.safetensors'), POINTER)
    await says(
      ['inspect', 'sharded'],
      'bad-index: sharded/model.safetensors.index.json: a Git LFS pointer, not the file itself',
    )
  }))

test('an HDF5 file', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'model.safetensors'), '\x89HDF\r\n\x1a\n and more', 'latin1')
    const { err } = await terge(['inspect', 'model.safetensors'], folder)
    assert.match(err, 'unsupported-format: model.safetensors: an HDF5 file, which terge does not read')
  }))

test('the configuration of a model is not a recipe, for any command', () =>
  inFolder(async (folder) => {
    copyFileSync(fixture('lm/base/config.json'), path.join(folder, 'config.json'))
    for (const command of ['run', 'import', 'plan', 'validate']) {
      const { code, out, err } = await terge([command, 'config.json'], folder)
      assert.is(code, 2)
      const errors = `${out}${err}`.split('\n').filter((line) => line.includes(': error '))
      assert.equal(errors, [
        "config.json:1:1: error not-a-recipe: 'config.json' is not a recipe: it is the configuration of a model",
      ])
    }
  }))

test.run()

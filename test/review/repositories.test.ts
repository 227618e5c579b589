/** `terge plan --against` where git does not have the content of models itself: Git LFS and submodules. */
import { createHash } from 'node:crypto'
import { renameSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { safetensors } from '../support/files.js'
import { terge } from '../support/terge.js'
import { RECIPE, tensorsOf, withRepository } from './setup.js'

const weights = (seed: number): Uint8Array => safetensors(tensorsOf(seed))

test('models in Git LFS: the content of the revision where it is on this machine, else named', () =>
  withRepository(async ({ folder, write, commit, against, git }) => {
    const old = weights(11)
    const id = createHash('sha256').update(old).digest('hex')
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${id}\nsize ${old.length}\n`
    write('lfs.safetensors', pointer)
    write('recipe.yml', RECIPE.replace('models/b', 'lfs'))
    commit()
    // Git LFS has the file in the work tree: it is the content of its pointer.
    write('lfs.safetensors', old)
    assert.is((await against()).bytes, 'same')
    write('lfs.safetensors', weights(12))
    const lost = await against()
    assert.equal([lost.bytes, lost.unreachable.map(({ model }) => model)], ['unknown', ['b']])
    assert.match(
      lost.unreachable[0]!.why,
      'the content of lfs.safetensors in main is in Git LFS, and not on this machine',
    )
    write(`.git/lfs/objects/${id.slice(0, 2)}/${id.slice(2, 4)}/${id}`, old)
    const found = await against()
    assert.equal([found.bytes, found.unreachable, found.outputs.length], ['differ', [], 1])
    // Without git lfs pull, the file of today is a pointer too.
    write('lfs.safetensors', pointer.replace(/oid.*/, `oid sha256:${'0'.repeat(64)}`))
    const { code, err } = await terge(['plan', 'recipe.yml', '--against', 'main'], folder)
    assert.is(code, 2)
    assert.match(err, /lfs\.safetensors.*a Git LFS pointer, not the file itself[\s\S]*run git lfs pull/)
    const base = git('rev-parse', 'main').trim()
    write('lfs.safetensors', old)
    const { out } = await terge(['plan', 'recipe.yml', '--against', base, '--markdown'], folder)
    assert.match(out, `compared with \`${base.slice(0, 7)}:recipe.yml\`.`)
  }))

test('models in submodules: the commit that the revision has of them counts', () =>
  withRepository(async ({ folder, write, commit, against, git }) => {
    const inner = (...words: string[]): string => git('-C', 'store', ...words)
    const store = (seed: number): void => {
      write('store/b.safetensors', weights(seed))
      inner('add', '-A')
      inner('commit', '-q', '-m', 'next')
    }
    git('init', '-q', '-b', 'main', 'store')
    store(21)
    write('recipe.yml', RECIPE.replace('models/b', 'store/b'))
    git('-c', 'advice.addEmbeddedRepo=false', 'add', 'store', 'recipe.yml', '.gitignore')
    git('commit', '-q', '-m', 'first')
    assert.is((await against()).bytes, 'same')
    store(22)
    const moved = await against()
    assert.equal([moved.bytes, moved.unreachable, moved.outputs.length], ['differ', [], 1])
    // What the submodule's own git ignores is the file of today.
    write('store/.gitignore', 'local.safetensors\n')
    write('store/local.safetensors', weights(23))
    write('recipe.yml', RECIPE.replace('models/b', 'store/local'))
    git('commit', '-q', '-am', 'local')
    assert.is((await against()).bytes, 'same')

    git('checkout', '-q', '-b', 'next')
    renameSync(path.join(folder, 'store/.git'), path.join(folder, 'elsewhere'))
    const lost = await against()
    assert.equal([lost.bytes, lost.unreachable.map(({ model }) => model)], ['unknown', ['b']])
    assert.match(
      lost.unreachable[0]!.why,
      /^the commit [0-9a-f]{12} of the submodule store, which main has, is not on this/,
    )
    renameSync(path.join(folder, 'elsewhere'), path.join(folder, 'store/.git'))

    git('rm', '-q', '--cached', 'store')
    git('commit', '-q', '-m', 'without')
    git('branch', '-q', '-f', 'without')
    git('-c', 'advice.addEmbeddedRepo=false', 'add', 'store')
    commit()
    const later = await against('recipe.yml', 'without')
    assert.equal([later.bytes, later.unreachable[0]!.model], ['unknown', 'b'])
    assert.match(later.unreachable[0]!.why, 'the submodule store is not in without, where git got it later')
  }))

test.run()

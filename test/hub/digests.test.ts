/** SHA-256 of files from the hub: computed and compared, or as the hub publishes it. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Lineage } from '../../src/lineage/types.js'
import { sha256 } from './server.js'
import { FIRST, mean, single, two, withHub } from './setup.js'

test('the SHA-256 of a file from the hub is computed and compared; with --digests fast, the published one is listed as such', () =>
  withHub({ repositories: two() }, async ({ folder, cache, write, run }) => {
    write('recipe.yml', mean('hf:org/a', 'hf:org/b'))
    const merge = (...flags: string[]) => run(['run', 'recipe.yml', '--no-sync', '--force', ...flags])
    const filesOf = (): Lineage['models'][string] =>
      JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8')).models.a
    const sums = ({ files, beside }: Lineage['models'][string]) =>
      [...files, ...beside!].map(({ name, sha256, sha256_from: from }) => [name, sha256, from])
    const published = `sha256:${sha256(single(1)['model.safetensors']!)}`
    const first = await merge('--digests', 'fast')
    assert.is(first.code, 0, first.err)
    const cold = sums(filesOf())
    assert.equal(cold[0], ['model.safetensors', published, 'published'])
    // The hub publishes no SHA-256 of small files.
    assert.equal(cold.slice(1), [
      ['config.json', undefined, undefined],
      ['tokenizer.json', undefined, undefined],
    ])
    // From the cache, it is the same.
    assert.is((await merge('--digests', 'fast')).code, 0)
    assert.equal(sums(filesOf()), cold)
    assert.is((await merge()).code, 0)
    assert.equal(
      sums(filesOf()).map(([, , from]) => from),
      ['computed', 'computed', 'computed'],
    )
    assert.is(sums(filesOf())[0]![1], published)

    const file = path.join(cache, `models--org--a/snapshots/${FIRST}/model.safetensors`)
    const damaged = readFileSync(file)
    damaged[damaged.length - 1]! ^= 1
    writeFileSync(file, damaged)
    const refused = await merge()
    assert.is(refused.code, 1)
    assert.match(refused.err, /error hub-digest: hf:org\/a: model\.safetensors: SHA-256 is .*, but the hub publishes/)
  }))

test.run()

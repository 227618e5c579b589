/** SHA-256 of files from the hub: computed and compared, or as the hub publishes it. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
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

test('a model on the hub brings its signature, and is refused without one', () =>
  withHub({ repositories: two() }, async ({ hub, folder, write, run }) => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    write('key.pem', privateKey.export({ type: 'sec1', format: 'pem' }) as string)
    write('pub.pem', publicKey.export({ type: 'spki', format: 'pem' }) as string)
    write('recipe.yml', mean('hf:org/a', 'hf:org/a'))
    const merge = () => run(['run', 'recipe.yml', '--no-sync', '--require-signed-models', '--key', 'pub.pem'])
    const refused = await merge()
    assert.is(refused.code, 2)
    assert.match(refused.err, 'error missing-signature: hf:org/a has no signature')
    // The cache has everything but the signature.
    assert.is((await run(['run', 'recipe.yml', '--no-sync', '-o', 'other'])).code, 0)
    const files = single(1)
    mkdirSync(path.join(folder, 'signed'))
    for (const [name, bytes] of Object.entries(files)) writeFileSync(path.join(folder, 'signed', name), bytes)
    // Files of the repository that no run downloads are signed too.
    writeFileSync(path.join(folder, 'signed', 'picture.png'), 'x')
    assert.is((await run(['sign', 'signed', '--key', 'key.pem'])).code, 0)
    const signature = readFileSync(path.join(folder, 'signed/model.sig'))
    const commits = { [FIRST]: { ...files, 'model.sig': signature } }
    hub.options = { repositories: { 'org/a': { commits, refs: { main: FIRST } } } }
    const merged = await merge()
    assert.is(merged.code, 0, merged.err)
  }))

test.run()

/** Distributed checkpoints on the hub: read only from the cache. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fixture } from '../support/terge.js'
import { FIRST, mean, repository, single, withHub } from './setup.js'

const folder = fixture('distributed/two')
const files = (): Record<string, Uint8Array> =>
  Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(path.join(folder, name))]))

test('a distributed checkpoint on the hub is refused until it is in the cache', () =>
  withHub({ repositories: { 'org/a': repository(files()), 'org/b': repository(single(1)) } }, async (bench) => {
    const { run, write, cache } = bench
    write('r.yml', mean('hf:org/a', 'hf:org/a'))
    const refused = await run(['plan', 'r.yml'])
    assert.is(refused.code, 2)
    assert.match(refused.err, 'unsupported-format: hf:org/a: a distributed checkpoint, which terge reads only if')
    assert.match(refused.err, 'hf download org/a --local-dir DIR')
    const snapshot = path.join(cache, 'models--org--a/snapshots', FIRST)
    mkdirSync(snapshot, { recursive: true })
    for (const [name, bytes] of Object.entries(files())) writeFileSync(path.join(snapshot, name), bytes)
    mkdirSync(path.join(cache, 'models--org--a/refs'), { recursive: true })
    writeFileSync(path.join(cache, 'models--org--a/refs/main'), FIRST)
    for (const offline of ['0', '1']) {
      const planned = await run(['plan', 'r.yml'], { HF_HUB_OFFLINE: offline })
      assert.is(planned.code, 0, planned.err)
    }
  }))

test.run()

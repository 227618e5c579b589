/** Where outputs may go, and what they may replace, through the real command. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fixture, inFolder, terge } from './terge.js'

const [A, B] = [0, 1].map((n) => fixture(`digits/mlp256-${n}.safetensors`)) as [string, string]

const refused = (ran: { code: number; err: string }, code: string, what: RegExp | string): void => {
  assert.equal([ran.code, ran.err.includes(code)], [2, true], ran.err)
  assert.match(ran.err, what)
}

if (existsSync('/proc/self'))
  test('a place where no folder can be made is told', async () => {
    for (const place of ['/proc/out.safetensors', '/proc/deeper/out'])
      refused(await terge(['merge', A, B, '-o', place]), 'cannot-write', `${place}: cannot be written`)
  })

test('--force replaces one checkpoint, and no folder of several', () =>
  inFolder(async (folder) => {
    const merge = () => terge(['merge', A, B, '-o', 'out', '--force', '--no-sync'], folder)
    assert.equal([(await merge()).code, (await merge()).code], [0, 0])
    const out = (name: string) => path.join(folder, 'out', name)
    writeFileSync(out('notes.lineage.json'), '')
    refused(await merge(), 'output-exists', /other results: 'notes.lineage.json', so it is not replaced/)
    mkdirSync(out('deeper'))
    refused(await merge(), 'output-exists', /holds another, 'deeper', which is no part of a model/)
    assert.ok(existsSync(out('deeper')))
    mkdirSync(path.join(folder, 'several'))
    for (const name of ['one', 'two']) copyFileSync(A, path.join(folder, 'several', `${name}.safetensors`))
    const several = await terge(['merge', A, B, '-o', 'several', '--force', '--no-sync'], folder)
    refused(several, 'output-exists', /several models: 'one' and 'two'/)
    assert.equal(readdirSync(path.join(folder, 'several')), ['one.safetensors', 'two.safetensors'])
  }))

test.run()

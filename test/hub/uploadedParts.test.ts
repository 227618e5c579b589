/** Runs in parts whose output is on the hub: parts upload large files, and the end of the run makes the one commit. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { finishParts } from '../../src/session/parts/finish.js'
import type { PartOptions } from '../../src/session/parts/options.js'
import { runPart } from '../../src/session/parts/part.js'
import { plan } from '../../src/session/plan.js'
import { run } from '../../src/session/run.js'
import { everything, single, withHub } from './setup.js'
import { within } from './streams.js'

const TOKEN = 'hf_partstoken'
const RECIPE =
  'terge: 1\nmodels: {a: ./a, b: ./b}\nmerge: {method: linear}\noutput: {path: hf:org/merged, shard_size: 17KB}\n'

async function refused(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.ok(error instanceof Fault, String(error))
  const { code, message } = error.diagnostics[0]!
  assert.not(/hf_|SIGNED|127\.0\.0\.1/.test(message))
  return `${code}: ${message}`
}

test('parts upload objects, and --finish makes one commit; objects that were collected are uploaded again by their part', () =>
  withHub({ repositories: {}, token: TOKEN, uploads: { chunk: 10_000 } }, async (bench) => {
    const { hub, folder, write } = bench
    for (const [index, name] of ['a', 'b'].entries()) {
      mkdirSync(path.join(folder, name))
      for (const [file, bytes] of Object.entries(single(index + 1))) writeFileSync(path.join(folder, name, file), bytes)
    }
    const file = write('recipe.yml', RECIPE)
    const work = path.join(folder, 'work')
    const options: PartOptions = { threads: 1, sync: false, work }
    const planned = () => plan(file)
    const part = async (index: number) => runPart(await planned(), { index, of: 2 }, options)
    const finish = async () => finishParts(await planned(), options)
    const commits = () => Object.keys(hub.options.repositories['org/merged']!.commits).length
    await within({ env: { ...bench.env, TERGE_CACHE: path.join(folder, 'terge'), HF_TOKEN: TOKEN } }, async () => {
      await Promise.all([part(1), part(0)])
      assert.is(commits(), 1, 'nothing is visible')
      assert.not(everything(folder).names.some((name) => /(work|terge)\/.*safetensors/.test(name)))
      const [collected] = [...hub.uploads.storage.objects.keys()]
      hub.uploads.storage.objects.delete(collected!)
      const lost = await refused(finish())
      assert.match(lost, 'part-missing: 1 part of 2 is not valid: the uploads of 1 file')
      await part(Number(/: (\d)$/.exec(lost)![1]))
      const result = await finish()
      assert.is(commits(), 2)
      const { refs } = hub.options.repositories['org/merged']!
      assert.is(result.outputs[0]!.revision, refs.main)
      assert.not(everything(work).text.includes(TOKEN) || everything(work).text.includes(hub.url))
      await finish()
      assert.is(commits(), 2, 'it is published already')
      assert.match(await refused(part(0)), 'output-exists')
    })
    await within({ env: { ...bench.env, TERGE_CACHE: path.join(folder, 'terge') } }, async () => {
      await run(await plan(file, { output: path.join(folder, 'merged') }), { threads: 1, sync: false })
    })
    const { commits: all, refs } = hub.options.repositories['org/merged']!
    for (const name of readdirSync(path.join(folder, 'merged')))
      assert.ok(readFileSync(path.join(folder, 'merged', name)).equals(Buffer.from(all[refs.main!]![name]!)), name)
  }))

test.run()

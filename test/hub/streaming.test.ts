/** Runs that fetch their inputs a few files at a time, with the real command. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plan, run } from '../../src/index.js'
import { BIN, plainEnv } from '../support/terge.js'
import type { Hub } from './server.js'
import { type Bench, mean, repository, shards, withHub } from './setup.js'
import { peakOf, same, wholeFiles, within } from './streams.js'

const A = shards(1, 6, 2)
const B = shards(2, 6, 1)
const RECIPE = mean('hf:org/a', 'hf:org/b')
const TWO = { 'org/a': repository(A), 'org/b': repository(B) }

test('a run with --disk fetches each file once, keeps within the size, and writes the same bytes', () =>
  withHub({ repositories: TWO }, async (bench) => {
    const { hub, folder, cache, env, write, run } = bench
    write('recipe.yml', RECIPE)
    const refused = await run(['run', 'recipe.yml', '--disk', '50kB'])
    assert.is(refused.code, 2)
    assert.match(refused.err, /recipe\.yml:3:\d+: error disk-too-small/)
    const least = /this recipe needs --disk (\w+)/.exec(refused.err)![1]!
    assert.equal(await run(['plan', 'recipe.yml', '--disk', '50kB']), refused)
    const told = await run(['plan', 'recipe.yml', '--disk', least])
    assert.match(told.out, `with --disk ${least}: downloads `)
    assert.match(told.out, /, each file comes once, in \d+ stages/)
    assert.is(wholeFiles(hub).size, 0)
    const peak = await peakOf(bench, async () => {
      const ran = await run(['run', 'recipe.yml', '--disk', least, '-o', 'streamed', '--json', '--no-sync'])
      assert.is(ran.code, 0, ran.err)
      assert.match(ran.err, /"step":"fetch".*"fraction":1,/)
    })
    assert.ok(peak > 0 && peak <= 1000 * Number.parseInt(least, 10), `${peak} of ${least}`)
    const sent = wholeFiles(hub)
    assert.is(sent.size, 9)
    for (const [name, bytes] of sent) {
      const [, model, file] = /\/org\/(\w)\/\w+\/(.*)$/.exec(name)!
      assert.is(bytes, (model === 'a' ? A : B)[file!]!.length, name)
    }
    assert.equal(readdirSync(path.join(env.TERGE_CACHE!, 'work')), [])
    assert.not.ok(
      existsSync(path.join(cache, 'models--org--a/blobs')) &&
        readdirSync(path.join(cache, 'models--org--a/blobs')).some((name) => name.length === 64),
    )
    assert.is((await run(['run', 'recipe.yml', '-o', 'whole', '--no-sync'])).code, 0)
    same(folder, 'streamed', 'whole')
    const here = await run(['run', 'recipe.yml', '--disk', '1MB', '-o', 'again', '--no-sync'])
    assert.is(here.code, 0, here.err)
    assert.match(here.err, 'note: --disk has no effect')
    assert.match((await run(['plan', 'recipe.yml', '--disk', '1MB'])).out, '--disk has no effect')
  }))

const isWhole = ({ path: name, header }: { readonly path: string; readonly header: boolean }): boolean =>
  name.endsWith('.safetensors') && !header

/** Aborts a run when the last but one file is asked for. */
function abortLate(hub: Hub, stop: AbortController): void {
  const asked = new Set<string>()
  hub.options = {
    ...hub.options,
    disturb(request) {
      if (!isWhole(request)) return undefined
      asked.add(request.path)
      if (asked.size < 8) return undefined
      stop.abort()
      return { stall: 100 }
    },
  }
}

test('an interrupted run with --resume continues without the files that it used, and writes the same bytes', () =>
  withHub({ repositories: TWO }, (bench) =>
    within(bench, async () => {
      const { hub, folder, env, write } = bench
      const file = write('recipe.yml', RECIPE)
      const prepare = (output: string) => plan(file, { output: path.join(folder, output) })
      const settings = { threads: 1, sync: false, resume: true, disk: 90_000 }
      const stop = new AbortController()
      abortLate(hub, stop)
      const failed = await run(await prepare('streamed'), { ...settings, signal: stop.signal }).catch(
        (error: unknown) => error,
      )
      assert.match(String(failed), 'finished work is kept, downloaded parts are kept')
      assert.is(readdirSync(path.join(env.TERGE_CACHE!, 'work')).length, 1)
      hub.options = { repositories: TWO }
      const used = wholeFiles(hub)
      hub.seen.length = 0
      await run(await prepare('streamed'), settings)
      const again = [...wholeFiles(hub).keys()]
      assert.ok(again.length > 0 && again.length <= 3, again.join())
      assert.ok(used.size >= 7)
      assert.equal(readdirSync(path.join(env.TERGE_CACHE!, 'work')), [])
      await run(await prepare('whole'), { threads: 1, sync: false })
      same(folder, 'streamed', 'whole')
    }),
  ))

/** Runs the command in a process of its own, and kills it when it waits for the last but one file. */
async function killed({ hub, folder, env }: Bench, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [BIN, ...args], { cwd: folder, env: { ...plainEnv, ...env }, stdio: 'ignore' })
  const asked = new Set<string>()
  const ended = new Promise((resolve) => child.once('exit', resolve))
  hub.options = {
    ...hub.options,
    disturb(request) {
      if (!isWhole(request)) return undefined
      if (asked.add(request.path).size < 8) return undefined
      child.kill('SIGKILL')
      return { stall: 100 }
    },
  }
  await ended
  hub.options = { repositories: TWO }
}

test('after kill -9 the next run uses what is left with --resume, and removes it without', () =>
  withHub({ repositories: TWO }, async (bench) => {
    const { hub, folder, env, write, run } = bench
    const work = () => readdirSync(path.join(env.TERGE_CACHE!, 'work'))
    write('recipe.yml', RECIPE)
    const args = ['run', 'recipe.yml', '--disk', '120kB', '--no-sync', '-o', 'streamed']
    await killed(bench, [...args, '--resume'])
    assert.is(work().length, 1)
    hub.seen.length = 0
    const ran = await run([...args, '--resume'])
    assert.is(ran.code, 0, ran.err)
    const again = wholeFiles(hub)
    assert.ok(again.size > 0 && again.size <= 3, [...again.keys()].join())
    assert.equal(work(), [])
    await killed(bench, args.with(-1, 'other'))
    assert.is(work().length, 1)
    hub.seen.length = 0
    const both = await Promise.all(['one', 'two'].map((name) => run(args.with(-1, name))))
    assert.equal(
      both.map(({ code }) => code),
      [0, 0],
      both.map(({ err }) => err).join(),
    )
    assert.equal(work(), [])
    assert.is((await run(['run', 'recipe.yml', '-o', 'whole', '--no-sync'])).code, 0)
    for (const name of ['streamed', 'one', 'two']) same(folder, name, 'whole')
  }))

test.run()

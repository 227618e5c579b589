/** Runs that fetch models from a store a few files at a time: faults, locks, and files of which only the length is known. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault, plan, planDownloads, type RunOptions, run as runPlan } from '../../src/index.js'
import { mean, shards } from '../hub/setup.js'
import { same, within } from '../hub/streams.js'
import type { S3Options, S3Seen } from './server.js'
import { KEYS, type S3Bench, under, withS3 } from './setup.js'

const A = shards(1, 4, 1)
const B = shards(2, 4, 2)
const RECIPE = mean('s3://bucket/a', 's3://bucket/b')
const isShard = (key: string): boolean => key.endsWith('.safetensors')

/** Nothing but the length of the shards of `a` is published. */
const bucket = (): S3Options['buckets'] => ({
  bucket: {
    ...Object.fromEntries(
      Object.entries(under('a/', A)).map(([key, object], index) => [key, { ...object, etag: `part${index}-2` }]),
    ),
    ...under('b/', B),
  },
})

/** Whole objects that were asked for. */
const asked = (seen: readonly S3Seen[]): string[] =>
  seen.flatMap(({ method, url, headers }) => (method === 'GET' && isShard(url) && !headers.range ? [url] : []))

test('faults of the store are survived; a lock and --no-digests work; nothing is left', () =>
  withS3({ buckets: bucket() }, async (bench) => {
    const { s3, folder, cache, write, run } = bench
    write('recipe.yml', RECIPE)
    const told = await run(['plan', 'recipe.yml'])
    assert.match(told.err, 's3-unverified')
    assert.match(told.out, /to download: 13\d kB; the least is --disk \d+kB/)
    s3.options = {
      ...s3.options,
      disturb: ({ method, key, start, body, count }) =>
        method === 'GET' && isShard(key) && body.length > 5000
          ? count === 2
            ? { status: 503 }
            : start === 0 && count === 3
              ? { cut: 5000 }
              : undefined
          : undefined,
    }
    const ran = await run(['run', 'recipe.yml', '--disk', '90kB', '-o', 'streamed', '--no-sync'])
    assert.is(ran.code, 0, ran.err)
    assert.equal(readdirSync(path.join(cache, 'work')), [])
    s3.options = { buckets: bucket() }
    assert.is((await run(['run', 'recipe.yml', '--disk', '90kB', '-o', 'bare', '--no-digests', '--no-sync'])).code, 0)
    assert.is((await run(['lock', 'recipe.yml'], { TERGE_CACHE: path.join(folder, 'other') })).code, 0)
    const locked = await run(['run', 'recipe.yml', '--locked', '--disk', '90kB', '-o', 'locked', '--no-sync'])
    assert.is(locked.code, 0, locked.err)
    assert.not.match(locked.err, 's3-unverified')
    assert.not.ok(
      existsSync(path.join(cache, 's3')) &&
        readdirSync(path.join(cache, 's3'), { recursive: true, encoding: 'utf8' }).some(isShard),
    )
    assert.is((await run(['run', 'recipe.yml', '-o', 'whole', '--no-sync'])).code, 0)
    same(folder, 'streamed', 'whole')
    for (const name of ['bare', 'locked'])
      for (const file of readdirSync(path.join(folder, 'whole')).filter(isShard))
        assert.ok(readFileSync(path.join(folder, name, file)).equals(readFileSync(path.join(folder, 'whole', file))))
  }))

test('a resumed run fetches again what has no checksum, once', () =>
  withS3({ buckets: bucket() }, (bench) =>
    within(bench, async () => {
      const { s3, folder, write } = bench
      const file = write('recipe.yml', RECIPE)
      const prepare = (output: string) => plan(file, { output: path.join(folder, output) })
      const settings = { threads: 1, sync: false, resume: true, disk: 90_000 }
      const stop = new AbortController()
      s3.options = {
        ...s3.options,
        disturb() {
          if (asked(s3.seen).length < 5) return undefined
          stop.abort()
          return { stall: 100 }
        },
      }
      await runPlan(await prepare('streamed'), { ...settings, signal: stop.signal }).catch(() => {})
      assert.not.ok(existsSync(path.join(folder, 'streamed')))
      s3.options = { buckets: bucket() }
      s3.seen.length = 0
      await runPlan(await prepare('streamed'), settings)
      const again = asked(s3.seen)
      assert.is(again.length, new Set(again).size, again.join())
      assert.ok(again.filter((url) => url.startsWith('/bucket/a/')).length >= 3, again.join())
      await runPlan(await prepare('whole'), { threads: 1, sync: false })
      same(folder, 'streamed', 'whole')
    }),
  ))

/** Something that has to happen. If it does not happen soon, waiting ends without it. */
function awaited() {
  let happened = false
  let note = () => {}
  const soon = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, 10_000)
    note = () => {
      happened = true
      clearTimeout(timer)
      resolve()
    }
  })
  return { soon, note, happened: () => happened }
}

const UPLOADED = RECIPE.replace(/output: .*/, 'output: {path: s3://bucket/made, shard_size: 17KB}')
const streams = async (
  work: (bench: S3Bench, settings: RunOptions, prepare: Prepare) => Promise<void>,
): Promise<void> =>
  withS3({ buckets: bucket(), keys: KEYS }, (bench) =>
    within(bench, async () => {
      const file = bench.write('recipe.yml', UPLOADED)
      const prepare: Prepare = (output) =>
        plan(file, output === undefined ? {} : { output: path.join(bench.folder, output) })
      const { leastDisk } = (await planDownloads(await prepare()))!
      await work(bench, { threads: 1, sync: false, disk: leastDisk + 40_000 }, prepare)
    }),
  )
type Prepare = (output?: string) => ReturnType<typeof plan>

function sameObjects({ s3, folder }: S3Bench, name: string): void {
  // A model card names the folder.
  const files = readdirSync(path.join(folder, name)).filter((file) => file !== 'README.md')
  assert.equal(
    Object.keys(s3.options.buckets.bucket!)
      .filter((key) => key.startsWith('made/'))
      .sort(),
    [...files, 'README.md', '_SUCCESS'].map((file) => `made/${file}`).sort(),
  )
  for (const file of files)
    assert.ok(
      readFileSync(path.join(folder, name, file)).equals(s3.options.buckets.bucket![`made/${file}`]!.bytes),
      file,
    )
}

test('while a file is uploaded the next ones are made, and several stages are fetched ahead', () =>
  streams(async (bench, settings, prepare) => {
    const { s3 } = bench
    const [made, fetched] = [awaited(), awaited()]
    let tensors = 0
    s3.options = {
      ...s3.options,
      disturb({ method, key, start, body }) {
        if (method !== 'GET' || !isShard(key) || body.length < 5000 || start > 0) return undefined
        if (key === 'a/model-00003-of-00004.safetensors') fetched.note()
        return key === 'a/model-00002-of-00004.safetensors' ? { after: fetched.soon } : undefined
      },
      disturbUpload: ({ verb, key }) => (verb === 'part' && key.includes('-00001-') ? { after: made.soon } : undefined),
    }
    await runPlan(await prepare(), {
      ...settings,
      listen(event) {
        if (event.kind === 'progress') tensors = event.tensors
        if (tensors >= 2) made.note()
      },
    })
    assert.equal([made.happened(), fetched.happened()], [true, true])
    await runPlan(await prepare('whole'), { threads: 1, sync: false })
    sameObjects(bench, 'whole')
  }))

test('an upload that fails or is interrupted ends the run, and a resumed run continues', () =>
  streams(async (bench, settings, prepare) => {
    const { s3, cache } = bench
    const { options } = s3
    const work = () =>
      readdirSync(path.join(cache, 'work'), { recursive: true, encoding: 'utf8' }).filter((name) => isShard(name))
    const stop = new AbortController()
    s3.options = {
      ...options,
      disturbUpload: ({ verb, key }) =>
        verb === 'part' && key.includes('-00001-')
          ? { before: () => stop.abort(), after: new Promise(() => {}) }
          : undefined,
    }
    const interrupted = await runPlan(await prepare(), { ...settings, signal: stop.signal }).catch(
      (error: unknown) => error,
    )
    assert.ok(interrupted instanceof Fault && interrupted.diagnostics[0]!.code === 'interrupted', String(interrupted))
    assert.equal([work(), s3.uploads.size], [[], 0])
    s3.options = {
      ...options,
      disturbUpload: ({ verb, key }) =>
        verb === 'part' && key.includes('-00002-') ? { status: 403, code: 'AccessDenied' } : undefined,
    }
    const failed = await runPlan(await prepare(), settings).catch((error: unknown) => error)
    assert.ok(failed instanceof Fault && /access|denied|refuse/i.test(failed.message), String(failed))
    s3.options = options
    s3.seen.length = 0
    await runPlan(await prepare(), { ...settings, resume: true })
    assert.not(
      s3.seen.some(({ method, url }) => method === 'PUT' && url.includes('-00001-')),
      'what was uploaded is used',
    )
    assert.is(s3.uploads.size, 0)
    await runPlan(await prepare('whole'), { threads: 1, sync: false })
    sameObjects(bench, 'whole')
  }))

test.run()

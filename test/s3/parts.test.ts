/** Runs in parts that meet in an S3 store: the same bytes as one run, nothing visible before the end, and nothing left after it. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { sha256 } from '../../src/core/digest.js'
import { finishParts } from '../../src/session/parts/finish.js'
import type { PartOptions } from '../../src/session/parts/options.js'
import { type PartChoice, runPart, runPartWith } from '../../src/session/parts/part.js'
import { plan } from '../../src/session/plan.js'
import { run } from '../../src/session/run.js'
import { enter, othersIn } from '../../src/storage/meeting/presence.js'
import { s3Meeting } from '../../src/storage/s3/meeting/place.js'
import { s3Settings } from '../../src/storage/s3/settings.js'
import { everything } from '../hub/setup.js'
import { within } from '../hub/streams.js'
import { f32, numbers, writeModel } from '../support/files.js'
import { openCounting } from '../support/pools.js'
import type { S3Options } from './server.js'
import { KEYS, type S3Bench, withS3 } from './setup.js'

const WORK = 's3://bucket/jobs/one'
const OPTIONS: PartOptions = { threads: 1, sync: false, commands: 'run', work: WORK }

/** An output in the store and a local one, with a method that reads whole models first. */
const recipe = (first: string, second: string): string => `terge: 1
models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
steps:
  mean: {merge: {base: a, method: metagpt, models: [b, c]}}
  ties: {merge: {base: a, method: ties, models: [b, c], parameters: {density: 0.4}}}
outputs:
  - {from: mean, path: ${first}, shard_size: 3KB}
  - {from: ties, path: ${second}, shard_size: 5KB}
`
const MIXED = recipe('s3://bucket/out', 'ties')

function prepare({ folder, write }: S3Bench, text: string): void {
  for (const [index, name] of ['a', 'b', 'c'].entries())
    writeModel(path.join(folder, `${name}.safetensors`), {
      ...Object.fromEntries(
        Array.from({ length: 9 }, (_, layer) => [
          `layers.${layer}.weight`,
          f32([20 + layer, 12], numbers((20 + layer) * 12, 100 * index + layer)),
        ]),
      ),
      ...(name === 'c' ? { more: f32([5], [1, 2, 3, 4, 5]) } : {}),
    })
  write('r.yml', text)
}

interface Bench extends S3Bench {
  readonly part: (choice: PartChoice, options?: PartOptions) => Promise<unknown>
  readonly finish: (options?: PartOptions) => Promise<unknown>
  readonly keys: (prefix?: string) => string[]
  readonly objects: () => Record<string, { bytes: Uint8Array }>
}

/** Records are read without an ETag, unlike models. */
const store = (more: Partial<S3Options> = {}): S3Options => ({
  ...{ buckets: { bucket: {} }, keys: KEYS, ignoresIfMatch: true },
  ...more,
})

const withParts = (text: string, work: (bench: Bench) => Promise<void>, more: Partial<S3Options> = {}): Promise<void> =>
  withS3(store(more), (bench) =>
    within(bench, async () => {
      prepare(bench, text)
      const planned = () => plan(path.join(bench.folder, 'r.yml'))
      const objects = () => bench.s3.options.buckets.bucket!
      await work({
        ...{ ...bench, objects },
        part: async (choice, options = {}) => runPart(await planned(), choice, { ...OPTIONS, ...options }),
        finish: async (options = {}) => finishParts(await planned(), { ...OPTIONS, ...options }),
        keys: (prefix = '') =>
          Object.keys(objects())
            .filter((key) => key.startsWith(prefix))
            .sort(),
      })
    }),
  )

/** The objects and the local files of outputs. */
function outputsOf({ folder, objects }: Bench): Map<string, string> {
  const found = new Map<string, string>()
  for (const [key, { bytes }] of Object.entries(objects())) if (!key.startsWith('jobs/')) found.set(key, sha256(bytes))
  for (const name of ['out', 'ties'].filter((one) => existsSync(path.join(folder, one))))
    for (const file of readdirSync(path.join(folder, name)))
      found.set(`./${name}/${file}`, sha256(readFileSync(path.join(folder, name, file))))
  return new Map([...found].sort())
}

const expected = new Map<string, Map<string, string>>()

/** Does a recipe in parts, and compares with one run. */
const sameAsRun = (text: string, work: (bench: Bench) => Promise<void>, more: Partial<S3Options> = {}): Promise<void> =>
  withParts(
    text,
    async (bench) => {
      const { folder, objects, s3 } = bench
      if (!expected.has(text)) {
        await run(await plan(path.join(folder, 'r.yml')), { threads: 1, sync: false })
        expected.set(text, outputsOf(bench))
        for (const key of Object.keys(objects())) delete objects()[key]
        for (const name of ['out', 'ties']) rmSync(path.join(folder, name), { recursive: true, force: true })
      }
      const before = readdirSync(folder)
      await work(bench)
      const made = [...expected.get(text)!.keys()].flatMap((name) => /^\.\/([^/]+)/.exec(name)?.[1] ?? [])
      assert.equal(outputsOf(bench), expected.get(text))
      assert.is(s3.uploads.size, 0)
      const left = bench.keys('jobs/').filter((key) => !key.includes('/published-'))
      assert.equal(left, [], 'nothing is left where parts met')
      assert.equal(readdirSync(folder).sort(), [...new Set([...before, ...made, 'cache'])].sort())
      const cache = readdirSync(path.join(folder, 'cache'), { recursive: true, encoding: 'utf8' })
      assert.equal(
        cache.filter((name) => /part-|inputs-|\.safetensors/.test(name)),
        [],
      )
    },
    more,
  )

async function refused(work: Promise<unknown>): Promise<readonly [code: string, text: string]> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.ok(error instanceof Fault, String(error))
  const { code, message, hint = '' } = error.diagnostics[0]!
  for (const secret of [KEYS.id, KEYS.secret, '127.0.0.1']) assert.not(`${message} ${hint}`.includes(secret))
  return [code, `${message}; ${hint}`]
}

test('1, 3 and 5 parts, in any order and twice at once, without a shared file system', async () => {
  await sameAsRun(MIXED, async ({ part, finish, keys, s3, objects, folder }) => {
    await part('analyse')
    await part({ index: 0, of: 1 })
    assert.equal(keys('out/'), [], 'nothing is visible before the end')
    assert.ok(s3.uploads.size > 2)
    const texts = keys('jobs/').map((key) => Buffer.from(objects()[key]!.bytes).toString('latin1'))
    for (const secret of [KEYS.id, KEYS.secret, new URL(s3.url).host])
      assert.not(`${texts.join('')}${everything(folder).text}`.includes(secret), 'a secret is shown')
    await finish()
    // Again, on another machine: it is published, and nothing else is done.
    renameSync(path.join(folder, 'cache'), path.join(folder, 'moved'))
    const seen = s3.seen.length
    await finish()
    assert.not(s3.seen.slice(seen).some(({ url }) => /out\/.*(uploadId|uploads=)/.test(url)))
    rmSync(path.join(folder, 'cache'), { recursive: true })
    renameSync(path.join(folder, 'moved'), path.join(folder, 'cache'))
  })
  await sameAsRun(MIXED, async ({ part, finish }) => {
    await part('analyse')
    for (const index of [2, 0, 1]) await part({ index, of: 3 })
    await finish()
  })
  await sameAsRun(MIXED, async ({ part, finish }) => {
    await Promise.all([part('analyse'), part('analyse')])
    await Promise.all([4, 0, 1, 1, 3, 2].map((index) => part({ index, of: 5 })))
    await finish()
  })
})

test('fewer files than parts: pieces meet in the store, and the end of the run uploads the file', () =>
  sameAsRun(recipe('s3://bucket/out', 'ties').replaceAll(/, shard_size: \dKB/g, ''), async (bench) => {
    const { part, finish, keys, objects, s3 } = bench
    await part('analyse')
    await Promise.all([3, 1, 0, 2, 4].map((index) => part({ index, of: 5 })))
    const pieces = keys('jobs/one/outputs.terge/')
    assert.ok(pieces.length >= 5 && new Set(pieces.map((key) => key.slice(-1))).size === 5, pieces.join())
    assert.is(s3.uploads.size, 0)
    // Another piece of the same size is not the one of the record.
    const [first] = pieces
    const { bytes } = objects()[first!]!
    objects()[first!] = { bytes: Buffer.from(bytes).fill(1) }
    assert.is((await refused(finish()))[0], 's3-digest')
    objects()[first!] = { bytes }
    await finish()
  }))

test('with a folder, parts upload as well; ranks by energy and SHA-256 of files that are no longer here', () => {
  const text = `terge: 1
models: {a: a.safetensors, b: b.safetensors}
steps:
  lora: {extract: {lora: {from: b, base: a, energy: 0.3}}}
  mean: {merge: {method: linear, models: [a, b]}}
outputs:
  - {from: mean, path: s3://bucket/mean, shard_size: 3KB}
  - {from: lora, path: s3://bucket/lora}
`
  return withParts(text, async (bench) => {
    const { part, finish, folder, s3, objects } = bench
    await run(await plan(path.join(folder, 'r.yml')), { threads: 1, sync: false, sha256: true })
    const one = outputsOf(bench)
    for (const key of Object.keys(objects())) delete objects()[key]
    const work = path.join(folder, 'work')
    await part('analyse', { work })
    for (const index of [1, 2, 0]) await part({ index, of: 3 }, { work })
    assert.equal(outputsOf(bench).size, 0)
    assert.not(everything(work).names.some((name) => name.includes('safetensors')))
    await finishParts(await plan(path.join(folder, 'r.yml')), { threads: 1, sync: false, sha256: true, work })
    assert.equal(outputsOf(bench), one)
    assert.is(s3.uploads.size, 0)
    assert.ok(readdirSync(work).every((name) => name === 'owner' || name.startsWith('published-')))
    await finish({ work })
    // Something else is there now.
    objects()['mean/config.json'] = { bytes: Buffer.from('{}') }
    assert.is((await refused(finish({ work })))[0], 'output-exists')
    assert.is((await refused(part({ index: 0, of: 3 }, { work })))[0], 'output-exists')
  })
})

test('an interrupted part keeps complete files, and --finish names uploads that are gone', () => {
  const stop = new AbortController()
  // The upload of the first file is done when the second one is sent.
  const disturbUpload: S3Options['disturbUpload'] = ({ verb, key }) =>
    verb === 'part' && key.includes('00002') ? { before: () => stop.abort() } : undefined
  const work = async ({ part, finish, s3, keys }: Bench) => {
    await part('analyse')
    const stopped = part({ index: 0, of: 2 }, { signal: stop.signal })
    assert.is((await refused(stopped))[0], 'interrupted')
    const sent = () => s3.seen.filter(({ url }) => url.includes('partNumber')).length
    const before = s3.uploads.size
    assert.ok(before > 0 && keys('jobs/').some((key) => key.endsWith('.journal')))
    await part({ index: 0, of: 2 })
    const first = sent()
    await part({ index: 0, of: 2 })
    assert.is(sent(), first, 'what is there is not sent again')
    assert.match((await refused(finish()))[1], '1 part of 2 is not done: 1')
    await part({ index: 1, of: 2 })
    const [id] = [...s3.uploads].find(([, { key }]) => key.includes('00001'))!
    s3.uploads.delete(id)
    assert.match(
      (await refused(finish()))[1],
      /1 part of 2 is not valid: the uploads of 1 file.*: 0; run the same command/,
    )
    assert.equal(keys('out/'), [])
    await part({ index: 0, of: 2 })
    const [left] = keys('jobs/one/outputs.terge/1/')
    const index = Number(left!.slice(-1))
    delete s3.options.buckets.bucket![left!]
    assert.match((await refused(finish()))[1], new RegExp(`uploads of 1 file.*: ${index};`))
    await part({ index, of: 2 })
    assert.ok(keys('jobs/').includes(left!))
    await finish()
  }
  return sameAsRun(MIXED, work, { disturbUpload })
})

test('a finish that fails while it publishes is run again, and a part before that', () => {
  let broken = true
  return sameAsRun(
    MIXED,
    async ({ part, finish, keys }) => {
      await part('analyse')
      for (const index of [0, 1]) await part({ index, of: 2 })
      await refused(finish())
      assert.ok(keys('out/').length > 0 && !keys('out/').includes('out/_SUCCESS'))
      broken = false
      await part({ index: 1, of: 2 })
      await finish()
    },
    {
      disturbUpload: ({ verb, key }) =>
        broken && verb === 'complete' && key.startsWith('out/model-00003') ? { inside: 'AccessDenied' } : undefined,
    },
  )
})

test('a part that ends after the others were finished leaves nothing', () =>
  sameAsRun(MIXED, async ({ part, finish, folder, objects, s3 }) => {
    await part('analyse')
    await part({ index: 1, of: 2 })
    const kept = { ...objects() }
    const uploads = [...s3.uploads.keys()]
    const late = runPartWith(await plan(path.join(folder, 'r.yml')), { index: 0, of: 2 }, OPTIONS, {
      openPool: openCounting(12, () => {
        // As if its mark had been lost, and `--finish` had not waited.
        for (const key of Object.keys(objects())) if (key.startsWith('jobs/')) delete objects()[key]
      }),
    })
    assert.is((await refused(late))[0], 'work-in-use')
    assert.equal([...s3.uploads.keys()], uploads)
    for (const [key, object] of Object.entries(kept)) objects()[key] = object
    await part({ index: 0, of: 2 })
    await finish()
  }))

/** Changes a record, with a checksum that is right. */
function tamper({ objects, keys }: Bench, name: string, change: (text: string) => string): string {
  const key = keys('jobs/').find((one) => one.includes(name))!
  const before = Buffer.from(objects()[key]!.bytes).toString()
  const end = before.lastIndexOf('\n', before.length - 2) + 1
  const body = change(before.slice(0, end))
  objects()[key] = { bytes: Buffer.from(`${body}{"sum":"${sha256(body)}"}\n`) }
  return before
}

test('damaged and tampered records are refused or done again', () =>
  sameAsRun(MIXED, async (bench) => {
    const { part, finish, keys, objects, s3 } = bench
    await part('analyse')
    for (const index of [0, 1]) await part({ index, of: 2 })
    const record = 'part-0-of-2.record'
    const [firstId, otherId] = [...s3.uploads.keys()]
    const changes: ((text: string) => string)[] = [
      () => 'null\n',
      () => '[]\n',
      (text) => text.replace(/"sent":\[.*\]\]/, '"sent":{"0":1}'),
      (text) => text.replace(/"sent":\[.*\]\]/, '"sent":[]'),
      (text) => text.replace(/"digests":\[\[0,/, '"digests":[[1e300,'),
      (text) => text.replace(/"digests":\[\[/, '"digests":[[99999999,"a"],['),
      (text) => text.replace(/"states":\[/, '"states":[{},'),
      (text) => text.replaceAll('out', '../out').replaceAll('model-0', '../model-0'),
      (text) => text.replace(/"size":\d+/, '"size":1e308'),
      (text) => text.replace(/"partSize":\d+/, '"partSize":-1'),
      (text) => text.replace(/"partSize":\d+/, '"partSize":1'),
      (text) => text.replace(/"upload":\{"id":"[^"]*"/, '"upload":{"id":"a b&c"'),
      (text) => text.replace(firstId!, otherId!),
      (text) => text.replace(firstId!, 'doesNotExist'),
      (text) => text.replace(/"md5":"[0-9a-f]{32}"/, '"md5":7'),
      (text) => text.replace(/"etag":"\\"[0-9a-f]{32}/, `"etag":"\\"${'0'.repeat(32)}`),
    ]
    for (const change of changes) {
      const before = tamper(bench, record, change)
      const [code, text] = await refused(finish())
      assert.is(code, 'part-missing', String(change))
      assert.match(text, /: 0;/, String(change))
      assert.equal(keys('out/'), [])
      objects()[`jobs/one/${record}`] = { bytes: Buffer.from(before) }
    }
    // What other attempts and the place itself say.
    objects()['jobs/one/part-0-of-2.0123456789abcdef.sent'] = { bytes: Buffer.from('{"sent":[[0,0,{}]]}') }
    objects()['jobs/one/part-0-of-2.0123456789abcdef.journal'] = {
      bytes: Buffer.from('{"journal":5}\n[{"key":1},"x"]\n7'),
    }
    for (const [name, text, code] of [
      ['parts.bound', '1e5', 'foreign-work-folder'],
      ['parts.bound', '{"a":1}', 'foreign-work-folder'],
      ['plan.bound', '[1]', 'other-work'],
      ['plan.bound', '{"plan":{"x":1},"terge":[]}', 'other-work'],
      ['notes.txt', 'mine', 'foreign-work-folder'],
    ] as const) {
      const before = objects()[`jobs/one/${name}`]
      objects()[`jobs/one/${name}`] = { bytes: Buffer.from(text) }
      assert.is((await refused(finish()))[0], code, `${name} ${text}`)
      if (before) objects()[`jobs/one/${name}`] = before
      else delete objects()[`jobs/one/${name}`]
    }
    tamper(bench, record, (text) => text.replace(firstId!, 'doesNotExist'))
    await part({ index: 0, of: 2 })
    await finish()
  }))

test('other plans, other numbers of parts, and prefixes of others are refused', () =>
  withParts(MIXED, async ({ part, finish, write, objects, keys }) => {
    await part('analyse')
    await part({ index: 0, of: 2 })
    assert.match((await refused(part({ index: 0, of: 3 })))[1], 's3://bucket/jobs/one: has work in 2 parts, not in 3')
    write('r.yml', MIXED.replace('0.4', '0.5'))
    assert.is((await refused(part({ index: 1, of: 2 })))[0], 'other-work')
    assert.is((await refused(finish()))[0], 'other-work')
    for (const work of ['s3://bucket', 's3://bucket/out', 's3://bucket/out/', 'hf:org/name'])
      assert.is((await refused(part('analyse', { work })))[0], 'bad-value', work)
    objects()['mine/model.safetensors'] = { bytes: Buffer.from('x') }
    assert.is((await refused(part('analyse', { work: 's3://bucket/mine' })))[0], 'foreign-work-folder')
    assert.is((await refused(part('analyse', { work: 's3://absent/mine' })))[0], 's3-not-found')
    assert.equal(keys('mine/'), ['mine/model.safetensors'])
  }))

test('marks of other machines: one that changes lives, one that does not was killed', () =>
  withParts(MIXED, async ({ keys }) => {
    const pace = { beat: 20, patience: 400, pause: 20 }
    const settings = await s3Settings()
    const place = s3Meeting({ settings, reference: WORK, bucket: 'bucket', prefix: 'jobs/one/', pace })
    const own = await enter(place, 'finish')
    const mark = (beat: number) => JSON.stringify({ host: 'elsewhere', process: '1 2', beat })
    await place.write('part-0-of-2.00.running', mark(1))
    assert.equal(await othersIn(place, own, () => true), [])
    assert.not(
      keys('jobs/').some((key) => key.includes('part-0-of-2')),
      'it is removed',
    )
    await place.write('part-1-of-2.00.running', mark(1))
    let beat = 1
    const timer = setInterval(() => void place.refresh('part-1-of-2.00.running', mark(++beat)), 50)
    assert.equal(await othersIn(place, own, () => true), [{ role: 'part-1-of-2', host: 'elsewhere' }])
    clearInterval(timer)
    await own.leave()
    // Who was removed does not come back.
    await place.remove('part-1-of-2.00.running')
    await place.refresh('part-1-of-2.00.running', mark(9))
    assert.equal(keys('jobs/'), [])
  }))

test('with --disk, models come and go within the bound', () =>
  withParts('', async (bench) => {
    const { folder, objects, s3, write, keys } = bench
    for (const name of ['a', 'b'])
      objects()[`in/${name}/model.safetensors`] = { bytes: readFileSync(path.join(folder, `${name}.safetensors`)) }
    write(
      'r.yml',
      'terge: 1\nmodels: {a: s3://bucket/in/a, b: s3://bucket/in/b, c: c.safetensors}\nmerge: {method: linear}\noutput: {path: s3://bucket/out, shard_size: 3KB}\n',
    )
    const planned = () => plan(path.join(folder, 'r.yml'))
    const made = () => new Map([...outputsOf(bench)].filter(([name]) => name.startsWith('out/')))
    await run(await planned(), { threads: 1, sync: false, disk: 80_000 })
    const streamed = made()
    for (const key of keys('out/')) delete objects()[key]
    await run(await planned(), { threads: 1, sync: false })
    const one = made()
    assert.equal(streamed, one)
    for (const key of keys('out/')) delete objects()[key]
    rmSync(path.join(folder, 'cache'), { recursive: true })
    const options = { ...OPTIONS, disk: 80_000 }
    const [code] = await refused(runPart(await planned(), { index: 0, of: 2 }, { ...options, disk: 10_000 }))
    assert.is(code, 'disk-too-small')
    for (const index of [1, 0]) await runPart(await planned(), { index, of: 2 }, options)
    s3.seen.length = 0
    await finishParts(await planned(), options)
    assert.equal(made(), one)
    assert.not(s3.seen.some(({ method, url, headers }) => method === 'GET' && url.includes('/in/') && !headers.range))
    const left = readdirSync(path.join(folder, 'cache', 'work'), { recursive: true, encoding: 'utf8' })
    assert.not(left.some((name) => /inputs-|part-|\.safetensors/.test(name)))
    assert.is(s3.uploads.size, 0)
  }))

test.run()

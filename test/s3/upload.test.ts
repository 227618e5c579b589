/** Uploads to a store, by the interface that a run uses: what is visible when, faults, and what an earlier run left. */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import type { Destination, Receipt, UploadPlan } from '../../src/storage/remote/upload.js'
import { s3Destination } from '../../src/storage/s3/upload/destination.js'
import { partSizeOf } from '../../src/storage/s3/upload/multipart.js'
import { inFolder } from '../support/files.js'
import { type LocalFile, shardsToUpload } from '../support/uploads.js'
import { type S3Options, type S3Server, startS3 } from './server.js'
import { KEYS } from './setup.js'

const PART = 1000
const FRESH = { receipts: [], publishing: false }
const SMALL = [
  { name: 'config.json', content: Buffer.from('{"model_type": "test"}') },
  { name: 'lineage.json', content: Buffer.from('{"lineage": 2}') },
]

interface Bench {
  readonly s3: S3Server
  readonly make: (change?: Partial<UploadPlan>, answerTimeout?: number) => Destination
  /** The files to upload: 2 and 5 parts. */
  readonly files: readonly LocalFile[]
  readonly visible: () => string[]
  readonly bytes: (name: string) => Buffer
}

const options = (more: Partial<S3Options> = {}): S3Options => ({ buckets: { b: {} }, keys: KEYS, ...more })

const withStore = (more: Partial<S3Options>, work: (bench: Bench) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    const s3 = await startS3(options(more))
    const { files, plan } = shardsToUpload(folder, SMALL)
    const make = (change: Partial<UploadPlan> = {}, answerTimeout = 5000): Destination =>
      s3Destination({
        settings: {
          endpoint: s3.url,
          region: 'us-east-1',
          credentials: { accessKeyId: KEYS.id, secretAccessKey: KEYS.secret },
          cache: path.join(folder, 'cache'),
          answerTimeout,
          byteTimeout: 5000,
        },
        ...{ reference: 's3://b/out', bucket: 'b', prefix: 'out/', marker: '_SUCCESS', partSize: PART },
        plan: { ...plan, ...change },
      })
    try {
      await work({
        ...{ s3, make, files },
        visible: () => Object.keys(s3.options.buckets.b!).sort(),
        bytes: (name) => readFileSync(path.join(folder, name)),
      })
    } finally {
      await s3.close()
    }
  })

const uploadAll = async (place: Destination, { files }: Bench): Promise<Receipt[]> => {
  const receipts: Receipt[] = []
  for (const file of files) receipts.push(await place.upload(file))
  return receipts
}

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    for (const { message, hint = '' } of error.diagnostics)
      for (const secret of ['127.0.0.1', KEYS.id, KEYS.secret, 'http:'])
        assert.not(`${message} ${hint}`.includes(secret))
    return error.diagnostics[0]!.code
  }
  return 'none'
}

const WHOLE = [
  'out/_SUCCESS',
  'out/config.json',
  'out/lineage.json',
  'out/model-00001-of-00002.safetensors',
  'out/model-00002-of-00002.safetensors',
]

function isPublished({ s3, files, bytes }: Bench): void {
  const objects = s3.options.buckets.b!
  for (const { name } of files) assert.ok(bytes(name).equals(Buffer.from(objects[`out/${name}`]!.bytes)), name)
  const marker = JSON.parse(Buffer.from(objects['out/_SUCCESS']!.bytes).toString()) as {
    files: { name: string; etag: string; size: number }[]
  }
  assert.equal(
    marker.files.map(({ name }) => name).sort(),
    WHOLE.slice(1).map((key) => key.slice(4)),
  )
  for (const { name, size } of marker.files) assert.is(objects[`out/${name}`]!.bytes.length, size)
  assert.is(s3.uploads.size, 0)
}

test('a file has at most 10,000 parts of at least 5 MiB', () => {
  assert.is(partSizeOf(1), 64 * 2 ** 20)
  assert.is(partSizeOf(50e9), 64 * 2 ** 20)
  assert.ok(Math.ceil(5e12 / partSizeOf(5e12)) <= 10_000)
})

test('nothing is visible before the end, and the marker is the last object', () =>
  withStore({}, async (bench) => {
    const { s3, make, visible } = bench
    const place = make()
    await place.begin(FRESH)
    const receipts = await uploadAll(place, bench)
    assert.equal(visible(), [])
    assert.equal(
      [...s3.uploads.values()].map(({ parts }) => parts.size),
      [2, 5],
    )
    assert.not(/http|AKIA/.test(JSON.stringify(receipts)), 'receipts have no address and no key')
    await place.publish(receipts, SMALL)
    assert.equal(visible(), WHOLE)
    isPublished(bench)
    const order = s3.seen.filter(({ method, url }) => method === 'PUT' && !url.includes('uploadId'))
    assert.match(order.at(-1)!.url, /_SUCCESS$/)
    // Every part was signed with its MD5.
    const parts = s3.seen.filter(({ url }) => url.includes('partNumber'))
    assert.is(parts.length, 7)
    for (const { headers } of parts) assert.match(headers.authorization!, /SignedHeaders=content-md5;/)
  }))

test('a store that refuses, cuts, damages and answers errors inside of success is survived', () => {
  const broken = new Set<string>()
  const once = (what: string): boolean => !broken.has(what) && broken.add(what) !== undefined
  return withStore(
    {
      disturbUpload: ({ verb, number, count, key }) => {
        if (verb === 'create' && once('create')) return { status: 503, headers: { 'retry-after': '0.05' } }
        if (verb === 'part' && number === 2 && once(`cut ${key}`)) return { cut: true }
        if (verb === 'part' && number === 3 && once('lost')) return { lose: true }
        if (verb === 'part' && number === 4 && once('damage')) return { damage: true }
        if (verb === 'part' && number === 5 && count < 16) return { status: 429, code: 'TooManyRequests' }
        if (verb === 'complete' && once('inside')) return { inside: 'InternalError' }
        if (verb === 'put' && once('put')) return { status: 500, code: 'InternalError' }
        return undefined
      },
    },
    async (bench) => {
      const place = bench.make()
      await place.begin(FRESH)
      await place.publish(await uploadAll(place, bench), SMALL)
      isPublished(bench)
      assert.is(broken.size, 7)
    },
  )
})

test('a completion whose answer is lost counts, and one that never happened does not', () => {
  let lost = 0
  return withStore(
    { disturbUpload: ({ verb }) => (verb === 'complete' && lost++ === 0 ? { lose: true } : undefined) },
    async (bench) => {
      const { s3, make } = bench
      const place = make()
      const receipts = await uploadAll(place, bench)
      await place.publish(receipts, SMALL)
      isPublished(bench)
      // Published again after a kill before the end of the run.
      assert.ok(await place.holds(receipts[0]!))
      await make({}).begin({ receipts, publishing: true })
      await place.publish(receipts, SMALL)
      isPublished(bench)
      s3.options.buckets.b![`out/${receipts[0]!.name}`] = { bytes: Buffer.from('another') }
      assert.not(await place.holds(receipts[0]!))
      assert.is(await codeOf(place.publish(receipts, SMALL)), 'upload-lost')
    },
  )
})

test('a killed upload continues with the parts that have the same bytes', () =>
  withStore({}, async (bench) => {
    const { s3, make, files } = bench
    const [, file] = files
    const place = make()
    const noted: Receipt[] = []
    const stop = new AbortController()
    const note = async (receipt: Receipt): Promise<void> => {
      noted.push(receipt)
      if (receipt.upload!.parts.filter((part) => part !== null).length === 3) stop.abort(new Error('killed'))
    }
    await place.upload(file!, { note, signal: stop.signal }).catch(() => {})
    const before = s3.seen.filter(({ url }) => url.includes('partNumber')).length
    const earlier = noted.at(-1)!
    // A part that the store no longer has is sent again.
    ;[...s3.uploads.values()][0]!.parts.delete(1)
    const receipt = await make().upload(file!, { earlier })
    const again = s3.seen.filter(({ url }) => url.includes('partNumber')).length - before
    assert.ok(again >= 2 && again < 5, `${again} parts were sent again`)
    assert.is(receipt.upload!.id, earlier.upload!.id)
    assert.ok(await place.holds(receipt))
    // Other bytes of the same length: no part can be used again.
    const other = path.join(path.dirname(file!.path), 'other')
    writeFileSync(other, randomBytes(file!.size))
    const changed = await make().upload({ ...file!, path: other }, { earlier: receipt })
    assert.is(changed.upload!.parts.filter((part, at) => part!.md5 === receipt.upload!.parts[at]!.md5).length, 0)
    await place.abort([changed])
    assert.is(s3.uploads.size, 0)
    assert.not(await place.holds(changed))
  }))

test('a model is only replaced with force, and files that the new one lacks are removed before the marker', () => {
  const old = ['model-00003-of-00003.safetensors', 'config.json', 'lineage.json', '_SUCCESS', 'notes.txt']
  const b = Object.fromEntries(old.map((name) => [`out/${name}`, { bytes: Buffer.from(name) }]))
  return withStore({ buckets: { b } }, async (bench) => {
    const { s3, make, visible } = bench
    assert.is(await codeOf(make().begin(FRESH)), 'output-exists')
    const place = make({ force: true })
    await place.begin(FRESH)
    await place.publish(await uploadAll(place, bench), SMALL)
    assert.equal(visible(), [...WHOLE, 'out/notes.txt'].sort())
    isPublished(bench)
    const changes = s3.seen.filter(({ method }) => method === 'PUT' || method === 'DELETE' || method === 'POST')
    const at = (method: string, name: string): number =>
      changes.findIndex((one) => one.method === method && one.url.includes(name) && !one.url.includes('uploads='))
    assert.ok(at('DELETE', '_SUCCESS') < at('POST', 'model-00001'), 'no marker beside two models')
    assert.ok(at('DELETE', 'lineage.json') < at('POST', 'model-00001'), 'no lineage beside another model')
    assert.ok(at('DELETE', 'model-00003') < at('PUT', '_SUCCESS'))
  })
})

test('uploads that were forgotten long ago are removed; those of a run elsewhere stay', () =>
  withStore({}, async (bench) => {
    const { s3, make } = bench
    await uploadAll(make(), bench)
    for (const [index, one] of [...s3.uploads.values()].entries())
      if (index === 0) one.started = new Date(Date.now() - 25 * 3600e3).toISOString()
    // A run that is resumed after a day still has its own.
    const [id, { parts }] = [...s3.uploads][0]!
    const own = { name: 'x', size: 1, upload: { id, partSize: PART, parts: [...parts].map(() => null) } }
    await make().begin({ receipts: [own], publishing: false })
    await make().begin({ receipts: [], publishing: false, inParts: true })
    assert.is(s3.uploads.size, 2)
    await make().begin(FRESH)
    assert.equal(
      [...s3.uploads.values()].map(({ key }) => key.slice(-27)),
      ['00002-of-00002.safetensors'.padStart(27, '-')],
    )
  }))

test('errors name the permissions, and never the store or a key', () => {
  let denied = true
  return withStore(
    { disturbUpload: ({ verb }) => (denied && verb === 'create' ? { status: 403, code: 'AccessDenied' } : undefined) },
    async (bench) => {
      assert.is(await codeOf(uploadAll(bench.make(), bench)), 's3-forbidden')
      denied = false
      bench.s3.options = { ...bench.s3.options, disturbUpload: () => ({ status: 403, code: 'ExpiredToken' }) }
      assert.is(await codeOf(uploadAll(bench.make(), bench)), 's3-credentials')
    },
  )
})

test.run()

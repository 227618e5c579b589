/** Requests to a store that fails, lies, or is slow: content in the cache is right, or absent. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createCRC32, createCRC64 } from 'hash-wasm'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fetchContent } from '../../src/storage/remote/transfer.js'
import { type CrcName, crc } from '../../src/storage/s3/crc.js'
import { findObject, listObjects, type S3File } from '../../src/storage/s3/list.js'
import type { S3Settings } from '../../src/storage/s3/settings.js'
import { s3Store } from '../../src/storage/s3/store.js'
import { parseXml } from '../../src/storage/s3/xml.js'
import { asyncFaultOf, random } from '../checkpoints/helpers.js'
import { type S3Options, type S3Server, type StoredObject, startS3 } from './server.js'
import { KEYS } from './setup.js'

const numbers = random(7)
const CONTENT = Buffer.from(Uint8Array.from({ length: 500_003 }, () => numbers.next().value & 255))
const flipped = (bytes: Uint8Array): Buffer => {
  const wrong = Buffer.from(bytes)
  wrong[wrong.length >> 1]! ^= 1
  return wrong
}

interface Room {
  readonly s3: S3Server
  readonly settings: S3Settings
  readonly subject: { readonly reference: string; readonly bucket: string }
  readonly files: () => Promise<S3File[]>
  /** Downloads the only object. */
  readonly fetch: (pinned?: string) => Promise<void>
  readonly blobs: () => string[]
  readonly content: () => Buffer
}

async function inRoom(
  object: Omit<StoredObject, 'bytes'>,
  disturb: S3Options['disturb'],
  work: (room: Room) => Promise<void>,
  more: Partial<S3Options> = {},
): Promise<void> {
  const s3 = await startS3({
    buckets: { bucket: { 'm/x.bin': { bytes: CONTENT, ...object } } },
    keys: KEYS,
    ...(disturb ? { disturb } : {}),
    ...more,
  })
  const cache = mkdtempSync(path.join(os.tmpdir(), 'terge-s3-'))
  const settings: S3Settings = {
    ...{ endpoint: s3.url, cache, region: 'us-east-1', answerTimeout: 2000, byteTimeout: 300 },
    credentials: { accessKeyId: KEYS.id, secretAccessKey: KEYS.secret },
  }
  const subject = { reference: 's3://bucket/m', bucket: 'bucket' }
  const files = () => listObjects(settings, subject, 'm/')
  const folder = () => path.join(cache, readdirSync(cache).find((name) => name.startsWith('s3--'))!, 'blobs')
  let known: S3File[] | undefined
  try {
    await work({
      ...{ s3, settings, subject, files },
      async fetch(pinned) {
        known ??= await files()
        const given = new Map(pinned === undefined ? [] : [['x.bin', pinned]])
        const store = s3Store({
          settings,
          subject,
          revision: 'a'.repeat(40),
          files: known,
          single: false,
          pinned: given,
        })
        await fetchContent(store.content(known[0]!))
      },
      blobs: () => readdirSync(folder()),
      content: () => readFileSync(path.join(folder(), readdirSync(folder())[0]!)),
    })
  } finally {
    await s3.close()
    rmSync(cache, { recursive: true, force: true })
  }
}

test('survives cuts, stalls, 503 with Retry-After, 429, 500 and wrong bytes, and resumes', () =>
  inRoom(
    {},
    ({ method, body, count }) =>
      method === 'HEAD' && count === 1
        ? { status: 500, code: 'InternalError' }
        : method === 'HEAD'
          ? undefined
          : [
              { cut: 0 },
              { cut: 100_000 },
              { status: 503, headers: { 'retry-after': '1' } },
              { stall: 100_000 },
              { status: 429 },
              { status: 400, code: 'RequestTimeout' },
              { body: flipped(body) },
              { body: body.subarray(0, 200_000) },
            ][count - 1],
    async (room) => {
      await room.fetch()
      assert.ok(room.content().equals(CONTENT))
      const ranges = room.s3.seen.flatMap(({ method, url, headers }) =>
        method === 'GET' && !url.includes('list-type') ? [headers.range] : [],
      )
      // It resumed: what arrived before a cut is not asked for again.
      assert.ok(ranges.filter((range) => /^bytes=[1-9]\d*-$/.test(range ?? '')).length >= 3, ranges.join())
      assert.is(ranges.filter((range) => range === undefined).length, 3, ranges.join())
      assert.ok(room.s3.seen.every(({ url, headers }) => url.includes('list-type') || headers['if-match']))
    },
  ))

test('content that is always wrong is refused by MD5, by each stored checksum, and by a pinned digest', async () => {
  const sums: Record<CrcName, string> = { crc32: '', crc32c: '', crc64nvme: '' }
  for (const name of Object.keys(sums) as CrcName[]) {
    const made = crc(name)
    made.update(CONTENT.subarray(0, 77_777))
    made.update(CONTENT.subarray(77_777))
    sums[name] = made.text()
  }
  const [crc32, crc32c, crc64] = await Promise.all([
    createCRC32(),
    createCRC32(0x82f63b78),
    createCRC64('9a6c9329ac4bc9b5'),
  ])
  for (const [name, other] of [
    ['crc32', crc32],
    ['crc32c', crc32c],
    ['crc64nvme', crc64],
  ] as const)
    assert.is(sums[name], Buffer.from(other.init().update(CONTENT).digest('hex'), 'hex').toString('base64'), name)
  const made = crc('crc64nvme')
  made.update(Buffer.from('123456789'))
  assert.is(Buffer.from(made.text(), 'base64').toString('hex'), 'ae8b14860a799888')

  const hash = (name: string) => createHash(name).update(CONTENT).digest('base64')
  const etag = 'abc-2'
  const cases: readonly (readonly [Omit<StoredObject, 'bytes'>, string?])[] = [
    [{}],
    [{ etag, headers: { 'x-amz-checksum-crc32': sums.crc32 } }],
    [{ etag, headers: { 'x-amz-checksum-crc32c': sums.crc32c } }],
    [{ etag, headers: { 'x-amz-checksum-crc64nvme': sums.crc64nvme, 'x-amz-checksum-type': 'FULL_OBJECT' } }],
    [{ etag, headers: { 'x-amz-checksum-sha1': hash('sha1') } }],
    [{ etag, headers: { 'x-amz-checksum-sha256': hash('sha256') } }],
    [{ etag }, Buffer.from(hash('sha256'), 'base64').toString('hex')],
  ]
  for (const [object, pinned] of cases) {
    await inRoom(object, undefined, async (room) => {
      await room.fetch(pinned)
      assert.ok(room.content().equals(CONTENT))
    })
    await inRoom(
      object,
      ({ method, body }) => (method === 'GET' && body.length > 100_000 ? { body: flipped(body) } : undefined),
      async (room) => {
        assert.is((await asyncFaultOf(() => room.fetch(pinned))).code, 's3-digest', JSON.stringify(object))
        assert.equal(room.blobs(), [])
      },
    )
  }
})

test('ETags that are no MD5 are not taken for one: parts, keys of a key service, sums of sums', async () => {
  const md5Like = '0123456789abcdef0123456789abcdef'
  for (const object of [
    { etag: `${md5Like}-3` },
    { etag: md5Like, headers: { 'x-amz-server-side-encryption': 'aws:kms' } },
    { etag: md5Like, headers: { 'x-amz-server-side-encryption-customer-algorithm': 'AES256' } },
    { etag: 'CJDFx+Y=', headers: { 'x-amz-checksum-crc32': 'AAAAAA==-3' } },
    { etag: 'abc-2', headers: { 'x-amz-checksum-sha256': 'A'.repeat(43) + '=', 'x-amz-checksum-type': 'COMPOSITE' } },
  ])
    await inRoom(object, undefined, async (room) => {
      await room.fetch()
      assert.ok(room.content().equals(CONTENT))
    })
})

test('an object that changes between two requests is refused, by If-Match and by stores that ignore it', async () => {
  for (const ignoresIfMatch of [false, true])
    await inRoom({ etag: 'one-2' }, undefined, async (room) => {
      await room.files()
      await room.fetch()
      rmSync(room.settings.cache, { recursive: true })
      room.s3.options = {
        ...room.s3.options,
        ignoresIfMatch,
        buckets: { bucket: { 'm/x.bin': { bytes: flipped(CONTENT), etag: 'two-2' } } },
      }
      const { code, message } = await asyncFaultOf(() => room.fetch())
      assert.is(code, 's3-changed')
      assert.match(message, 'x.bin has changed since it was listed')
    })
})

test('lists with pages, odd keys, and answers that are no list', () =>
  inRoom({}, undefined, async (room) => {
    const { settings, subject, s3 } = room
    const names = ['a b.json', 'a+b&c<d>.json', 'é%41.json', "x'(1)!*~.json", 'z.bin']
    const objects = Object.fromEntries(names.map((name) => [`m/${name}`, { bytes: Buffer.from(name) }]))
    s3.options = {
      ...s3.options,
      page: 2,
      buckets: { bucket: { ...objects, 'm/': { bytes: Buffer.alloc(0) }, 'm/sub/y.bin': { bytes: CONTENT } } },
    }
    const found = await listObjects(settings, subject, 'm/')
    assert.equal(found.map(({ name }) => name).sort(), [...names].sort())
    assert.is((await listObjects(settings, subject, 'm/', { deep: true })).length, names.length + 1)
    for (const file of found) {
      const store = s3Store({
        settings,
        subject,
        revision: 'b'.repeat(40),
        files: found,
        single: false,
        pinned: new Map(),
      })
      await store.list('')
      await store.hold([file.name])
      assert.is(readFileSync(path.join(store.folder, file.name), 'utf8'), file.name)
    }
    assert.is((await findObject(settings, subject, 'm/z.bin'))?.size, 5)
    assert.is(await findObject(settings, subject, 'm/z'), undefined)
    s3.options = { ...s3.options, buckets: { bucket: { 'm/../x': { bytes: CONTENT } } } }
    assert.is((await asyncFaultOf(() => listObjects(settings, subject, 'm/', { deep: true }))).code, 'path-escape')

    const list = (inside: string) => `<ListBucketResult>${inside}</ListBucketResult>`
    const entry = '<Contents><Key>m/a</Key><Size>1</Size><ETag>"e"</ETag></Contents>'
    for (const text of [
      '',
      'hello',
      '<html></html>',
      list('<Contents><Key>m/a</Key><Size>1</Size></Contents>'),
      list('<Contents><Key>m/a</Key><Size>-1</Size><ETag>"e"</ETag></Contents>'),
      list('<Contents><Key>m/%ZZ</Key><Size>1</Size><ETag>"e"</ETag></Contents><EncodingType>url</EncodingType>'),
      list(`${entry}<IsTruncated>true</IsTruncated>`),
      list(`${entry}<IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>`),
      `<!DOCTYPE x [<!ENTITY a "b">]>${list(entry)}`,
      list(`<a>&unknown;</a>`),
      list(entry).slice(0, -3),
    ]) {
      s3.options = { ...s3.options, disturb: () => ({ body: Buffer.from(text) }) }
      const { code, message } = await asyncFaultOf(() => listObjects(settings, subject, 'm/'))
      assert.is(code, 's3-unreachable', text)
      assert.not.match(message, new URL(s3.url).host)
    }
  }))

test('the reader of XML refuses what is no plain element', () => {
  assert.equal(parseXml('<?xml version="1.0"?>\n<a x="1"><b/>t&amp;&#x41;&#66;</a>'), {
    name: 'a',
    children: [{ name: 'b', children: [], text: '' }],
    text: 't&AB',
  })
  for (const bad of [
    '<a>',
    '</a>',
    '<a></b>',
    '<a/><b/>',
    'x<a/>',
    '<a>&x</a>',
    '<a>&#x110000;</a>',
    '<a><![CDATA[x]]></a>',
    '<a><!-- x --></a>',
    '<a b></a>',
    '<a'.repeat(9),
    '<a>'.repeat(20),
  ])
    assert.throws(() => parseXml(bad), /not valid XML/, bad)
})

test.run()

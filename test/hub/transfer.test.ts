/** Downloads that are cut, stall, have wrong bytes or are killed: a file in the cache is right, or absent. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hubContent } from '../../src/storage/hub/content.js'
import type { HubSettings } from '../../src/storage/hub/settings.js'
import { fetchContent } from '../../src/storage/remote/transfer.js'
import { asyncFaultOf, random } from '../checkpoints/helpers.js'
import { BIN, plainEnv } from '../support/terge.js'
import { type Disturbance, type Hub, type Options, sha256, startHub } from './server.js'
import { FIRST, mean, repository, two, withHub } from './setup.js'

const seeded = (count: number, seed: number): Buffer => {
  const numbers = random(seed)
  return Buffer.from(Uint8Array.from({ length: count }, () => numbers.next().value & 255))
}
const CONTENT = seeded(1_000_003, 7)
const DIGEST = sha256(CONTENT)

interface Room {
  readonly hub: Hub
  /** Downloads the file of `org/a`. */
  readonly fetch: (signal?: AbortSignal) => Promise<void>
  readonly blobs: string
  readonly settings: HubSettings
}

/** A hub with one file, and a cache. */
async function inRoom(
  disturb: Options['disturb'],
  work: (room: Room) => Promise<void>,
  more: Partial<Options> = {},
): Promise<void> {
  const hub = await startHub({
    repositories: { 'org/a': repository({ 'model.safetensors': CONTENT }) },
    ...(disturb ? { disturb } : {}),
    ...more,
  })
  const cache = mkdtempSync(path.join(os.tmpdir(), 'terge-hub-'))
  const settings: HubSettings = { endpoint: hub.url, cache, offline: false, answerTimeout: 2000, byteTimeout: 300 }
  const subject = { reference: 'hf:org/a', repository: 'org/a', commit: FIRST }
  const file = { path: 'model.safetensors', size: CONTENT.length, sha256: DIGEST, blob: DIGEST }
  try {
    await work({
      hub,
      settings,
      blobs: path.join(cache, 'models--org--a/blobs'),
      fetch: (signal) => fetchContent(hubContent(settings, subject, file), { signal }),
    })
  } finally {
    await hub.close()
    rmSync(cache, { recursive: true, force: true })
  }
}

const inCache = ({ blobs }: Room): Buffer => readFileSync(path.join(blobs, DIGEST))

for (const seed of [1, 2, 3])
  test(`a download that is cut 20 times gives the right bytes (${seed})`, () => {
    const numbers = random(seed)
    let cuts = 0
    return inRoom(
      // Usually within the rest, so that 20 cuts fit; sometimes at the first byte.
      ({ body }) =>
        cuts < 20 && ++cuts
          ? { cut: cuts % 7 === 0 ? 0 : 1 + (numbers.next().value % Math.ceil(body.length / 5)) }
          : undefined,
      async (room) => {
        await room.fetch()
        assert.is(cuts, 20)
        assert.equal(inCache(room), CONTENT)
        assert.equal(readdirSync(room.blobs), [DIGEST])
        // It resumed and did not start over.
        const starts = room.hub.seen
          .filter(({ server }) => server === 'storage')
          .map(({ range }) => Number(/\d+/.exec(range ?? '0')![0]))
        assert.equal(
          starts,
          [...starts].sort((a, b) => a - b),
        )
        assert.ok(room.hub.sent() <= CONTENT.length * 1.5)
      },
    )
  })

test('detects a byte that changed in transit, and downloads the file again', () =>
  inRoom(flipped(1), async (room) => {
    await room.fetch()
    assert.equal(inCache(room), CONTENT)
  }))

test('never accepts or keeps bytes that are always wrong', () =>
  inRoom(flipped(100), async (room) => {
    const { code, message } = await asyncFaultOf(room.fetch)
    assert.is(code, 'hub-digest')
    assert.match(message, 'model.safetensors')
    assert.equal(readdirSync(room.blobs), [])
  }))

/** The first answers have a wrong byte, each at a different place. */
function flipped(times: number): Options['disturb'] {
  return ({ body, count }): Disturbance | undefined => {
    if (count > times || body.length === 0) return undefined
    const at = (count * 7919) % body.length
    const wrong = Buffer.from(body)
    wrong[at]! ^= 1
    return { body: wrong }
  }
}

test('resumes the part of an earlier run if it is right', () =>
  inRoom(undefined, async (room) => {
    mkdirSync(room.blobs, { recursive: true })
    const part = path.join(room.blobs, `${DIGEST}.incomplete`)
    writeFileSync(part, CONTENT.subarray(0, 600_000))
    await room.fetch()
    assert.equal(inCache(room), CONTENT)
    assert.is(room.hub.sent(), CONTENT.length - 600_000)

    rmSync(path.join(room.blobs, DIGEST))
    for (const left of [seeded(600_000, 8), seeded(CONTENT.length, 9), seeded(CONTENT.length + 5, 10), CONTENT]) {
      writeFileSync(part, left)
      await room.fetch()
      assert.equal(inCache(room), CONTENT)
      rmSync(path.join(room.blobs, DIGEST))
    }
  }))

test('handles a storage that stalls, is busy, or sends too much or too little', () =>
  inRoom(
    ({ body, count }) =>
      [
        { stall: 1000 },
        { status: 503 },
        { status: 403 },
        { body: body.subarray(0, 200_000) },
        { body: Buffer.concat([body, Buffer.alloc(70_000)]) },
      ][count - 1],
    async (room) => {
      await room.fetch()
      assert.equal(inCache(room), CONTENT)
    },
  ))

test('a storage without ranges sends the whole file again', () =>
  inRoom(
    ({ count }) => (count <= 2 ? { cut: 400_000 } : undefined),
    async (room) => {
      await room.fetch()
      assert.equal(inCache(room), CONTENT)
    },
    { ranges: false },
  ))

test('gives up on a storage that always sends too much', () =>
  inRoom(
    ({ body }) => ({ body: Buffer.concat([body, Buffer.alloc(70_000)]) }),
    async (room) => {
      assert.is((await asyncFaultOf(room.fetch)).code, 'hub-unreachable')
      assert.equal(readdirSync(room.blobs), [])
    },
  ))

test('a download can be stopped, and two models share one download', () =>
  inRoom(
    ({ count }) => (count === 1 ? { stall: 500_000 } : undefined),
    async (room) => {
      const controller = new AbortController()
      const stopped = room.fetch(controller.signal).then(
        () => 'done',
        (error: Error) => error.name,
      )
      while (room.hub.sent() === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      const other = room.fetch()
      controller.abort()
      assert.is(await stopped, 'AbortError')
      await other
      assert.equal(inCache(room), CONTENT)
      assert.is(room.hub.seen.filter(({ server }) => server === 'storage').length, 2)
    },
  ))

for (const signal of ['SIGINT', 'SIGKILL'] as const)
  test(`a run that ${signal} ends during a download is resumed`, () =>
    withHub({ repositories: two() }, async ({ hub, folder, cache, env, write, run }) => {
      write('recipe.yml', mean('hf:org/a', 'hf:org/a@main'))
      hub.options = {
        ...hub.options,
        disturb: ({ header, start }) => (!header && start === 0 ? { stall: 20_000 } : undefined),
      }
      const child = spawn(process.execPath, [BIN, 'run', 'recipe.yml'], {
        cwd: folder,
        env: { ...plainEnv, ...env, HF_HUB_DOWNLOAD_TIMEOUT: '60' },
      })
      const blobs = path.join(cache, 'models--org--a/blobs')
      const part = (): string | undefined =>
        (existsSync(blobs) ? readdirSync(blobs) : []).find((name) => name.endsWith('.incomplete'))
      // However long that takes on a busy machine.
      while (child.exitCode === null && !(part() && readFileSync(path.join(blobs, part()!)).length >= 20_000))
        await new Promise((resolve) => setTimeout(resolve, 20))
      assert.ok(part(), 'a part of the file is there')
      child.kill(signal)
      let err = ''
      child.stderr.on('data', (chunk) => {
        err += chunk
      })
      const code = await new Promise((resolve) => child.on('close', resolve))
      assert.is(code, signal === 'SIGINT' ? 130 : null)
      if (signal === 'SIGINT') assert.match(err, /^interrupted: no output was written, downloaded parts are kept$/m)
      assert.equal(
        signal === 'SIGINT' ? readdirSync(folder).sort() : [],
        signal === 'SIGINT' ? ['home', 'recipe.yml'] : [],
      )
      hub.options = { repositories: two() }
      const ran = await run(['run', 'recipe.yml'])
      assert.is(ran.code, 0, ran.err)
      assert.ok(hub.seen.some(({ server, range }) => server === 'storage' && /^bytes=[1-9]\d*-$/.test(range ?? '')))
      assert.is(part(), undefined)
    }))

test('detects a header that differs from the planned one before anything is written', () =>
  withHub({ repositories: two() }, async ({ hub, folder, write, run }) => {
    write('recipe.yml', mean('hf:org/a', 'hf:org/a@main'))
    // Only the range has other tensor names: a valid header of another file.
    const disturb: Options['disturb'] = ({ body, header }) =>
      header ? { body: Buffer.from(body.toString('latin1').replaceAll('layers.', 'lagers.'), 'latin1') } : undefined
    hub.options = { ...hub.options, disturb }
    const ran = await run(['run', 'recipe.yml'])
    assert.is(ran.code, 1, ran.err)
    assert.match(ran.err, 'error hub-changed')
    assert.not.ok(existsSync(path.join(folder, 'out')))
  }))

test('wrong bytes give an error with a place, and no output', () =>
  withHub({ repositories: two() }, async ({ hub, folder, cache, write, run }) => {
    write('recipe.yml', mean('hf:org/a', 'hf:org/b'))
    hub.options = {
      ...hub.options,
      disturb: ({ body, path: name, header }) => {
        if (name !== 'model-00002-of-00002.safetensors' || header) return undefined
        const wrong = Buffer.from(body)
        wrong[wrong.length - 1]! ^= 128
        return { body: wrong }
      },
    }
    const ran = await run(['run', 'recipe.yml'])
    assert.is(ran.code, 1)
    assert.match(ran.err, /recipe\.yml:4:\d+: error hub-digest/)
    assert.not.ok(existsSync(path.join(folder, 'out')))
    assert.not.ok(existsSync(path.join(cache, 'models--org--b/snapshots', FIRST, 'model-00002-of-00002.safetensors')))
  }))

test.run()

/** Uploads to the hub, by the interface that a run uses: one commit, faults, and what an earlier run left. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { hubDestination } from '../../src/storage/hub/upload/destination.js'
import type { Destination, Receipt, UploadPlan } from '../../src/storage/remote/upload.js'
import { inFolder } from '../support/files.js'
import { type LocalFile, shardsToUpload } from '../support/uploads.js'
import { type Hub, type Options, startHub } from './server.js'
import { FIRST, repository } from './setup.js'

const TOKEN = 'hf_uploadtoken'
const FRESH = { receipts: [], publishing: false }
const SMALL = [
  { name: 'config.json', content: Buffer.from('{"model_type": "test"}') },
  { name: 'tokenizer.json', content: Buffer.from(`{"version": "${'1'.repeat(300)}"}`) },
  { name: 'lineage.json', content: Buffer.from('{"lineage": 2}') },
]

interface Bench {
  readonly hub: Hub
  readonly make: (change?: Partial<UploadPlan>, branch?: string, name?: string, token?: string) => Destination
  readonly files: readonly LocalFile[]
  readonly notices: string[]
  /** The files of a branch. */
  readonly at: (branch?: string, name?: string) => Record<string, Uint8Array>
}

const withHub = (more: Partial<Options>, work: (bench: Bench) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    const empty = { '.gitattributes': Buffer.from('*.safetensors filter=lfs') }
    const hub = await startHub({ token: TOKEN, repositories: { 'org/out': repository(empty) }, ...more })
    const { files, plan } = shardsToUpload(folder, SMALL)
    const notices: string[] = []
    const make: Bench['make'] = (change = {}, branch = 'main', repository = 'org/out', token = TOKEN) =>
      hubDestination({
        settings: {
          ...{ endpoint: hub.url, token, cache: path.join(folder, 'cache'), offline: false },
          ...{ answerTimeout: 5000, byteTimeout: 5000 },
        },
        ...{ reference: `hf:${repository}@${branch}`, repository, branch },
        plan: { ...plan, ...change },
        ...{ head: {}, prefix: '' },
        notice: (message) => notices.push(message),
      })
    const at: Bench['at'] = (branch = 'main', name = 'org/out') => {
      const { commits, refs } = hub.options.repositories[name]!
      return commits[refs[branch]!]!
    }
    try {
      await work({ hub, make, files, notices, at })
    } finally {
      await hub.close()
    }
  })

const uploadAll = async (place: Destination, { files }: Bench): Promise<Receipt[]> => {
  const receipts: Receipt[] = []
  for (const file of files) receipts.push(await place.upload(file))
  return receipts
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    for (const { message, hint = '' } of error.diagnostics)
      for (const secret of ['SIGNED', 'SECRETID', TOKEN, 'http:']) assert.not(`${message} ${hint}`.includes(secret))
    return error.diagnostics[0]!.code
  }
  return 'none'
}

function isPublished({ files, at }: Bench, found = at()): void {
  for (const { name, path: file } of files) assert.ok(readFileSync(file).equals(Buffer.from(found[name]!)), name)
  for (const { name, content } of SMALL) assert.ok(content.equals(Buffer.from(found[name]!)), name)
}

for (const chunk of [undefined, 1000])
  test(`one commit makes ${chunk ? 'parts' : 'whole files'} visible, and only the hub sees the token`, () =>
    withHub({ uploads: { ...(chunk ? { chunk } : {}), largeFrom: 200 } }, async (bench) => {
      const { hub, make, at } = bench
      const place = make()
      await place.begin(FRESH)
      const receipts = await uploadAll(place, bench)
      assert.equal(Object.keys(at()), ['.gitattributes'])
      const { revision } = await place.publish(receipts, SMALL)
      assert.is(revision, hub.options.repositories['org/out']!.refs.main)
      isPublished(bench)
      assert.is(Object.keys(hub.options.repositories['org/out']!.commits).length, 2)
      assert.not(/http|SIGN|SECRET/.test(JSON.stringify(receipts)))
      for (const { server, authorization } of hub.seen)
        if (server === 'storage') assert.is(authorization, undefined, 'a signed address gets no token')
      const sent = hub.seen.filter(({ method }) => method === 'PUT').length
      // The large tokenizer goes the same way.
      assert.is(sent, chunk ? 2 + 5 + 1 : 3)
      // Published again: nothing to do. Uploaded again: the storage has it.
      assert.is((await place.publish(receipts, SMALL)).revision, revision)
      await make({ force: true }).upload(bench.files[0]!)
      assert.is(hub.seen.filter(({ method }) => method === 'PUT').length, sent)
    }))

test('refusals, cut connections, lost answers and expired addresses are survived', () => {
  const broken = new Set<string>()
  const once = (what: string): boolean => !broken.has(what) && broken.add(what) !== undefined
  let hub: Hub | undefined
  return withHub(
    {
      uploads: {
        chunk: 1000,
        disturb: (verb, count) => {
          if (verb === 'batch' && once('batch')) return { status: 429, headers: { 'retry-after': '0.05' } }
          if (verb === 'part' && count === 2 && once('cut')) return { cut: true }
          if (verb === 'part' && count === 3 && once('lost')) return { lose: true }
          if (verb === 'part' && count === 6 && once('expired')) return { before: () => hub!.uploads.expire() }
          if (verb === 'part' && count > 9 && count < 13) return { status: 503 }
          if (verb === 'complete' && once('complete')) return { lose: true }
          if (verb === 'verify' && once('verify')) return { status: 500 }
          if (verb === 'commit' && once('commit')) return { lose: true }
          return undefined
        },
      },
    },
    async (bench) => {
      hub = bench.hub
      const place = bench.make()
      await place.begin(FRESH)
      await place.publish(await uploadAll(place, bench), SMALL)
      isPublished(bench)
      assert.is(broken.size, 7)
      assert.is(
        Object.keys(hub.options.repositories['org/out']!.commits).length,
        2,
        'one commit, although its answer was lost',
      )
    },
  )
})

test('a commit of somebody else is not overwritten; the uploads are still there for a later run', () =>
  withHub({}, async (bench) => {
    const { hub, make, at } = bench
    const place = make()
    await place.begin(FRESH)
    const receipts = await uploadAll(place, bench)
    const own = hub.options.repositories['org/out']!
    const other = 'e'.repeat(40)
    own.commits[other] = { ...own.commits[FIRST]!, 'notes.txt': Buffer.from('notes') }
    own.refs.main = other
    assert.is(await codeOf(place.publish(receipts, SMALL)), 'hub-moved')
    assert.is(own.refs.main, other)
    const again = make()
    await again.begin({ receipts, publishing: true })
    for (const receipt of receipts) assert.ok(await again.holds(receipt))
    await again.publish(receipts, SMALL)
    isPublished(bench)
    assert.ok(at()['notes.txt'], 'what is not part of a model stays')
    // Objects without a commit can be collected.
    hub.uploads.storage.objects.clear()
    assert.not(await again.holds(receipts[0]!))
    own.refs.main = other
    assert.is(await codeOf(again.publish(receipts, SMALL)), 'upload-lost')
  }))

test('a missing repository is made private, and a missing branch begins at the main one without its model', () =>
  withHub({}, async (bench) => {
    const { make, notices, at, hub } = bench
    const place = make({}, 'main', 'org/new')
    await place.begin(FRESH)
    assert.not(hub.options.repositories['org/new'], 'nothing is made before the first upload')
    await place.publish(await uploadAll(place, bench), SMALL)
    isPublished(bench, at('main', 'org/new'))
    assert.is(hub.options.repositories['org/new']!.access, 'private')
    const own = hub.options.repositories['org/out']!
    own.commits[FIRST]!['model.safetensors'] = Buffer.from('old weights')
    own.commits[FIRST]!['README.md'] = Buffer.from('read me')
    const branch = make({}, 'a/b')
    await branch.begin(FRESH)
    await branch.publish(await uploadAll(branch, bench), SMALL)
    isPublished(bench, at('a/b'))
    assert.not(at('a/b')['model.safetensors'], 'no weights of another model beside the new one')
    assert.ok(at('a/b')['README.md'])
    assert.ok(at()['model.safetensors'], 'the main branch is unchanged')
    assert.equal(notices, ['made the private repository org/new', "made the branch 'a/b' of org/out"])
    // Somebody else made the branch with a model meanwhile.
    const late = make({}, 'late')
    await late.begin(FRESH)
    own.refs.late = own.refs.main!
    assert.is(await codeOf(uploadAll(late, bench)), 'output-exists')
  }))

test('a model is only replaced with force, together with its other weights', () => {
  const old = { 'model.safetensors': Buffer.from('old'), 'config.json': Buffer.from('{}'), 'a.png': Buffer.from('a') }
  return withHub({ repositories: { 'org/out': repository(old) } }, async (bench) => {
    assert.is(await codeOf(bench.make().begin(FRESH)), 'output-exists')
    const place = bench.make({ force: true })
    await place.begin(FRESH)
    await place.publish(await uploadAll(place, bench), SMALL)
    isPublished(bench)
    assert.not(bench.at()['model.safetensors'])
    assert.ok(bench.at()['a.png'])
  })
})

test('rights are checked before anything is uploaded', () =>
  withHub({ uploads: { role: 'read' } }, async (bench) => {
    const { make, hub } = bench
    assert.is(await codeOf(make().begin(FRESH)), 'hub-forbidden')
    assert.is(await codeOf(make({}, 'main', 'org/out', 'hf_other').begin(FRESH)), 'hub-login')
    hub.options = { ...hub.options, uploads: {} }
    assert.is(await codeOf(make({}, 'main', 'strangers/new').begin(FRESH)), 'hub-forbidden')
    hub.options = { ...hub.options, uploads: { disturb: (verb) => (verb === 'batch' ? { status: 403 } : undefined) } }
    assert.is(await codeOf(uploadAll(make(), bench)), 'hub-forbidden')
    assert.is(hub.seen.filter(({ method }) => method === 'PUT').length, 0)
  }))

test.run()

/** What a resume believes: content, and work that terge began here. Work folders are a stranger's until it is certain that they are not. */
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { sha256 } from '../../src/core/digest.js'
import type { RunEvent } from '../../src/execute/events.js'
import { plan } from '../../src/session/plan.js'
import { type RunOptions, run, runWith } from '../../src/session/run.js'
import { verify } from '../../src/session/verify.js'
import { writeOwner } from '../../src/storage/local/workFolder.js'
import { f32, inFolder, numbers, type RawTensor, writeModel } from '../support/files.js'
import { openInline } from '../support/pools.js'
import { terge } from '../support/terge.js'

const model = (seed: number): Record<string, RawTensor> => ({
  v: f32([5], numbers(5, seed)),
  w: f32([601, 503], numbers(601 * 503, seed + 1)),
})

const recipe = (rest: string): string => `terge: 1\nmodels: {a: a, b: b.safetensors}\n${rest}\n`
const MERGE = 'merge: {method: linear}\n'
const FILE = recipe(`${MERGE}output: out.safetensors`)
const FOLDER = recipe(`${MERGE}output: out`)
const PATH = recipe('steps: {p: {interpolate: {from: a, to: b, points: 3}}}\noutput: out')

/** A model with a tokenizer, and one that is a file. */
function prepare(folder: string, text: string): void {
  mkdirSync(path.join(folder, 'a'))
  writeModel(path.join(folder, 'a', 'model.safetensors'), model(1))
  writeFileSync(path.join(folder, 'a', 'config.json'), '{"n": 1}')
  writeFileSync(path.join(folder, 'a', 'generation_config.json'), '{"temperature": 1}')
  writeModel(path.join(folder, 'b.safetensors'), model(10))
  writeFileSync(path.join(folder, 'r.yml'), text)
}

/** Runs the recipe; the error's code and message where it is refused. */
async function go(folder: string, options: RunOptions = {}): Promise<string> {
  try {
    const internals = options.threads === undefined ? { openPool: openInline } : {}
    await runWith(await plan(path.join(folder, 'r.yml')), { threads: 1, sync: false, ...options }, internals)
    return 'done'
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return `${error.exit} ${error.diagnostics.map(({ code, message }) => `${code}: ${message}`).join('; ')}`
  }
}

/** Stops a run when a tensor is finished, and leaves its work for a resume. */
async function stopEarly(folder: string, options: RunOptions = {}): Promise<void> {
  const stop = new AbortController()
  const listen = (event: RunEvent) => event.kind === 'progress' && event.tensors > 0 && stop.abort()
  assert.match(await go(folder, { resume: true, signal: stop.signal, listen, ...options }), '130 interrupted')
}

const filesOf = (folder: string, under: string): Record<string, string> => {
  const place = path.join(folder, under)
  const names = statSync(place).isFile() ? [''] : readdirSync(place, { recursive: true, encoding: 'utf8' }).sort()
  const files = names.filter((name) => lstatSync(path.join(place, name)).isFile())
  return Object.fromEntries(files.map((name) => [name, readFileSync(path.join(place, name)).toString('base64')]))
}

/** What a run makes of the folder's inputs as they are now, elsewhere. */
async function expected(folder: string, under: string): Promise<Record<string, string>> {
  return inFolder(async (other) => {
    for (const name of ['a', 'b.safetensors', 'r.yml'])
      cpSync(path.join(folder, name), path.join(other, name), { recursive: true })
    assert.is(await go(other), 'done')
    return filesOf(other, under)
  })
}

const hidden = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith('.'))

/** Changes of what a finished output was made of, or of itself, that keep names and sizes. */
const CHANGES: readonly (readonly [string, (folder: string) => void])[] = [
  ['an input, rewritten', (folder) => writeModel(path.join(folder, 'b.safetensors'), model(30))],
  [
    'an input, rewritten with its old times',
    (folder) => {
      const file = path.join(folder, 'a', 'model.safetensors')
      const { atime, mtime } = statSync(file)
      writeModel(file, model(40))
      utimesSync(file, atime, mtime)
    },
  ],
  [
    'a small file that is copied',
    (folder) => writeFileSync(path.join(folder, 'a', 'generation_config.json'), '{"temperature": 2}'),
  ],
  [
    'one bit of the output',
    (folder) => {
      const file = path.join(folder, 'out', 'model.safetensors')
      const bytes = readFileSync(file)
      bytes[bytes.length - 1]! ^= 1
      writeFileSync(file, bytes)
    },
  ],
  ['a file of the output, removed', (folder) => rmSync(path.join(folder, 'out', 'generation_config.json'))],
  [
    'a digest in the lineage',
    (folder) => {
      const file = path.join(folder, 'out', 'lineage.json')
      const text = readFileSync(file, 'utf8')
      const { tensors } = JSON.parse(text)
      writeFileSync(file, text.replaceAll(tensors.v.digest, tensors.w.digest))
    },
  ],
]

for (const [what, change] of CHANGES)
  test(`resume of a finished output after a change of ${what}: refused, and replaced with --force`, () =>
    inFolder(async (folder) => {
      prepare(folder, FOLDER)
      assert.is(await go(folder), 'done')
      const before = filesOf(folder, 'out')
      const { ino } = statSync(path.join(folder, 'out'))
      assert.is(await go(folder, { resume: true }), 'done')
      assert.is(await go(folder, { resume: true, force: true }), 'done')
      assert.is(statSync(path.join(folder, 'out')).ino, ino, 'a valid output is unchanged')
      change(folder)
      const now = filesOf(folder, 'out')
      assert.match(await go(folder, { resume: true }), /^2 output-exists: .*out: already exists and differs from what/)
      assert.equal(filesOf(folder, 'out'), now)
      assert.is(await go(folder, { resume: true, force: true }), 'done')
      assert.equal(filesOf(folder, 'out'), await expected(folder, 'out'))
      assert.is(Object.keys(before).length, Object.keys(filesOf(folder, 'out')).length)
      assert.equal(hidden(folder), [])
    }))

test('points of an interpolation that was interrupted are never of old and new inputs', () =>
  inFolder(async (folder) => {
    prepare(folder, PATH)
    const stop = new AbortController()
    const listen = (event: RunEvent) => event.kind === 'output' && stop.abort()
    assert.match(await go(folder, { resume: true, signal: stop.signal, listen }), 'interrupted')
    const first = readdirSync(path.join(folder, 'out')).filter((name) => !name.startsWith('.'))
    assert.is(first.length, 1, `${first}`)
    writeModel(path.join(folder, 'b.safetensors'), model(30))
    assert.match(await go(folder, { resume: true }), /^2 output-exists: .*model 'b' has changed since/)
    assert.is(await go(folder, { resume: true, force: true }), 'done')
    assert.equal(filesOf(folder, 'out'), await expected(folder, 'out'))
    assert.equal(hidden(path.join(folder, 'out')), [])
  }))

test('outputs that swap their order in the recipe are not confused', () =>
  inFolder(async (folder) => {
    const both = (one: string, two: string) =>
      recipe(
        `steps: {p: {merge: {method: linear, weights: [1, 3]}}, q: {merge: {method: linear, weights: [3, 1]}}}\n` +
          `outputs: [{from: p, path: ${one}}, {from: q, path: ${two}}]`,
      )
    for (const finished of [true, false]) {
      rmSync(path.join(folder, 'a'), { recursive: true, force: true })
      prepare(folder, both('x.safetensors', 'y.safetensors'))
      if (finished) assert.is(await go(folder), 'done')
      else await stopEarly(folder)
      writeFileSync(path.join(folder, 'r.yml'), both('y.safetensors', 'x.safetensors'))
      assert.is(await go(folder, { resume: true, force: true }), 'done')
      for (const name of ['x.safetensors', 'y.safetensors', 'x.lineage.json', 'y.lineage.json']) {
        assert.equal(filesOf(folder, name), await expected(folder, name), name)
        rmSync(path.join(folder, name))
      }
      assert.equal(hidden(folder), [])
    }
  }))

test('a journal is checked against the inputs as well: a digest that was changed in it never gets into a lineage', () =>
  inFolder(async (folder) => {
    prepare(folder, FILE)
    const wanted = await expected(folder, 'out.lineage.json')
    const journal = path.join(folder, '.terge-out.safetensors', 'journal')
    for (const whole of [false, true]) {
      await stopEarly(folder)
      const [head, ...lines] = readFileSync(journal, 'utf8').trimEnd().split('\n')
      assert.ok(lines.length > 0)
      const spoilt = lines.map((line) => {
        const [entry] = JSON.parse(line)
        const [key] = Object.keys(entry.inputs)
        const other = { ...entry, inputs: { ...entry.inputs, [key!]: `xxh3t:${'0'.repeat(32)}` } }
        return JSON.stringify([other, whole ? sha256(JSON.stringify(other)) : sha256(JSON.stringify(entry))])
      })
      writeFileSync(journal, [head, ...spoilt, ''].join('\n'))
      assert.is(await go(folder, { resume: true }), 'done')
      assert.equal(filesOf(folder, 'out.lineage.json'), wanted)
      assert.ok((await verify(path.join(folder, 'out.lineage.json'))).ok)
      for (const name of ['out.lineage.json', 'out.safetensors']) rmSync(path.join(folder, name))
    }
  }))

test('what an earlier run staged and the output no longer has is not published', () =>
  inFolder(async (folder) => {
    prepare(folder, FOLDER)
    await stopEarly(folder)
    const staged = path.join(folder, '.terge-out', 'new')
    writeFileSync(path.join(staged, 'tokenizer.json'), '{}')
    mkdirSync(path.join(staged, 'deeper'))
    assert.is(await go(folder, { resume: true }), 'done')
    assert.equal(filesOf(folder, 'out'), await expected(folder, 'out'))
    assert.equal(readdirSync(path.join(folder, 'out')).sort(), Object.keys(await expected(folder, 'out')))
  }))

/** A folder with something of the user's, that must stay. */
function precious(folder: string): string {
  const place = path.join(folder, 'precious')
  mkdirSync(place)
  for (const name of ['notes.txt', 'out.safetensors']) writeFileSync(path.join(place, name), 'mine')
  return place
}

const FLAGS: readonly RunOptions[] = [{}, { force: true }, { resume: true }, { resume: true, force: true }]

/** What a stranger can plant beside an output. */
const PLANTED: readonly (readonly [string, (work: string, mine: string) => void])[] = [
  ['a link to a folder', (work, mine) => symlinkSync(mine, work)],
  ['a link that leads nowhere', (work) => symlinkSync('/nowhere/at/all', work)],
  ['a file', (work) => writeFileSync(work, 'x')],
  ['a folder with a file of another program', (work) => plant(work, 'notes.txt')],
  ['a journal without an owner record', (work) => plant(work, 'journal')],
  [
    'a commit and files without an owner record',
    (work) => plant(work, 'commit', 'new/out.safetensors', 'old/out.lineage.json'),
  ],
  [
    'links in the place of records',
    (work, mine) => {
      mkdirSync(work)
      for (const name of ['journal', 'journal.new', 'commit.new', 'commit', 'owner', 'lock.1'])
        symlinkSync(path.join(mine, 'notes.txt'), path.join(work, name))
    },
  ],
  [
    'a link in the place of staged files',
    (work, mine) => {
      mkdirSync(work)
      symlinkSync(mine, path.join(work, 'new'))
    },
  ],
  ['a folder in the place of a lock', (work) => mkdirSync(path.join(work, 'lock.3'), { recursive: true })],
]

function plant(work: string, ...names: readonly string[]): void {
  for (const name of names) {
    mkdirSync(path.dirname(path.join(work, name)), { recursive: true })
    writeFileSync(path.join(work, name), 'x')
  }
}

for (const [what, put] of PLANTED)
  test(`${what} where unfinished work belongs is refused, and left alone`, () =>
    inFolder(async (folder) => {
      prepare(folder, FILE)
      const mine = precious(folder)
      put(path.join(folder, '.terge-out.safetensors'), mine)
      const before = listing(folder)
      for (const flags of FLAGS) {
        assert.match(await go(folder, flags), /^2 (foreign-work-folder|cannot-read): .*\.terge-out\.safetensors/)
        assert.equal(listing(folder), before)
      }
    }))

/** Names, kinds and contents of all in a folder; links are not followed. */
const listing = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name)
      return `${file} ${entry.isSymbolicLink() ? 'link' : entry.isDirectory() ? 'folder' : readFileSync(file, 'base64')}`
    })
    .sort()

/** Into a work folder that a killed run left. */
const INSIDE: readonly (readonly [string, (work: string, mine: string) => void])[] = [
  ['journal', (work, mine) => replaceByLink(path.join(work, 'journal'), path.join(mine, 'notes.txt'))],
  ['commit.new', (work, mine) => symlinkSync(path.join(mine, 'notes.txt'), path.join(work, 'commit.new'))],
  [
    'the staged model',
    (work, mine) => replaceByLink(path.join(work, 'new/out.safetensors'), path.join(mine, 'out.safetensors')),
  ],
  [
    'the staged lineage',
    (work, mine) => replaceByLink(path.join(work, 'new/out.lineage.json'), path.join(mine, 'notes.txt')),
  ],
  ['staged files', (work, mine) => replaceByLink(path.join(work, 'new'), mine)],
  ['what is replaced', (work, mine) => symlinkSync(mine, path.join(work, 'old'))],
  [
    'a hard link as the staged model',
    (work, mine) => {
      rmSync(path.join(work, 'new/out.safetensors'))
      linkSync(path.join(mine, 'out.safetensors'), path.join(work, 'new/out.safetensors'))
    },
  ],
]

function replaceByLink(file: string, to: string): void {
  // The run may not have come as far as this file.
  rmSync(file, { recursive: true, force: true })
  symlinkSync(to, file)
}

for (const [what, put] of INSIDE)
  test(`a link planted in a killed run's work folder (${what}) is refused, and nothing is written through it`, () =>
    inFolder(async (folder) => {
      prepare(folder, FILE)
      const mine = precious(folder)
      await stopEarly(folder)
      put(path.join(folder, '.terge-out.safetensors'), mine)
      const before = listing(folder)
      for (const flags of FLAGS) {
        assert.match(await go(folder, flags), /^2 foreign-work-folder: .*\.terge-out\.safetensors/)
        assert.equal(listing(folder), before)
      }
    }))

test('a copy of a work folder, as a git clone has it, is not believed', () =>
  inFolder(async (folder) => {
    prepare(folder, FILE)
    await stopEarly(folder)
    const work = path.join(folder, '.terge-out.safetensors')
    cpSync(work, path.join(folder, 'copy'), { recursive: true, preserveTimestamps: true })
    rmSync(work, { recursive: true })
    renameSync(path.join(folder, 'copy'), work)
    const before = listing(folder)
    for (const flags of FLAGS) {
      assert.match(await go(folder, flags), 'no record that terge made it in this place')
      assert.equal(listing(folder), before)
    }
  }))

test('a work folder that is empty or has only the lock of a dead process does not block a run', () =>
  inFolder(async (folder) => {
    prepare(folder, FILE)
    for (const locked of [false, true]) {
      mkdirSync(path.join(folder, '.terge-out.safetensors'))
      if (locked) writeFileSync(path.join(folder, '.terge-out.safetensors', 'lock.1'), '999999999 -')
      assert.is(await go(folder, { resume: locked }), 'done')
      assert.equal(hidden(folder), [])
      for (const name of ['out.safetensors', 'out.lineage.json']) rmSync(path.join(folder, name))
    }
  }))

test('a run that is refused leaves unfinished work to be resumed', () =>
  inFolder(async (folder) => {
    prepare(folder, FILE)
    await stopEarly(folder)
    writeFileSync(path.join(folder, 'out.safetensors'), 'mine')
    assert.match(await go(folder), '2 output-exists')
    assert.ok(existsSync(path.join(folder, '.terge-out.safetensors', 'journal')))
    rmSync(path.join(folder, 'out.safetensors'))
    assert.is(await go(folder, { resume: true }), 'done')
    assert.equal(filesOf(folder, 'out.safetensors'), await expected(folder, 'out.safetensors'))
  }))

test("a lineage file that is the user's own is replaced by --force alone", () =>
  inFolder(async (folder) => {
    prepare(folder, FILE)
    const own = path.join(folder, 'out.lineage.json')
    writeFileSync(own, '{"mine": true}')
    for (const flags of [{}, { resume: true }]) {
      assert.match(await go(folder, flags), /^2 output-exists: .*out\.(lineage\.json|safetensors): /)
      assert.is(readFileSync(own, 'utf8'), '{"mine": true}')
    }
    const ran = await terge(['run', 'r.yml', '--threads', '1'], folder)
    assert.equal([ran.code, ran.out], [2, ''])
    assert.match(ran.err, "out.lineage.json: exists already, but the output's lineage needs this name")
    assert.is(await go(folder, { force: true }), 'done')
    assert.equal(filesOf(folder, 'out.lineage.json'), await expected(folder, 'out.lineage.json'))
    for (const name of ['out.safetensors', 'out.lineage.json']) rmSync(path.join(folder, name))
    // One that appears during the run is not replaced either.
    const listen = (event: RunEvent) => event.kind === 'phase' && writeFileSync(own, 'mine')
    assert.match(await go(folder, { listen }), '1 output-exists')
    assert.equal([readFileSync(own, 'utf8'), existsSync(path.join(folder, 'out.safetensors'))], ['mine', false])
    rmSync(own)
    mkdirSync(own)
    assert.match(await go(folder, { force: true }), /2 output-exists: .*out\.lineage\.json: is a folder/)
  }))

test('the next verify --reproduce removes what a killed one left; other folders stay', () =>
  inFolder(async (folder) => {
    prepare(folder, FILE)
    assert.is(await go(folder), 'done')
    const stale = path.join(folder, '.terge-verify-stale0')
    const other = path.join(folder, '.terge-verify-other0')
    for (const place of [stale, other]) {
      mkdirSync(place)
      writeFileSync(path.join(place, 'lock.1'), '999999999 -')
      writeFileSync(path.join(place, 'model'), 'x')
    }
    await writeOwner(stale, false, 'scratch')
    cpSync(path.join(stale, 'scratch'), path.join(other, 'scratch'))
    const { ok, reproduced } = await verify(path.join(folder, 'out.lineage.json'), { reproduce: true })
    assert.ok(ok && reproduced)
    assert.equal(hidden(folder), ['.terge-verify-other0'])
  }))

/** Changes of what a run reads, while it runs. */
const DURING: readonly (readonly [string, string, (file: string) => void])[] = [
  ['weights, rewritten in place', 'b.safetensors', (file) => writeModel(file, model(50))],
  [
    'weights, rewritten in place with their old times',
    'b.safetensors',
    (file) => {
      const { atime, mtime } = statSync(file)
      writeModel(file, model(50))
      utimesSync(file, atime, mtime)
    },
  ],
  [
    'weights, replaced by another file',
    'a/model.safetensors',
    (file) => {
      copyFileSync(file, `${file}.new`)
      renameSync(`${file}.new`, file)
    },
  ],
  ['a configuration', 'a/config.json', (file) => writeFileSync(file, '{"n": 2}')],
  ['a file that is copied', 'a/generation_config.json', (file) => writeFileSync(file, '{"temperature": 3}')],
  ['a configuration, removed', 'a/config.json', (file) => rmSync(file)],
]

for (const [what, name, change] of DURING)
  test(`an input that changes while it is read ends the run: ${what}`, () =>
    inFolder(async (folder) => {
      prepare(folder, FOLDER)
      const before = readdirSync(folder).sort()
      const listen = (event: RunEvent) =>
        event.kind === 'phase' && event.phase === 'publishing' && change(path.join(folder, name))
      assert.match(await go(folder, { listen }), `1 input-changed: ${path.join(folder, name)}`)
      assert.equal(readdirSync(folder).sort(), before)
      // And between planning and running.
      if (!existsSync(path.join(folder, name))) return
      const prepared = await plan(path.join(folder, 'r.yml'))
      appendFileSync(path.join(folder, 'a', 'unused.txt'), 'not read')
      const bytes = readFileSync(path.join(folder, name))
      writeFileSync(path.join(folder, name), bytes)
      const error = await run(prepared, { threads: 1, sync: false }).catch((error: unknown) => error)
      assert.ok(error instanceof Fault && error.exit === 1)
      assert.match(error.message, name)
    }))

test.run()

/** A tensor that was under way is resumed by ranges of tiles: what is recorded of it is checked, and only the rest is computed. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { sha256 } from '../../src/core/digest.js'
import { finishPartsWith } from '../../src/session/parts/finish.js'
import { runPartWith } from '../../src/session/parts/part.js'
import { type Prepared, plan } from '../../src/session/plan.js'
import { runWith } from '../../src/session/run.js'
import { bf16, numbers, writeModel } from '../support/files.js'
import { cut } from '../support/parted.js'
import { countingTiles, openInline, type Tiles } from '../support/pools.js'

/** Rows that do not end with tiles. */
const [ROWS, COLUMNS, TILES] = [1250, 1001, 5]
const TILE_BYTES = 2 ** 19

const MODELS = mkdtempSync(path.join(os.tmpdir(), 'terge-tiles-'))
test.after(() => rmSync(MODELS, { recursive: true }))
for (const [seed, name] of ['a', 'b', 'c'].entries())
  writeModel(path.join(MODELS, `${name}.safetensors`), { long: bf16([ROWS, COLUMNS], numbers(ROWS * COLUMNS, seed)) })

const recipe = (merge: string, output = 'out.safetensors'): string =>
  `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors, c: c.safetensors}\nmerge: ${merge}\noutput: ${output}\n`
const LINEAR = recipe('{method: linear, weights: [1, 2, 3]}')
const SLERP = recipe('{method: slerp, models: [a, b], parameters: {t: 0.3}}')

type Change = (plan: Prepared['plan']) => Prepared['plan']
const SAME: Change = (plan) => plan

interface Place {
  readonly folder: string
  readonly change: Change
}

let next = 0
/** A folder with the models and a recipe. */
function place(text: string, change = SAME, from = MODELS): Place {
  const folder = path.join(MODELS, `${next++}`)
  mkdirSync(folder)
  for (const name of ['a', 'b', 'c'])
    cpSync(path.join(from, `${name}.safetensors`), path.join(folder, `${name}.safetensors`))
  writeFileSync(path.join(folder, 'r.yml'), text)
  return { folder, change }
}

async function prepared({ folder, change }: Place): Promise<Prepared> {
  const made = await plan(path.join(folder, 'r.yml'))
  return { ...made, plan: change(made.plan) }
}

const OPTIONS = { threads: 1, sync: false }
/** Ranges are recorded after two or three tiles, and not only when the run stops. */
const RANGE = { rangeBytes: 5 * TILE_BYTES }

async function go(at: Place, { openPool }: Tiles, signal?: AbortSignal): Promise<void> {
  await runWith(await prepared(at), { ...OPTIONS, resume: true, ...(signal ? { signal } : {}) }, { openPool, ...RANGE })
}

/** Stops work at its tile `at`: from outside, or by an error. Returns how many tiles were done. */
async function stopped(
  at: number,
  fails: boolean,
  work: (tiles: Tiles, signal: AbortSignal) => Promise<unknown>,
): Promise<Tiles['done']> {
  const stop = new AbortController()
  const tiles = countingTiles(at, () => {
    if (fails) throw new Fault([{ severity: 'error', code: 'write-failed', message: 'no room' }], 1)
    stop.abort()
  })
  const error = await work(tiles, stop.signal).catch((error: unknown) => error)
  assert.ok(error instanceof Fault && error.exit === (fails ? 1 : 130), String(error))
  return tiles.done
}

const interrupt = (place: Place, at: number, fails = false): Promise<Tiles['done']> =>
  stopped(at, fails, (tiles, signal) => go(place, tiles, signal))

/** Completes a run. Returns how many tiles were done. */
async function complete(place: Place): Promise<Tiles['done']> {
  const tiles = countingTiles()
  await go(place, tiles)
  return tiles.done
}

/** Names and digests of outputs and lineages. */
function outputsOf({ folder }: Place): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()
  const files = names.filter((name) => /^out.*\.(safetensors|json)$/.test(name))
  return Object.fromEntries(files.map((name) => [name, sha256(readFileSync(path.join(folder, name)))]))
}

interface Expected {
  readonly outputs: Record<string, string>
  readonly done: Tiles['done']
}
const known = new Map<string, Expected>()

/** What a run without interruption does and makes of the inputs. */
async function expected({ folder, change }: Place): Promise<Expected> {
  const inputs = ['a.safetensors', 'b.safetensors', 'c.safetensors', 'r.yml']
  const key = sha256(`${change} ${inputs.map((name) => sha256(readFileSync(path.join(folder, name))))}`)
  const found = known.get(key)
  if (found) return found
  const other = place(readFileSync(path.join(folder, 'r.yml'), 'utf8'), change, folder)
  const done = await complete(other)
  const made = { outputs: outputsOf(other), done }
  known.set(key, made)
  return made
}

const WORK = '.terge-out.safetensors'
const journalOf = ({ folder }: Place): string => path.join(folder, WORK, 'journal')
const linesOf = (place: Place): string[] =>
  readFileSync(journalOf(place), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('[{"tiles"'))

/** Changes a byte of a tile. */
function damage(file: string, tile: number): void {
  const bytes = readFileSync(file)
  bytes[8 + Number(bytes.readBigUInt64LE()) + tile * TILE_BYTES + 7]! ^= 1
  writeFileSync(file, bytes)
}

/** Merges, and how many of their tiles are done again at most: those with rows that were not complete, or passes with long counts. */
const MERGES: readonly (readonly [string, string, { readonly write?: number; readonly reduce?: number }])[] = [
  ['one pass', '{method: linear, weights: [1, 2, 3]}', {}],
  ['sums', '{method: slerp, models: [a, b], parameters: {t: 0.3}}', {}],
  ['counts', '{method: ties, base: a, models: [b, c], parameters: {density: 0.4}}', { reduce: 20 }],
  ['numbers of rows', '{method: arcee_fusion, base: a, models: [a, b]}', { reduce: 20, write: 1 }],
  [
    'a pass over rows',
    '{method: della, base: a, models: [b, c], parameters: {density: 0.5, epsilon: 0.1}}',
    { write: 1 },
  ],
  ['a copy', '{method: passthrough, models: [a]}', {}],
]

for (const [what, merge, again] of MERGES)
  test(`an interrupted tensor is resumed at its tiles: ${what}`, async () => {
    const text = recipe(merge)
    const { outputs, done } = await expected(place(text))
    const all = done.write! + done.reduce!
    for (const [at, fails] of [
      [Math.ceil(all / 3), false],
      [all - 1, true],
    ] as const) {
      const own = place(text)
      const runs = [await interrupt(own, at, fails), await complete(own)]
      for (const kind of ['write', 'reduce'] as const) {
        const more = runs.reduce((sum, run) => sum + run[kind]!, -done[kind]!)
        assert.ok(more >= 0 && more <= (again[kind] ?? 0), `${more} of ${done[kind]} (${kind}) again after ${at}`)
      }
      assert.equal(outputsOf(own), outputs)
    }
  })

/** Two runs that were interrupted in the write pass: the tiles that they recorded. */
async function interruptTwice(place: Place): Promise<(readonly [first: number, count: number])[]> {
  await interrupt(place, 2)
  await interrupt(place, 2)
  const ranges = linesOf(place).map((line) => JSON.parse(line)[0].range as [number, number])
  assert.equal(ranges, [
    [0, 2],
    [2, 2],
  ])
  return ranges
}

interface TileLine {
  readonly output?: unknown
  readonly leaves: readonly (readonly [read: number, from: number, ...rest: unknown[]])[]
}

/** Changes the first line about tiles. */
function changeLine(place: Place, change: (line: string) => string): void {
  const text = readFileSync(journalOf(place), 'utf8')
  const [line] = linesOf(place)
  writeFileSync(journalOf(place), text.replace(line!, change(line!)))
}

/** The same for what it says, with a valid checksum. */
const rewrite = (place: Place, change: (record: TileLine) => object): void =>
  changeLine(place, (line) => {
    const text = JSON.stringify(change(JSON.parse(line)[0]))
    return `[${text},"${sha256(text)}"]`
  })

/** What happens to the first of two ranges of a tensor. */
const DAMAGES: readonly (readonly [string, (place: Place) => void])[] = [
  ['a byte of the staged file', ({ folder }) => damage(path.join(folder, WORK, 'new', 'out.safetensors'), 1)],
  ['a byte of an input', ({ folder }) => damage(path.join(folder, 'b.safetensors'), 0)],
  ['a character of its line', (place) => changeLine(place, (line) => line.replace('"leaves"', '"leavet"'))],
  ['the coefficients', (place) => rewrite(place, (one) => ({ ...one, given: 'x' }))],
  ['its tiles', (place) => rewrite(place, (one) => ({ ...one, range: [0, 900] }))],
  ['its pass', (place) => rewrite(place, (one) => ({ ...one, pass: 7 }))],
  ['what it wrote', (place) => rewrite(place, ({ output: _, ...one }) => one)],
  ['what it read', (place) => rewrite(place, (one) => ({ ...one, leaves: [] }))],
  [
    'the place of what it read',
    (place) =>
      rewrite(place, ({ leaves, ...one }) => ({
        ...one,
        leaves: leaves.map(([read, from, ...rest]) => [read, from + 2 ** 18, ...rest]),
      })),
  ],
]

for (const [what, change] of DAMAGES)
  test(`a range is made again after a change of ${what}, and the other one is kept`, async () => {
    const own = place(LINEAR)
    await interruptTwice(own)
    change(own)
    assert.is((await complete(own)).write, TILES - 2)
    assert.equal(outputsOf(own), (await expected(own)).outputs)
  })

test('a torn last line costs its own range', async () => {
  const own = place(LINEAR)
  await interruptTwice(own)
  const text = readFileSync(journalOf(own), 'utf8')
  writeFileSync(journalOf(own), text.slice(0, text.lastIndexOf('"leaves"')))
  assert.is((await complete(own)).write, TILES - 2)
  assert.equal(outputsOf(own), (await expected(own)).outputs)
})

test('an input that changed after the tiles that are recorded: kept without reduce passes, else made again', async () => {
  for (const [text, at, kept] of [
    [LINEAR, 3, 3],
    [SLERP, TILES + 3, 0],
  ] as const) {
    const own = place(text)
    assert.is((await interrupt(own, at)).write, 3)
    damage(path.join(own.folder, 'b.safetensors'), TILES - 1)
    assert.is((await complete(own)).write, TILES - kept)
    assert.equal(outputsOf(own), (await expected(own)).outputs)
  }
})

test('a tensor that is stored in parts is resumed at its tiles', async () => {
  const parted: Change = (plan) => cut(plan, { long: [401, 7, ROWS - 408] })
  const own = place(recipe('{method: linear}', 'out'), parted)
  const first = await interrupt(own, 3)
  assert.is(first.write! + (await complete(own)).write!, TILES)
  assert.equal(outputsOf(own), (await expected(own)).outputs)
})

test('a part that is interrupted within a tensor, and an attempt that is interrupted again', async () => {
  const own = place(SLERP)
  const attempt = async ({ openPool }: Tiles, signal?: AbortSignal) =>
    runPartWith(
      await prepared(own),
      { index: 0, of: 1 },
      { ...OPTIONS, ...(signal ? { signal } : {}) },
      { openPool, ...RANGE },
    )
  const last = countingTiles()
  const all = [await stopped(3, false, attempt), await stopped(6, true, attempt)]
  await attempt(last)
  const { outputs, done } = await expected(own)
  for (const kind of ['write', 'reduce']) {
    const sum = [...all, last.done].reduce((sum, run) => sum + run[kind]!, 0)
    assert.ok(sum - done[kind]! <= 1, `${kind}: ${sum} of ${done[kind]}`)
  }
  await finishPartsWith(await prepared(own), OPTIONS, { openPool: openInline })
  assert.equal(outputsOf(own), outputs)
})

test.run()

/** Rows of missing tokens, with much and little memory. */
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sharedInts } from '../../src/core/collections/sharedArrays.js'
import { Fault } from '../../src/core/diagnostics.js'
import { integersOf } from '../../src/kernels/pursuit/index.js'
import { createThreadTeam } from '../../src/rebasin/team/team.js'
import type { FoundArrays, TensorReader, Workshop } from '../../src/steps/analysis.js'
import { approximate } from '../../src/steps/transplant/approximate.js'
import { grownTensor } from '../../src/steps/transplant/rows.js'
import { COPIED, FILLED, MADE, type TransplantAnalysis } from '../../src/steps/transplant/types.js'
import { openNameless, readAt, whileRoom } from '../../src/storage/nameless.js'
import { numbers } from '../support/files.js'

const [COUNT, WIDTH, SHARED, K] = [1300, 48, 500, 32]

/** Numbers of 16 bits, as in a BF16 tensor. */
function halves(seed: number): Float32Array {
  const values = new Float32Array(new SharedArrayBuffer(4 * COUNT * WIDTH))
  const random = numbers(COUNT * WIDTH, seed)
  const common = numbers(WIDTH, seed + 1)
  values.set(random.map((value, i) => value + common[i % WIDTH]! * ((i / WIDTH) & 1)))
  const bits = new Uint32Array(values.buffer)
  for (let i = 0; i < bits.length; i++) bits[i] = bits[i]! & 0xffff0000
  return values
}

const readerOf = (values: Float32Array): TensorReader => ({
  read: () => Promise.resolve(values),
  readRows(_, rows, into) {
    for (const [at, row] of rows.entries()) into.set(values.subarray(row * WIDTH, (row + 1) * WIDTH), at * WIDTH)
    return Promise.resolve(true)
  },
})

const tensor = (name: string, dtype: 'BF16' | 'F32') => ({
  ...{ name, dtype, shape: [COUNT, WIDTH] },
  expr: {
    kind: 'read',
    view: { kind: 'stored', dtype, shape: [COUNT, WIDTH], file: 0, tensor: name, offset: 0, bytes: 0 },
  } as const,
})

/** A workshop with much memory, or with none to spare. */
async function within<T>(threads: number, spare: number, work: (workshop: Workshop) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'terge-scratch-'))
  const team = createThreadTeam(threads)
  const opened: { close(): void }[] = []
  try {
    return await work({
      ...{ reader: readerOf(halves(3)), team, spare },
      async scratch(bytes) {
        const one = await openNameless(folder, bytes, 'a test')
        opened.push(one)
        assert.equal(readdirSync(folder), [], 'the file has no name')
        return one.fd
      },
    })
  } finally {
    for (const one of opened) one.close()
    await team.close()
    rmSync(folder, { recursive: true })
  }
}

const all = Int32Array.from({ length: COUNT }, (_, row) => row)
const shared = all.filter((row) => row % 2 === 0).subarray(0, SHARED)
const made = all.filter((row) => row % 2 === 1)

const wantedOf = (dtype: 'BF16' | 'F32') =>
  ({ tensor: tensor('e', dtype), shared, made, k: K, part: 0, method: 'omp', tell: () => {} }) as const

test('rows are the same with any memory, any number of threads, and for any dtype of the same numbers', async () => {
  const results = []
  for (const [threads, spare, dtype] of [
    [1, 1e9, 'BF16'],
    [2, 0, 'BF16'],
    [2, 1e9, 'F32'],
  ] as const) {
    const wanted = wantedOf(dtype)
    results.push(await within(threads, spare, (workshop) => approximate(workshop, wanted)))
  }
  const [first, ...others] = results as [(typeof results)[0], ...typeof results]
  assert.ok(first.atoms.filter((atom) => atom >= 0).length > 0.9 * K * made.length)
  for (const other of others)
    assert.equal([other.atoms, other.weights, other.residuals], [first.atoms, first.weights, first.residuals])
})

test('what an earlier run found of some rows is taken over, and the others are found', async () => {
  const wanted = wantedOf('BF16')
  const whole = await within(1, 1e9, (workshop) => approximate(workshop, wanted))
  const kept = new Map<string, FoundArrays>()
  const parts = {
    find: (name: string) => kept.get(name),
    keep: (name: string, { ...arrays }: FoundArrays) =>
      void kept.set(name, Object.fromEntries(Object.entries(arrays).map(([key, array]) => [key, array.slice()]))),
  }
  const counted: number[] = []
  /** Approximates in batches, and stops before the last one, as a run that is killed does. */
  const run = (most: number) =>
    within(1, 0, async (workshop) => {
      const pursue: typeof workshop.team.pursue = (task) => {
        if (counted.length === most) throw new Error('killed')
        counted.push(task.tokens)
        return workshop.team.pursue(task)
      }
      return approximate({ ...workshop, team: { ...workshop.team, pursue }, parts }, wanted)
    })
  let killed = ''
  await run(1).catch((error: Error) => {
    killed = error.message
  })
  assert.equal([killed, counted, [...kept.keys()]], ['killed', [512], ['0/0']])
  const again = await run(2)
  assert.equal(counted, [512, made.length - 512])
  for (const name of ['atoms', 'weights', 'residuals'] as const) assert.equal(again[name], whole[name], name)
  const all = await run(2)
  assert.equal([counted.length, all.atoms], [2, whole.atoms], 'nothing is left to find')
})

test('a tensor of the result is the same in memory and in a file', async () => {
  const runs = [400, COPIED, 7, 2, MADE, 0, 3, FILLED, 0, 100, COPIED, 600, made.length - 2, MADE, 2]
  const rows = 500 + 3 + made.length
  const places = Array.from({ length: 500 }, (_, i) => (i < 400 ? i : i + 5))
  const analysis: TransplantAnalysis = {
    ...{ kind: 'transplant', steps: ['t'], missing: 'omp', k: K, runs, rows, made: [...made], tokens: [] },
    shared: { donor: places, model: [] },
    parts: [{ role: 'embedding', tensor: tensor('d', 'F32') }],
    grown: [{ tensor: tensor('e', 'F32'), role: 'embedding', part: 0 }],
  }
  const atoms = Int32Array.from({ length: K * made.length }, (_, i) => (i % K > 20 ? -1 : (i * 7919) % 500))
  const found = { '0/atoms': atoms, '0/weights': Float64Array.from(numbers(atoms.length, 9)) }
  const make = (spare: number): Promise<Float32Array> =>
    within(1, spare, async (workshop) => {
      const values = await grownTensor(analysis, found, { tensor: 'e' }, workshop)
      if (!('fd' in values)) return values as Float32Array
      const own = new Float32Array(rows * WIDTH)
      readAt(values.fd, own, 0)
      return own
    })
  const [large, small] = [await make(1e9), await make(0)]
  assert.equal(small, large)
  const own = halves(3)
  assert.equal(large.subarray(405 * WIDTH, 406 * WIDTH), own.subarray(600 * WIDTH, 601 * WIDTH), 'a copied row')
  const expected = new Float64Array(WIDTH)
  for (let i = 0; i <= 20; i++) {
    const from = places[atoms[K + i]!]! * WIDTH
    for (let c = 0; c < WIDTH; c++) expected[c] = expected[c]! + found['0/weights'][K + i]! * large[from + c]!
  }
  assert.equal(large.subarray(401 * WIDTH, 402 * WIDTH), Float32Array.from(expected), 'a sum, added up in float64')
})

test('a file that the disk has no room for is refused', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'terge-scratch-'))
  let message = ''
  await openNameless(folder, 2 ** 52, 'step grow').catch((error: Error) => {
    message = error.message
  })
  assert.match(message, 'step grow needs 4')
  assert.equal(readdirSync(folder), [])
  rmSync(folder, { recursive: true })
})

if (existsSync('/dev/full'))
  test('a disk that fills while threads write to such a file is an error with a way out', async () => {
    const fd = openSync('/dev/full', 'r+')
    const refused = async (work: (workshop: Workshop) => Promise<unknown>): Promise<unknown[]> => {
      try {
        await within(1, 0, ({ reader, team }) =>
          whileRoom('work', 'step grow', () => work({ reader, team, spare: 0, scratch: async () => fd })),
        )
      } catch (error) {
        if (!(error instanceof Fault)) throw error
        const { exit, diagnostics } = error
        return [exit, ...diagnostics.flatMap(({ code, message, hint }) => [code, message, hint])]
      }
      throw new Error('nothing was refused')
    }
    const full = [
      ...[1, 'disk-full', 'step grow: the disk of work is full: ENOSPC: no space left on device, write'],
      'free some space, choose another disk for the output, or raise --memory: with enough memory, no disk is needed',
    ]
    assert.equal(await refused((workshop) => approximate(workshop, wantedOf('BF16'))), full, 'on this thread')
    // So much work that threads do it.
    const [count, width] = [512, 512]
    const inThreads = refused(({ team }) => {
      const store = { kind: 'file', fd } as const
      const task = { count, width, integers: integersOf(count, width), store, fromTile: 0, toTile: 1 }
      return team.makeCosines({ ...task, next: sharedInts(1) })
    })
    assert.equal(await inThreads, full, 'in a thread')
    closeSync(fd)
  })

test.run()

/** Parts of a run by themselves: sums in a fixed order, what is said of results, a command's environment, rows of a task. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { commandEnv } from '../../src/execute/commands/environment.js'
import type { Pass, Program, TaskResult } from '../../src/execute/program.js'
import { refuseNonFinite, remarkDiagnostics, remarksOf } from '../../src/execute/remarks.js'
import { gather } from '../../src/execute/schedule/combine.js'
import { rowsTouched } from '../../src/execute/worker/touchedRows.js'
import type { Plan } from '../../src/plan/types.js'

const pass = (combine: string, slots: number) => ({ kind: 'reduce', combine, slots }) as Pass & { kind: 'reduce' }
const program = {} as Program
const result = (firstTile: number, sums: readonly number[]): TaskResult =>
  ({ firstTile, sums: Float64Array.from(sums) }) as TaskResult

test('sums are added in the order of tiles, whatever the order in which they come', () => {
  // Added in another order these lose the small ones.
  const tiles = [1, 1e16, -1e16, 1]
  const expected = tiles.reduce((sum, value) => sum + value, 0)
  for (const order of [
    [0, 1, 2, 3],
    [3, 2, 1, 0],
    [2, 0, 3, 1],
  ]) {
    const sums = gather(pass('sums', 1), 0, 0, 4, program)
    for (const tile of order) sums.add(result(tile, [tiles[tile]!]))
    assert.equal([...sums.result()], [expected], order.join())
  }
})

test('a task of several tiles, the last slot a largest value, from a later tile on', () => {
  const sums = gather(pass('sums', 2), 1, 5, 9, program)
  sums.add(result(7, [4, 7, 8, 1]))
  sums.add(result(5, [1, 9, 2, 3]))
  assert.equal([...sums.result()], [15, 9])
})

test('what is kept tile by tile lies in its place; counts add up', () => {
  const tiles = gather(pass('tiles', 2), 0, 5, 7, program)
  tiles.add(result(6, [3, 4]))
  tiles.add(result(5, [1, 2]))
  assert.equal([...tiles.result()], [1, 2, 3, 4])
  const counts = gather(pass('counts', 2), 0, 0, 2, program)
  for (const own of [
    [1, 2],
    [10, 4294967295],
  ])
    counts.add({ counts: Uint32Array.from(own) } as unknown as TaskResult)
  assert.equal([...counts.result()], [11, 4294967297])
})

const output = {
  path: 'out',
  tensors: [
    { name: 'a', dtype: 'F32' },
    { name: 'b', dtype: 'F16' },
    { name: 'c', dtype: 'F32' },
  ],
} as unknown as Plan['outputs'][number]

test('results that are not finite: the worst tensors first, and an error where they are refused', () => {
  const figures = [{ nonFinite: 1 }, { nonFinite: 2000 }, {}].map((one) => ({ figures: one }))
  const told = remarkDiagnostics(output, figures)
  assert.is(told.length, 1)
  assert.equal([told[0]!.severity, told[0]!.code], ['warning', 'not-finite'])
  assert.match(told[0]!.message, '2,001 elements in 2 tensors of out')
  assert.match(told[0]!.message, '(b: 2,000, a: 1)')
  assert.match(told[0]!.hint!, 'the largest float16 number is 65504')
  try {
    refuseNonFinite(told)
    assert.unreachable()
  } catch (error) {
    assert.ok(error instanceof Fault && error.exit === 1 && error.diagnostics[0]!.severity === 'error')
  }
  refuseNonFinite([])
})

test('each note of a method is reported once, with the names of its tensors', () => {
  const figures = ['x', 'y', 'x'].map((note) => ({ figures: { notes: [note] } }))
  assert.equal(
    remarkDiagnostics(output, figures).map(({ message }) => message),
    ['x: 2 tensors of out (a, c)', 'y: 1 tensor of out (b)'],
  )
  assert.is(remarksOf({ nonFinite: 0, notes: [] }), undefined)
  assert.equal(remarksOf({ nonFinite: 2 }), { nonFinite: 2 })
})

test('a command gets only the credentials that the recipe lists', () => {
  const env = {
    PATH: '/bin',
    PWD: '/home',
    KEYBOARD: 'us',
    TOKENIZERS_PARALLELISM: 'true',
    HF_HOME: '/cache',
    HF_TOKEN: 'x',
    API_KEY: 'x',
    ADDRESS: 'https://me:secret@host/',
    MINE: 'hf_abcdefghijkl',
    ASKED_TOKEN: 'y',
    UNSET: undefined,
  }
  const seen = commandEnv(env, ['ASKED_TOKEN'])
  assert.equal(seen.withheld, ['ADDRESS', 'API_KEY', 'HF_TOKEN', 'MINE'])
  assert.equal(Object.keys(seen.env), ['PATH', 'PWD', 'KEYBOARD', 'TOKENIZERS_PARALLELISM', 'HF_HOME', 'ASKED_TOKEN'])
})

test('the rows that elements lie in, the last one of the tensor at the most', () => {
  assert.equal(rowsTouched(0, 10, 5, 20), { first: 0, end: 2 })
  assert.equal(rowsTouched(4, 2, 5, 20), { first: 0, end: 2 })
  assert.equal(rowsTouched(19, 5, 5, 20), { first: 3, end: 4 })
})

test.run()

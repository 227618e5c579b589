/** Rows approximated by few rows of a matrix, against plain arithmetic in float64. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sharedInts } from '../../src/core/collections/sharedArrays.js'
import {
  cosinesInMemory,
  type Dictionary,
  integersOf,
  type PursuitMethod,
  type PursuitTask,
  pursuer,
  tilesOf,
} from '../../src/kernels/pursuit/index.js'
import { readAt, writeAt } from '../../src/storage/nameless.js'
import { numbers } from '../support/files.js'

const floats = (values: ArrayLike<number>): Float32Array => {
  const array = new Float32Array(new SharedArrayBuffer(4 * values.length))
  array.set(values)
  return array
}
const doubles = (length: number): Float64Array => new Float64Array(new SharedArrayBuffer(8 * length))
const rowsOf = (values: Float32Array, width: number): number[][] =>
  Array.from({ length: values.length / width }, (_, row) => [...values.subarray(row * width, (row + 1) * width)])
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0)

function task(method: PursuitMethod, rows: Float32Array, targets: Float32Array, width: number, k: number): PursuitTask {
  const [count, tokens] = [rows.length / width, targets.length / width]
  const dictionary: Dictionary = { rows: floats(rows), count, width, squares: doubles(count) }
  const integers = integersOf(count, width)
  const one = pursuer({ readAt, writeAt })
  one.makeRows({ from: rows, first: 0, rows: count, dictionary, integers, next: sharedInts(1) })
  const common = {
    ...{ tokens, k, targets: floats(targets), next: sharedInts(1), dictionary },
    ...{ atoms: sharedInts(tokens * k), weights: doubles(tokens * k), residuals: doubles(tokens) },
  }
  if (method !== 'omp') {
    const [atoms, wanted] = [rowsOf(rows, width), rowsOf(targets, width)]
    return { ...common, method, products: floats(wanted.flatMap((x) => atoms.map((a) => dot(a, x)))) }
  }
  const cosines = cosinesInMemory(count)
  const toTile = tilesOf(count).length
  one.makeCosines({ count, width, integers, store: cosines, fromTile: 0, toTile, next: sharedInts(1) })
  return { ...common, method, integers, cosines }
}

const pursueAll = (given: PursuitTask): void => pursuer({ readAt, writeAt }).pursue(given)

/** What a token's sum leaves of its row. */
function leftOf(
  { atoms, weights, k }: PursuitTask,
  rows: readonly number[][],
  token: number,
  x: readonly number[],
): number[] {
  const left = [...x]
  for (let at = token * k; at < (token + 1) * k && atoms[at]! >= 0; at++)
    for (const [i, value] of rows[atoms[at]!]!.entries()) left[i] = left[i]! - weights[at]! * value
  return left
}

/** Orthogonal matching pursuit by projections: each chosen row less what the rows before it explain. */
function pursue(rows: readonly number[][], x: readonly number[], k: number): { chosen: number[]; left: number } {
  const basis: number[][] = []
  const chosen: number[] = []
  let left = [...x]
  const minus = (a: readonly number[], q: readonly number[]): number[] => {
    const share = dot(a, q)
    return a.map((value, i) => value - share * q[i]!)
  }
  const skipped = new Set<number>()
  while (chosen.length < k && dot(left, left) > 1e-12 * dot(x, x)) {
    let [best, most] = [-1, 1e-13]
    for (const [index, row] of rows.entries()) {
      const size = Math.abs(dot(row, left))
      if (!skipped.has(index) && size > most) [best, most] = [index, size]
    }
    if (best < 0) break
    skipped.add(best)
    let rest = rows[best]!
    for (let round = 0; round < 2; round++) for (const q of basis) rest = minus(rest, q)
    const norm = Math.sqrt(dot(rest, rest))
    if (norm ** 2 < 1e-10 * dot(rows[best]!, rows[best]!)) continue
    const q = rest.map((value) => value / norm)
    basis.push(q)
    chosen.push(best)
    left = minus(left, q)
  }
  return { chosen, left: Math.sqrt(dot(left, left) / dot(x, x)) }
}

/** Random rows with what trained embeddings have: a common part, equal rows, nearly equal rows, rows of zeros. */
function odd(count: number, width: number, seed: number): Float32Array {
  const rows = numbers(count * width, seed)
  const common = numbers(width, seed + 1)
  for (let row = 0; row < count; row++)
    for (let i = 0; i < width; i++) rows[row * width + i]! += row % 3 === 0 ? 2 * common[i]! : 0
  rows.copyWithin(5 * width, 2 * width, 3 * width)
  rows.copyWithin(count - width > 9 * width ? 9 * width : 0, 2 * width, 3 * width)
  rows.fill(0, 7 * width, 8 * width)
  for (let i = 0; i < width; i++) rows[11 * width + i] = rows[3 * width + i]! * (1 + 1e-4 * Math.sin(i))
  return rows
}

test('orthogonal matching pursuit chooses the rows that projections choose, and fits them to the precision of float64', () => {
  for (const [count, width, k] of [
    [90, 24, 7],
    [150, 40, 40],
    [40, 12, 30],
  ] as const) {
    const rows = odd(count, width, count)
    const targets = numbers(20 * width, 77)
    targets.fill(0, 0, width)
    // A row itself, and a sum of two.
    targets.set(rows.subarray(4 * width, 5 * width), width)
    for (let i = 0; i < width; i++) targets[2 * width + i] = rows[6 * width + i]! - 2 * rows[8 * width + i]!
    const given = task('omp', rows, targets, width, Math.min(k, count, width))
    pursueAll(given)
    const [atoms, wanted] = [rowsOf(rows, width), rowsOf(targets, width)]
    for (const [token, x] of wanted.entries()) {
      const own = [...given.atoms.subarray(token * given.k, (token + 1) * given.k)].filter((atom) => atom >= 0)
      if (token === 0) {
        assert.equal([own, given.residuals[0]], [[], 0])
        continue
      }
      const { chosen, left } = pursue(atoms, x, given.k)
      if (left > 1e-5) assert.equal(own, chosen, `${count} × ${width}, token ${token}`)
      assert.ok(Math.abs(given.residuals[token]! - left) < 1e-7, `${given.residuals[token]} is ${left}`)
      const rest = leftOf(given, atoms, token, x)
      // Least squares: nothing of what is left lies along a chosen row.
      const scale = Math.sqrt(dot(x, x))
      for (const atom of own) {
        const along = dot(rest, atoms[atom]!) / (scale * Math.sqrt(dot(atoms[atom]!, atoms[atom]!)))
        assert.ok(Math.abs(along) < 1e-9, `token ${token}: ${along} along ${atom}`)
      }
      assert.ok(
        [...given.weights].every((weight) => Math.abs(weight) < 1e6),
        'weights stay small',
      )
    }
    // One row is spent after one step, though more may be chosen.
    assert.equal(
      [...given.atoms.subarray(given.k, 2 * given.k)].filter((atom) => atom >= 0),
      [4],
    )
  }
})

test('among rows with equal products the first counts', () => {
  const rows = new Float32Array([0, 1, 1, 0, 1, 0, 0, -1])
  const given = task('omp', rows, new Float32Array([3, 3]), 2, 1)
  pursueAll(given)
  assert.equal([...given.atoms], [0])
  const near = task('distance', rows, new Float32Array([1, 0]), 2, 1)
  pursueAll(near)
  assert.equal([[...near.atoms], [...near.weights]], [[1], [1]])
})

test('rows that are not finite are never chosen', () => {
  const rows = new Float32Array([Number.NaN, 1, 1, 0, 0, 1])
  const given = task('omp', rows, new Float32Array([3, 4]), 2, 2)
  assert.ok(Number.isNaN(given.dictionary.squares[0]))
  pursueAll(given)
  assert.equal(
    [[...given.atoms], [...given.weights]],
    [
      [2, 1],
      [4, 3],
    ],
  )
  const near = task('distance', rows, new Float32Array([3, 4]), 2, 2)
  pursueAll(near)
  assert.equal([...near.atoms], [2, 1])
})

test('the nearest rows are weighed by distance or cosine, or fit', () => {
  const [count, width, k] = [80, 10, 5]
  const rows = odd(count, width, 3)
  const targets = numbers(12 * width, 5)
  targets.set(rows.subarray(2 * width, 3 * width), 0)
  const [atoms, wanted] = [rowsOf(rows, width), rowsOf(targets, width)]
  const made = (method: PursuitMethod) => {
    const given = task(method, rows, targets, width, k)
    pursueAll(given)
    return given
  }
  const length = (x: readonly number[]) => Math.sqrt(dot(x, x))
  const results = {
    distance: made('distance'),
    cosine: made('cosine'),
    barycentric: made('barycentric'),
    least_squares: made('least_squares'),
  }
  for (const [token, x] of wanted.entries()) {
    const ranked = (score: (row: readonly number[]) => number): (readonly [number, number])[] =>
      atoms
        .map((row, at) => [score(row), at] as const)
        .sort(([a, i], [b, j]) => a - b || i - j)
        .slice(0, k)
    const near = ranked((row) => length(row.map((value, i) => value - x[i]!)))
    const far = near.map(([distance]) => 1 / Math.max(distance, 1e-6))
    const sum = far.reduce((total, one) => total + one, 0)
    const like = ranked((row) => (length(row) > 0 ? -dot(row, x) / (length(row) * length(x)) : 0))
    const cosines = like.reduce((total, [one]) => total - one, 0)
    const close = (given: PursuitTask, chosen: readonly number[], weights: readonly number[]) => {
      const at = token * k
      assert.equal([...given.atoms.subarray(at, at + k)], chosen, `token ${token}`)
      for (const [i, weight] of weights.entries()) assert.ok(Math.abs(given.weights[at + i]! - weight) < 1e-9)
    }
    const chosen = near.map(([, at]) => at)
    close(
      results.distance,
      chosen,
      far.map((one) => one / sum),
    )
    close(
      results.cosine,
      like.map(([, at]) => at),
      like.map(([one]) => -one / cosines),
    )
    const errors = Object.entries(results).map(([method, given]) => {
      const left = length(leftOf(given, atoms, token, x)) / length(x)
      assert.ok(Math.abs(left - given.residuals[token]!) < 1e-9, method)
      return left
    })
    const [byDistance, , byBarycentre, bySquares] = errors as [number, number, number, number]
    assert.ok(bySquares <= byBarycentre + 1e-9 && byBarycentre <= byDistance + 1e-9, String(errors))
    const total = [...results.barycentric.weights.subarray(token * k, (token + 1) * k)].reduce((a, b) => a + b, 0)
    assert.ok(Math.abs(total - 1) < 1e-12)
  }
})

/** Rows as embeddings can be, in ways that are hard for integers of 16 bits. */
const HARD: Readonly<Record<string, (count: number, width: number) => Float32Array>> = {
  'massive dimensions': (count, width) =>
    numbers(count * width, 1).map((value, i) => value * (i % width === 5 ? 300 : i % width === 17 ? -80 : 1)),
  'a strong common part': (count, width) => {
    const common = numbers(width, 8)
    return numbers(count * width, 2).map((value, i) => value + 30 * common[i % width]!)
  },
  'norms of all sizes': (count, width) =>
    numbers(count * width, 3).map((value, i) => value * 10 ** ((Math.floor(i / width) % 21) - 10)),
  'few numbers that are not 0': (count, width) =>
    numbers(count * width, 4).map((value, i) => (i % width === (7 * Math.floor(i / width)) % width ? value : 0)),
  'equal numbers': (count, width) =>
    numbers(count * width, 5).map((value, i) => (Math.floor(i / width) % 4 === 0 ? 1 : value)),
  'rows that differ in the last bits': (count, width) => {
    const first = numbers(width, 6)
    return numbers(count * width, 7).map((value, i) => first[i % width]! + 2 ** -9 * value)
  },
}

test('rows that are hard for integers of 16 bits: the same choice as with projections', () => {
  for (const [what, make] of Object.entries(HARD))
    for (const [count, width, k] of [
      [130, 33, 9],
      [70, 300, 12],
    ] as const) {
      const rows = make(count + 12, width)
      const [shared, targets] = [rows.slice(0, count * width), rows.slice(count * width)]
      const given = task('omp', shared, targets, width, k)
      pursueAll(given)
      const atoms = rowsOf(shared, width)
      for (const [token, x] of rowsOf(targets, width).entries()) {
        const own = [...given.atoms.subarray(token * k, (token + 1) * k)].filter((atom) => atom >= 0)
        const { chosen, left } = pursue(atoms, x, k)
        if (left > 1e-5) assert.equal(own, chosen, `${what}, ${count} × ${width}, token ${token}`)
        assert.ok(Math.abs(given.residuals[token]! - left) < 1e-7, `${what}: ${given.residuals[token]} is ${left}`)
      }
    }
})

test.run()

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sharedCopy, sharedFloats } from '../../src/core/collections/sharedArrays.js'
import { Stopped } from '../../src/kernels/dense/team.js'
import { byColumns, byRows, createLinalg, type Operand, productInto } from '../../src/kernels/linalg.js'
import { generator, shuffled } from '../../src/rebasin/order.js'
import { createThreadTeam, type ThreadTeam, workTiles } from '../../src/rebasin/team/team.js'

const linalg = createLinalg()

/** The best assignment by trying all. */
function brute(scores: Float32Array, n: number, used = 0, row = 0): number {
  if (row === n) return 0
  let best = -Infinity
  for (let j = 0; j < n; j++)
    if (!(used & (1 << j))) best = Math.max(best, scores[row * n + j]! + brute(scores, n, used | (1 << j), row + 1))
  return best
}

const total = (scores: Float32Array, columns: Int32Array) =>
  columns.reduce((sum, j, i) => sum + scores[i * columns.length + j]!, 0)

test('assignment finds the best permutation, with ties and negative scores', () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = generator(seed)
    const n = 1 + (seed % 7)
    // Whole numbers, few of them: many ties.
    const scores = Float32Array.from({ length: n * n }, () => Math.floor(random() * 5) - 2)
    const { columns } = linalg.assign(scores, n)
    assert.is(new Set(columns).size, n)
    assert.is(total(scores, columns), brute(scores, n))
  }
})

test('assignment: prices prove the optimum, and a warm start finds it after scores change', () => {
  const n = 150
  const random = generator(7)
  const scores = Float32Array.from({ length: n * n }, () => random())
  const prove = ({ columns, prices }: { columns: Int32Array; prices: Float64Array }) => {
    for (let i = 0; i < n; i++) {
      const own = -scores[i * n + columns[i]!]! - prices[columns[i]!]!
      for (let j = 0; j < n; j++) assert.ok(-scores[i * n + j]! - prices[j]! >= own - 1e-9)
    }
  }
  const first = linalg.assign(scores, n)
  prove(first)
  const same = linalg.assign(scores, n, first)
  assert.equal([...same.columns], [...first.columns])
  for (let k = 0; k < 40; k++) {
    const row = Math.floor(random() * n)
    for (let j = 0; j < n; j++) scores[row * n + j] = random() * 2
  }
  const warm = linalg.assign(scores, n, first)
  prove(warm)
  assert.ok(Math.abs(total(scores, warm.columns) - total(scores, linalg.assign(scores, n).columns)) < 1e-6)
})

/** Places in some order, without repetition. */
const scattered = (count: number, among: number, seed: number): Int32Array =>
  Int32Array.from(
    shuffled(
      Array.from({ length: among }, (_, i) => i),
      seed,
    ).slice(0, count),
  )

test('products of any shape, by rows, columns or any places, are added to the output', () => {
  const random = generator(3)
  const floats = (length: number) => Float32Array.from({ length }, () => random() - 0.5)
  for (const [m, n, k] of [
    [1, 1, 1],
    [3, 5, 2],
    [4, 8, 256],
    [9, 17, 300],
    [300, 20, 513],
    [2, 600, 7],
  ] as const) {
    const operands = (count: number): Operand[] => [
      byRows(floats(count * k), count, k),
      byColumns(floats(count * k), k, count),
      { data: floats(3 * count + 2 * k), units: scattered(count, 3 * count, k), rests: scattered(k, 2 * k, count) },
      { ...byRows(floats(count * k), count, k), minus: scattered(k, k, count) },
      { ...byColumns(floats(count * k), k, count), minus: scattered(k, k, count).map((p) => p * count) },
    ]
    const at = ({ data, units, rests, minus }: Operand, u: number, p: number) =>
      data[units[u]! + rests[p]!]! - (minus ? data[units[u]! + minus[p]!]! : 0)
    for (const [index, x] of operands(m).entries()) {
      const y = operands(n)[(index * 3) % 5]!
      const [stride, first] = [n + 2, 3]
      const c = Float32Array.from({ length: first + m * stride }, () => random())
      const want = Float64Array.from(c)
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++)
          for (let p = 0; p < k; p++) want[first + i * stride + j]! += at(x, i, p) * at(y, j, p)
      workTiles(linalg, { c, at: first, stride, x, y }, new Int32Array(1))
      c.forEach((value, i) => {
        assert.ok(Math.abs(value - want[i]!) < 1e-4)
      })
    }
  }
})

test('products, assignments and polar factors are the same bits on one thread and on three', async () => {
  const random = generator(5)
  const [m, n, k] = [520, 700, 300]
  const shared = (length: number) => sharedFloats(length).map(() => random() - 0.5)
  const [x, y] = [sharedCopy(shared(m * k)), sharedCopy(shared(n * k))]
  const results: unknown[][] = []
  for (const threads of [1, 3]) {
    const pool = createThreadTeam(threads)
    const c = pool.room(m * n, m)
    c.fill(0)
    await pool.addProduct(productInto(c, byRows(x, m, k), byRows(y, n, k)))
    // In place and as a copy.
    const scores = c.subarray(0, m * m)
    const found = await pool.assign(scores, m)
    assert.equal(await pool.assign(sharedCopy(Float32Array.from(scores)), m), found)
    assert.equal(await pool.assign(scores, m, found), found)
    results.push([Float32Array.from(c), found, await pool.polar(scores.subarray(0, 300 * 300), 300)])
    await pool.close()
  }
  assert.equal(results[0], results[1])
})

test('closing a pool stops its current work', async () => {
  const pool = createThreadTeam(2)
  const n = 3000
  const scores = sharedFloats(n * n)
  const random = generator(1)
  for (let i = 0; i < scores.length; i++) scores[i] = random()
  const running = pool.assign(scores, n)
  setTimeout(() => void pool.close(), 50)
  const failure = await running.then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.instance(failure, Stopped)
  assert.instance(await pool.pause().catch((error: unknown) => error), Stopped)
})

/** RᵀR is the identity and RᵀA symmetric: R is a polar factor of A. */
function isPolar(r: Float64Array, a: ArrayLike<number>, n: number): void {
  const turned = Float64Array.from(r, (_, i) => r[(i % n) * n + Math.floor(i / n)]!)
  linalg.multiply(turned, r, n, n, n).forEach((value, i) => {
    assert.ok(Math.abs(value - (i % (n + 1) === 0 ? 1 : 0)) < 1e-10)
  })
  const h = linalg.multiply(turned, Float64Array.from(a), n, n, n)
  const scale = Math.sqrt(Array.from(a).reduce((sum, value) => sum + value * value, 0))
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) assert.ok(Math.abs(h[i * n + j]! - h[j * n + i]!) < 1e-6 * scale)
}

test('large polar factors: well and badly conditioned, singular, and zero', async () => {
  const pool = createThreadTeam(2)
  const random = generator(13)
  const n = 150
  const plain = Float64Array.from({ length: n * n }, () => random() - 0.5)
  const bad = plain.map((value, i) => value * 10 ** (-8 * Math.floor(i / n / 50)))
  const singular = plain.map((value, i) => (i < 40 * n ? 0 : value))
  for (const a of [plain, bad, singular]) isPolar(await pool.polar(a, n), a, n)
  const one = await pool.polar(new Float64Array(n * n), n)
  one.forEach((value, i) => {
    assert.ok(Math.abs(value - (i % (n + 1) === 0 ? 1 : 0)) < 1e-10)
  })
  assert.ok((await pool.polar(plain.fill(Number.NaN, 7, 8), n)).every(Number.isNaN))
  await pool.close()
})

test('work that waits for a worker ends when the pool is closed or the worker ends', async () => {
  const [m, k] = [1024, 64]
  const operand = byRows(sharedFloats(m * k), m, k)
  const broken = { ...operand, rests: { length: k } as unknown as Int32Array }
  const settled = (pool: ThreadTeam, operands: readonly Operand[]) =>
    Promise.allSettled(operands.map((x) => pool.addProduct(productInto(sharedFloats(m * m), x, operand))))
  const closed = createThreadTeam(1)
  const all = settled(closed, [operand, operand, operand])
  await closed.close()
  for (const { status } of await all) assert.is(status, 'rejected')
  // A worker ends on what it can't do; the next work has another.
  const pool = createThreadTeam(1)
  const [first, second, third] = await settled(pool, [broken, broken, operand])
  assert.equal([first?.status, second?.status, third?.status], ['rejected', 'rejected', 'fulfilled'])
  await pool.close()
})

test('polar factors are orthogonal and maximise the trace; a singular matrix has one too', () => {
  const random = generator(11)
  for (const n of [1, 2, 5, 24, 97]) {
    const a = Float64Array.from({ length: n * n }, () => random() - 0.5)
    if (n === 5) a.fill(0, 10, 15)
    const r = linalg.polar(a, n)
    isPolar(r, a, n)
  }
  assert.equal([...linalg.polar(new Float64Array(4), 2)], [1, 0, 0, 1])
})

test.run()

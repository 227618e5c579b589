import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { createLinalg, type Product } from '../../src/kernels/linalg.js'
import { generator } from '../../src/rebasin/order.js'
import { createPool, sharedFloats, workTiles } from '../../src/rebasin/pool.js'

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

test('assignment finds the best of all permutations, ties and negative scores included', () => {
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

test('assignment: prices prove the optimum, and a warm start of changed scores finds it again', () => {
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

test('products of any shape and both layouts, added to what is there', () => {
  const random = generator(3)
  for (const [m, n, k] of [
    [1, 1, 1],
    [3, 5, 2],
    [4, 8, 256],
    [9, 17, 300],
    [300, 20, 513],
    [2, 600, 7],
  ] as const) {
    for (const layout of ['rows', 'columns'] as const) {
      const x = Float32Array.from({ length: m * k }, () => random() - 0.5)
      const y = Float32Array.from({ length: n * k }, () => random() - 0.5)
      const c = Float32Array.from({ length: m * n }, () => random())
      const want = Float64Array.from(c)
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++)
          for (let p = 0; p < k; p++)
            want[i * n + j]! += layout === 'rows' ? x[i * k + p]! * y[j * k + p]! : x[p * m + i]! * y[p * n + j]!
      workTiles(linalg, { c, x, y, m, n, k, layout }, new Int32Array(1))
      c.forEach((value, i) => {
        assert.ok(Math.abs(value - want[i]!) < 1e-4)
      })
    }
  }
})

test('products are the same bits on one thread and on three', async () => {
  const random = generator(5)
  const [m, n, k] = [520, 700, 300]
  const shared = (length: number) => sharedFloats(length).map(() => random() - 0.5)
  const [x, y] = [sharedFloats(m * k), sharedFloats(n * k)]
  x.set(shared(m * k))
  y.set(shared(n * k))
  const results: Float32Array[] = []
  for (const threads of [1, 3]) {
    const pool = createPool(threads)
    const product: Product = { c: sharedFloats(m * n), x, y, m, n, k, layout: 'rows' }
    await pool.addProduct(product)
    const scores = sharedFloats(n * n)
    scores.set(product.c.subarray(0, Math.min(n * n, m * n)))
    await pool.assign(scores, n)
    results.push(product.c)
    await pool.close()
  }
  assert.equal(results[0], results[1])
})

test('polar factors are orthogonal and maximise the trace; a singular matrix has one too', () => {
  const random = generator(11)
  for (const n of [1, 2, 5, 24, 97]) {
    const a = Float64Array.from({ length: n * n }, () => random() - 0.5)
    if (n === 5) a.fill(0, 10, 15)
    const r = linalg.polar(a, n)
    const transposed = Float64Array.from(r, (_, i) => r[(i % n) * n + Math.floor(i / n)]!)
    const product = linalg.multiply(transposed, r, n, n, n)
    product.forEach((value, i) => {
      assert.ok(Math.abs(value - (i % (n + 1) === 0 ? 1 : 0)) < 1e-10)
    })
    // RᵀA of a polar factor is symmetric.
    const h = linalg.multiply(transposed, a, n, n, n)
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) assert.ok(Math.abs(h[i * n + j]! - h[j * n + i]!) < 1e-6)
  }
  assert.equal([...linalg.polar(new Float64Array(4), 2)], [1, 0, 0, 1])
})

test.run()

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../src/core/webassembly.js'
import { cholesky, solveRight } from '../../src/kernels/dense/cholesky.js'
import { eigen, eigenBytes } from '../../src/kernels/dense/eigen.js'
import { allocateMatrix, type Matrix, part, product, transposed } from '../../src/kernels/dense/matrix.js'
import {
  createTeamMemory,
  joinTeam,
  resetTeam,
  Stopped,
  stopTeam,
  TEAM_BYTES,
  type Team,
} from '../../src/kernels/dense/team.js'
import { bell } from '../reference/samples.js'

/** A team of one on a memory of its own. */
function teamOf(bytes: number): Team {
  const memory = createTeamMemory(bytes, 1)
  resetTeam(memory)
  const instance = new WebAssembly.Instance(memory.module, { env: { memory: memory.memory } })
  return joinTeam(instance, memory, 0, TEAM_BYTES)
}

function put(team: Team, rows: number, columns: number, value: (i: number, j: number) => number): Matrix {
  const matrix = allocateMatrix(team, rows, columns)
  const all = team.f64(matrix.at, rows * columns)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) all[i * columns + j] = value(i, j)
  return matrix
}

const read = (team: Team, { at, rows, columns }: Matrix): Float64Array => team.f64(at, rows * columns).slice()

test('products of any sizes and strides, added, scaled, symmetric', () => {
  for (const [m, n, k] of [
    [1, 1, 1],
    [5, 7, 3],
    [130, 257, 300],
    [131, 131, 9],
  ] as const) {
    const team = teamOf(1e7)
    const [x, y] = [bell('x', m * k), bell('y', n * k)]
    const a = put(team, m, k, (i, p) => x[i * k + p]!)
    const b = put(team, n, k, (j, p) => y[j * k + p]!)
    const c = put(team, m + 2, n + 1, () => 1)
    product(team, part(c, 2, 1, m, n), a, transposed(b), { scale: -2, add: true })
    const result = read(team, c)
    let worst = 0
    for (let i = 0; i < m + 2; i++)
      for (let j = 0; j < n + 1; j++) {
        let expected = 1
        if (i > 1 && j > 0) for (let p = 0; p < k; p++) expected -= 2 * x[(i - 2) * k + p]! * y[(j - 1) * k + p]!
        worst = Math.max(worst, Math.abs(result[i * (n + 1) + j]! - expected))
      }
    assert.ok(worst < 1e-11, `${m} ${n} ${k}: ${worst}`)
    const [half, whole] = [allocateMatrix(team, m, m), allocateMatrix(team, m, m)]
    product(team, half, a, transposed(a), { symmetric: true })
    product(team, whole, a, transposed(a))
    assert.equal(read(team, half), read(team, whole))
  }
})

const random = bell('matrix', 200 * 200)
const MATRICES: Readonly<Record<string, (n: number) => (i: number, j: number) => number>> = {
  random: () => (i, j) => random[Math.max(i, j) * 200 + Math.min(i, j)]!,
  'of rank 1': () => (i, j) => random[i]! * random[j]!,
  zero: () => () => 0,
  identity: () => (i, j) => (i === j ? 1 : 0),
  'diagonal with clusters': (n) => (i, j) => (i === j ? Math.floor((3 * i) / n) : 0),
  'second differences': () => (i, j) => (i === j ? 2 : Math.abs(i - j) === 1 ? -1 : 0),
  'falling over many magnitudes': () => (i, j) => (i === j ? 10 ** (-i / 10) : 1e-12 * random[i + j]!),
}

for (const [name, make] of Object.entries(MATRICES))
  test(`eigenvectors of a matrix: ${name}`, () => {
    for (const n of [1, 2, 3, 32, 33, 97, 150]) {
      const value = make(n)
      const team = teamOf(eigenBytes(n) + 8 * n * n + 4096)
      const { values, vectors } = eigen(team, put(team, n, n, value), () => n)
      const v = read(team, vectors)
      const scale = Math.max(Math.abs(values[0]!), Math.abs(values[n - 1]!), 1e-300)
      let [residual, orthogonality] = [0, 0]
      for (let r = 0; r < n; r++) {
        if (r > 0) assert.ok(values[r]! <= values[r - 1]!)
        for (let i = 0; i < n; i++) {
          let [image, inner] = [0, 0]
          for (let j = 0; j < n; j++) {
            image += value(i, j) * v[r * n + j]!
            inner += v[i * n + j]! * v[r * n + j]!
          }
          residual = Math.max(residual, Math.abs(image - values[r]! * v[r * n + i]!) / scale)
          orthogonality = Math.max(orthogonality, Math.abs(inner - (i === r ? 1 : 0)))
        }
      }
      assert.ok(residual < 1e-13 && orthogonality < 1e-13, `${n}: ${residual} ${orthogonality}`)
    }
  })

test('the requested eigenvectors are the same as among all', () => {
  const n = 120
  const solve = (count: number) => {
    const team = teamOf(eigenBytes(n) + 8 * n * n + 4096)
    return read(team, eigen(team, put(team, n, n, MATRICES.random!(n)), () => count).vectors)
  }
  const [all, some] = [solve(n), solve(17)]
  assert.is(some.length, 17 * n)
  assert.ok(some.every((x, i) => Math.abs(x - all[i]!) < 1e-12))
})

test('solves positive definite systems from the right, and reports matrices that are not positive definite', () => {
  for (const n of [1, 5, 64, 65, 150]) {
    const team = teamOf(3e6)
    const value = (i: number, j: number) => (i === j ? n + 3 : MATRICES.random!(n)(i, j) / 4)
    const a = put(team, n, n, value)
    const x = bell('x', 7 * n)
    const right = put(team, 7, n, (row, j) => {
      let sum = 0
      for (let k = 0; k < n; k++) sum += x[row * n + k]! * value(k, j)
      return sum
    })
    assert.ok(cholesky(team, a))
    solveRight(team, a, right)
    assert.ok(read(team, right).every((found, i) => Math.abs(found - x[i]!) < 1e-12))
    assert.not(
      cholesky(
        team,
        put(team, n, n, (i, j) => (i === j && i < n - 1 ? 1 : 0)),
      ),
    )
  }
})

test('waiting for a stopped team throws', () => {
  const memory = createTeamMemory(1e5, 2)
  resetTeam(memory)
  const instance = new WebAssembly.Instance(memory.module, { env: { memory: memory.memory } })
  const team = joinTeam(instance, memory, 0, TEAM_BYTES)
  stopTeam(memory)
  assert.throws(
    () => team.barrier(),
    (error: unknown) => error instanceof Stopped,
  )
})

test.run()

/**
 * oft: a weight [rows, columns] times rotations of blocks of its inputs: W_i R_iᵀ. Q_i is skew-symmetric, and `vectors` [blocks,
 * size (size − 1) / 2] hold its upper triangle by rows; one vector is for all blocks. R is (I − Q)(I + Q)⁻¹, or with `terms` its
 * series as PEFT sums it. In float64 but for W itself, which the result replaces in its place.
 */
import { allocateMatrix, eachPiece, type Matrix, matrixAt, part, product, transposed } from '../dense/matrix.js'
import type { Team } from '../dense/team.js'
import { elementBytes, narrowOf } from './spectrum.js'
import { type HeldRule, type HeldWork, rooms } from './types.js'

const optionsOf = ({ options }: HeldWork) => ({
  size: Number(options.size),
  vectors: Number(options.vectors),
  terms: Number(options.terms),
})

function places(work: HeldWork) {
  const { rows, columns } = work
  const { size, vectors } = optionsOf(work)
  const room = rooms()
  const weight = room.take(rows * columns * elementBytes(work))
  const stored = room.take(vectors * ((size * (size - 1)) / 2) * elementBytes(work))
  const own = room.take(8 * (4 * size * size + rows * size) + 1024)
  return { weight, stored, own, total: room.total() }
}

export const oft: HeldRule = {
  layout(work) {
    const { rows, columns } = work
    const { size, vectors } = optionsOf(work)
    const { weight, stored, own, total } = places(work)
    const fill = (input: number, elements: number, at: number) => ({
      ...{ kind: 'fill' as const, terms: [{ input, factor: 1 }], onBase: false, elements, at },
      narrow: narrowOf(work),
    })
    return {
      bytes: total,
      operations: rows * columns * size + 4 * vectors * size ** 3,
      steps: [
        fill(0, rows * columns, weight),
        fill(1, vectors * ((size * (size - 1)) / 2), stored),
        { kind: 'solve', stage: 0 },
      ],
      result: weight,
      own,
    }
  },
  solve(team, work, _, origin) {
    const { rows, columns } = work
    const { size, vectors, terms } = optionsOf(work)
    const { weight, stored } = places(work)
    const whole = matrixAt(origin + weight, rows, columns, narrowOf(work))
    const room: Room = {
      skew: allocateMatrix(team, size, size),
      rotation: allocateMatrix(team, size, size),
      power: allocateMatrix(team, size, size),
      next: allocateMatrix(team, size, size),
    }
    const rotated = allocateMatrix(team, rows, size)
    const count = (size * (size - 1)) / 2
    for (let block = 0; block * size < columns; block++) {
      if (block < vectors) {
        const at = origin + stored + block * count * elementBytes(work)
        const values = narrowOf(work) ? team.f32(at, count) : team.f64(at, count)
        team.once(() => fillSkew(team.f64(room.skew.at, size * size), values, size))
        rotationOf(team, room, size, terms)
      }
      product(team, rotated, part(whole, 0, block * size, rows, size), transposed(room.rotation))
      const from = team.f64(rotated.at, rows * size)
      const to = narrowOf(work) ? team.f32(whole.at, rows * columns) : team.f64(whole.at, rows * columns)
      eachPiece(team, rows * size, (first, end) => {
        for (let i = first; i < end; i++) to[Math.floor(i / size) * columns + block * size + (i % size)] = from[i]!
      })
      team.barrier()
    }
  },
}

interface Room {
  readonly skew: Matrix
  readonly rotation: Matrix
  readonly power: Matrix
  readonly next: Matrix
}

function fillSkew(to: Float64Array, values: Float32Array | Float64Array, size: number): void {
  let next = 0
  for (let i = 0; i < size; i++) {
    to[i * size + i] = 0
    for (let j = i + 1; j < size; j++) {
      to[i * size + j] = values[next]!
      to[j * size + i] = -values[next++]!
    }
  }
}

function rotationOf(team: Team, { skew, rotation, power, next }: Room, size: number, terms: number): void {
  const q = team.f64(skew.at, size * size)
  const r = team.f64(rotation.at, size * size)
  if (terms === 0) {
    team.once(() => cayley(q, r, size))
    return
  }
  team.once(() => {
    r.fill(0)
    for (let i = 0; i < size; i++) r[i * size + i] = 1
    if (terms > 1) for (let i = 0; i < size * size; i++) r[i]! += 2 * q[i]!
    team.f64(power.at, size * size).set(q)
  })
  let [last, free] = [power, next]
  const raise = (factor: number): void => {
    product(team, free, last, skew)
    ;[last, free] = [free, last]
    const values = team.f64(last.at, size * size)
    team.once(() => {
      for (let i = 0; i < size * size; i++) r[i]! += factor * values[i]!
    })
  }
  if (terms <= 2) return
  // I + 2 Q + … + 2 Qⁿ⁻² + Qⁿ⁻¹, but Q³ at least.
  for (let exponent = 2; exponent <= Math.max(2, terms - 2); exponent++) raise(2)
  raise(1)
}

/** (I − Q)(I + Q)⁻¹ by rows: X (I + Q) = I − Q. The symmetric part of I + Q is I, so that elimination needs no exchange of rows. */
function cayley(q: Float64Array, r: Float64Array, size: number): void {
  const a = Float64Array.from(q)
  for (let i = 0; i < size; i++) a[i * size + i]! += 1
  for (let i = 0; i < size * size; i++) r[i] = -q[i]!
  for (let i = 0; i < size; i++) r[i * size + i]! += 1
  // Columns of the equations: eliminates by columns, on both sides.
  for (let k = 0; k < size; k++) {
    const pivot = a[k * size + k]!
    for (let j = 0; j < size; j++) {
      if (j === k) continue
      const share = a[k * size + j]! / pivot
      if (share === 0) continue
      for (let i = k; i < size; i++) a[i * size + j]! -= share * a[i * size + k]!
      for (let i = 0; i < size; i++) r[i * size + j]! -= share * r[i * size + k]!
    }
  }
  for (let k = 0; k < size; k++) for (let i = 0; i < size; i++) r[i * size + k]! /= a[k * size + k]!
}

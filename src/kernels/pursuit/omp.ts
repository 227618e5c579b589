/**
 * Orthogonal matching pursuit: chooses the row with the largest product with the residual, again and again, and fits all chosen rows.
 *
 * Products of the residual with all rows are known with a bound of their error. Where more than one row can have the largest
 * product, float64 decides, and the lowest index among equal products. So the choice does not depend on the precision of
 * the products.
 */
import { openCosines } from './cosines.js'
import { type Fit, fitOf } from './fit.js'
import {
  hasIntegers,
  loadPanels,
  multiplyPanels,
  PANEL,
  pitchOf,
  rowRoom,
  rowRoomBytes,
  ULP,
  writeRow,
} from './integers.js'
import type { Memory } from './memory.js'
import { BLOCK, blocksOf, NOTHING, productsOf, roomBytes } from './products.js'
import { type Space, spaceOn } from './space.js'
import type { Files, OmpTask } from './types.js'

/** What is left of a row is nothing, as a share of its norm. */
const SPENT = 1e-6
/** As a share of the square: from here on, the norm of the residual is computed from the residual. */
const NEAR = 1e-3
/** More rows than these that can have the largest product, when less than this share of a row is left: products are computed anew. */
const [CROWD, FADED] = [64, 1 / 8]
/** What rounding makes of a product in float64, as a share of the norms. */
const ROUNDING = 1e-13
/** Rows of the dictionary whose products are computed at once. */
const TILE = 256
/** Bytes for the products of the tokens that a thread takes at once, and how many it takes. */
const [PRODUCT_BYTES, LEAST_TOKENS, MOST_TOKENS] = [8e6, 16, 128]

/** Tokens that a thread takes at once. */
const shareOf = (count: number): number =>
  PANEL * Math.floor(Math.max(LEAST_TOKENS, Math.min(MOST_TOKENS, PRODUCT_BYTES / (4 * count))) / PANEL)

/** Bytes of a thread's memory for pursuits. */
export function pursuitBytes(count: number, width: number, k: number): number {
  const own = roomBytes(count, k).reduce((sum, bytes) => sum + bytes, 0)
  const products = (shareOf(count) + 1) * 4 * BLOCK * blocksOf(count)
  return own + products + ((TILE + shareOf(count)) / PANEL + 1) * pitchOf(width) + (k + 8) * 4 * width
}

/** Approximates tokens until none is left. */
export function pursueAll(memory: Memory, task: OmpTask, files: Files): void {
  const { next, tokens, k, dictionary } = task
  const share = Math.min(shareOf(dictionary.count), Math.ceil(tokens / PANEL) * PANEL)
  const { space, base, pursue } = bench(memory, task, files, share)
  for (let at = Atomics.add(next, 0, share); at < tokens; at = Atomics.add(next, 0, share)) {
    const bases = base(at, Math.min(share, tokens - at))
    for (const [i, one] of bases.entries()) {
      const token = at + i
      task.atoms.fill(-1, token * k, (token + 1) * k)
      task.weights.fill(0, token * k, (token + 1) * k)
      task.residuals[token] = one ? 1 : 0
      if (!one) continue
      loadTarget(space, task, token)
      const { chosen, weights, left } = pursue(one)
      task.atoms.set(chosen, token * k)
      task.weights.set(weights.subarray(0, chosen.length), token * k)
      task.residuals[token] = left
    }
  }
}

const loadTarget = ({ target }: Space, { targets, dictionary: { width } }: OmpTask, token: number): void =>
  target.set(targets.subarray(token * width, (token + 1) * width))

interface TokenBase {
  readonly at: number
  readonly norm: number
  readonly error: number
}

interface Pursued {
  readonly chosen: readonly number[]
  readonly weights: Float64Array
  /** What is left, as a share of the row. */
  readonly left: number
}

/** A thread's memory, laid out for a task. */
interface Bench {
  readonly space: Space
  /** Computes the products of some tokens. Undefined for rows of zeros, and for rows that are not finite. */
  readonly base: (first: number, tokens: number) => (TokenBase | undefined)[]
  /** Approximates the token that is in the space. */
  readonly pursue: (base: TokenBase) => Pursued
}

function bench(memory: Memory, task: OmpTask, files: Files, share: number): Bench {
  const { dictionary, integers, cosines, k } = task
  const { count, width } = dictionary
  const [stride, pitch] = [4 * BLOCK * blocksOf(count), pitchOf(width)]
  const { space, at, buffer } = spaceOn(memory, width, k, [
    ...roomBytes(count, k),
    ...[rowRoomBytes(width), (share / PANEL) * pitch, (TILE / PANEL) * pitch, (share + PANEL) * stride],
    ...[4 * (share + PANEL), 4 * TILE],
  ])
  const [cosinesAt, addressesAt, coefficientsAt, normsAt, peaksAt] = at as [number, number, number, number, number]
  const [roomAt, ownAt, tileAt, productsAt, leftAt, rightAt] = at.slice(5) as [
    ...[number, number, number],
    ...[number, number, number],
  ]
  const { kernels } = memory
  const room = rowRoom(kernels, buffer, roomAt, width)
  const left = new Float32Array(buffer, leftAt, share + PANEL)
  const right = new Float32Array(buffer, rightAt, TILE)
  /** Products of rows of integers with all rows. */
  const multiply = (rows: number, to: number, scales: number): void => {
    new Uint8Array(buffer, to, rows * stride).fill(0)
    for (let first = 0; first < count; first += TILE) {
      const columns = loadPanels(integers, width, first, Math.min(TILE, count - first), buffer, tileAt)
      right.set(integers.scales.subarray(first, first + columns))
      multiplyPanels(kernels, width, [ownAt, rows], [tileAt, columns], to + 4 * first, stride)
      kernels.scaleSides(to + 4 * first, stride, rows, columns, scales, rightAt)
    }
  }
  /** Makes integers of the row of this norm in the room. */
  const write = (norm: number, place: number): number => {
    const { scale, error } = writeRow(room, width, norm, ownAt + Math.floor(place / PANEL) * pitch, place % PANEL)
    left[place] = scale
    return error
  }
  const clear = (rows: number): void => {
    new Uint8Array(buffer, ownAt, Math.ceil(rows / PANEL) * pitch).fill(0)
    left.fill(0)
  }
  const base: Bench['base'] = (first, tokens) => {
    clear(tokens)
    const bases = Array.from({ length: tokens }, (_, i) => {
      room.turned.fill(0)
      room.turned.set(task.targets.subarray((first + i) * width, (first + i + 1) * width))
      const square = kernels.dot(roomAt, roomAt, width)
      if (!hasIntegers(square)) return undefined
      const norm = Math.sqrt(square)
      return { at: productsAt + i * stride, norm, error: write(norm, i) }
    })
    multiply(Math.ceil(tokens / PANEL) * PANEL, productsAt, leftAt)
    return bases
  }
  const restAt = productsAt + share * stride
  const restart = (norm: number): TokenBase => {
    clear(1)
    room.turned.fill(0)
    room.turned.set(space.residual)
    const error = write(norm, 0)
    multiply(PANEL, restAt, leftAt)
    return { at: restAt, norm, error }
  }
  const fit = fitOf(space, dictionary, k)
  const products = productsOf(
    ...([kernels, { buffer, cosinesAt, addressesAt, coefficientsAt, normsAt, peaksAt }, dictionary, integers] as const),
    ...([openCosines(cosines, count, files), fit, k] as const),
  )
  return { space, base, pursue: pursuitOn(space, task, fit, products, restart) }
}

function pursuitOn(
  space: Space,
  { dictionary, k }: OmpTask,
  fit: Fit,
  products: ReturnType<typeof productsOf>,
  restart: (norm: number) => TokenBase,
): Bench['pursue'] {
  const { kernels, residualAt } = space
  const { chosen, weights } = fit
  const { width, squares } = dictionary
  const loaded = (atom: number): number => {
    space.load(dictionary, atom, k)
    return space.rowAt(k)
  }
  /** Those that can have the largest product, by these products with an error of at most `doubt` in norm. */
  const filtered = (
    candidates: readonly number[],
    sizeOf: (row: number) => number,
    doubt: number,
  ): readonly number[] => {
    const sizes = candidates.map((atom) => Math.abs(sizeOf(loaded(atom))))
    const doubts = candidates.map((atom) => doubt * Math.sqrt(squares[atom]!))
    const least = sizes.reduce((most, size, i) => Math.max(most, size - doubts[i]!), 0)
    const nothing = NOTHING * Math.sqrt(fit.square) * products.longest
    return least > nothing ? candidates.filter((_, i) => sizes[i]! + doubts[i]! >= least) : candidates
  }
  const inFloat64 = (row: number): number => kernels.rowDot(row, residualAt, width)
  /** The row with the largest product in float64; -1 if no row has a product with what is left. */
  const exact = (candidates: readonly number[]): number => {
    const norm = Math.sqrt(fit.square)
    let rest = candidates
    if (rest.length > 1) {
      const doubt = fit.subtract() + 6 * ULP * norm
      if (Number.isFinite(doubt)) rest = filtered(rest, (row) => kernels.narrowDot(row, space.roughAt, width), doubt)
      if (rest.length === 1) return rest[0]!
      fit.approach()
      rest = filtered(rest, inFloat64, fit.doubt() + ROUNDING * norm)
      if (rest.length === 1) return rest[0]!
    }
    fit.refine()
    let [best, most] = [-1, NOTHING * norm * products.longest]
    for (const atom of rest) {
      const size = Math.abs(inFloat64(loaded(atom)))
      if (size > most) [best, most] = [atom, size]
    }
    return best
  }
  const next = (): number => {
    let near = products.near()
    if (near.atoms.length > CROWD && Math.sqrt(fit.left) < FADED * products.norm) {
      const norm = Math.sqrt(fit.refine())
      if (!(norm > 0)) return -1
      products.goOn(restart(norm))
      near = products.near()
    }
    return near.atoms.length === 1 && near.sure ? near.atoms[0]! : exact(near.atoms)
  }
  return (base) => {
    fit.begin()
    products.begin(base)
    let left = fit.square
    while (chosen.length < k && left > SPENT * SPENT * fit.square) {
      const atom = next()
      if (atom < 0) break
      const added = fit.choose(atom)
      products.remove(atom)
      if (!added) continue
      products.add(atom, chosen.length - 1)
      left = fit.left < NEAR * fit.square ? fit.refine() : fit.left
    }
    const rest = fit.refine()
    return { chosen, weights, left: Math.sqrt(rest / fit.square) }
  }
}

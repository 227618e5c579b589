/** The factors of an adapter's update, read and packed for the kernel: as much of them as there is room for. */

import { CHUNK, GROUP_ROWS, PANEL_BYTES } from '../../../kernels/types.js'
import { SCRATCH } from '../../../views/decodeScratch.js'
import type { Factor, LoraNode } from '../../program.js'
import type { Arena } from '../arena.js'
import type { WorkerContext } from '../context.js'
import { readingWith, scratchOf } from '../read/index.js'
import { copySource } from '../read/reading.js'

type Floats = Float32Array | Float64Array

/** Numbers of the compute type at an address: 4 or 8 bytes each. */
export const numbersAt = ({ memory }: WorkerContext, size: number, address: number, length: number): Floats =>
  size === 4 ? new Float32Array(memory.buffer, address, length) : new Float64Array(memory.buffer, address, length)

/** Reads a factor's stored elements from `first` on, a line at a time; `take` gets the index of its first one, and how many there are. */
type ReadLines = (factor: Factor, first: number, n: number, take: (first: number, n: number) => void) => void

/** The line that elements are read to, and how. `size`: bytes of an element of the compute type. */
export interface Lines {
  readonly values: Floats
  readonly read: ReadLines
}

export function layLines({ left, right }: LoraNode, size: number, worker: WorkerContext, arena: Arena): Lines {
  const factors = [right, ...(left ? [left] : [])]
  const sources = factors.flatMap(({ source, times, core }) => [
    source,
    ...[times, core].flatMap((one) => one?.source ?? []),
  ])
  const [line, other] = [
    arena.allocate(CHUNK * 8),
    factors.some(({ times, core }) => times ?? core) ? arena.allocate(CHUNK * 8) : 0,
  ]
  const nested = sources.reduce((most, source) => Math.max(most, scratchOf(source, worker.bandBytes)), 0)
  const scratch = arena.allocate(nested === 0 ? CHUNK * 8 : SCRATCH + nested)
  const wanted = { dtype: size === 4 ? ('F32' as const) : ('F64' as const), elementBytes: size }
  const values = numbersAt(worker, size, line, CHUNK)
  const more = numbersAt(worker, size, other, other === 0 ? 0 : CHUNK)
  const copy = ({ source, leaf }: Pick<Factor, 'source' | 'leaf'>, first: number, n: number, to: number): void =>
    copySource(readingWith(worker, worker.slots[leaf]!, scratch), wanted, source, first, n, to)
  /** All elements of a source. */
  const whole = (from: Pick<Factor, 'source' | 'leaf'>, n: number): Floats => {
    const all = size === 4 ? new Float32Array(n) : new Float64Array(n)
    for (let done = 0; done < n; done += CHUNK) {
      const length = Math.min(CHUNK, n - done)
      copy(from, done, length, other)
      all.set(more.subarray(0, length), done)
    }
    return all
  }
  const cores = new Map<Factor, { readonly core: Floats; readonly matrix: Floats }>()
  const coreOf = (factor: Factor, { inner, kernel, rank }: Core) => {
    const known = cores.get(factor) ?? {
      core: whole(factor.core!, rank * inner * kernel),
      matrix: whole(factor, (inner * factor.count) / kernel),
    }
    cores.set(factor, known)
    return known
  }
  return {
    values,
    read(factor, first, n, take) {
      for (let done = 0; done < n; done += CHUNK) {
        const length = Math.min(CHUNK, n - done)
        if (factor.core) fillCored(values, coreOf(factor, factor.core), factor.core, factor.count, first + done, length)
        else copy(factor, first + done, length, line)
        if (factor.times) {
          copy(factor.times, first + done, length, other)
          for (let i = 0; i < length; i++) values[i]! *= more[i]!
        }
        take(first + done, length)
      }
    },
  }
}

type Core = NonNullable<Factor['core']>

/** Elements of a factor with a core, from `first` on: sums in float64. */
function fillCored(
  to: Floats,
  { core, matrix }: { readonly core: Floats; readonly matrix: Floats },
  { inner, kernel }: Core,
  columns: number,
  first: number,
  n: number,
): void {
  const inputs = columns / kernel
  for (let i = 0; i < n; i++) {
    const row = Math.floor((first + i) / columns)
    const rest = first + i - row * columns
    const input = Math.floor(rest / kernel)
    let sum = 0
    for (let s = 0, c = row * inner * kernel + rest - input * kernel; s < inner; s++, c += kernel)
      sum += core[c]! * matrix[s * inputs + input]!
    to[i] = sum
  }
}

/** Where elements of a factor are packed: `lanes` places (rows or columns) side by side, those from `from` to before `to`. */
interface Packing {
  readonly packed: Floats
  readonly lanes: number
  readonly rank: number
  readonly from: number
  readonly to: number
}

/**
 * Packs the elements of a line, `first` being the index of its first one: of rank k and place p, which is `inverse[p] + shift` in the
 * result, or p + shift.
 */
function pack(
  line: Floats,
  { packed, lanes, rank, from, to }: Packing,
  { byRank, count }: Factor,
  inverse: Int32Array | undefined,
  shift: number,
  first: number,
  n: number,
): void {
  // Coordinates are counted on, since a division an element would take longer than all else.
  let k = byRank ? Math.floor(first / count) : first % rank
  let stored = byRank ? first - k * count : (first - k) / rank
  for (let i = 0; i < n; i++) {
    const place = (inverse ? inverse[stored]! : stored) + shift
    if (place >= from && place < to) {
      const lane = (place - from) % lanes
      packed[(place - from - lane) * rank + k * lanes + lane] = line[i]!
    }
    if (byRank) {
      if (++stored === count) [stored, k] = [0, k + 1]
    } else if (++k === rank) [k, stored] = [0, stored + 1]
  }
}

/** Panels of the right factor, or rows of the left one: `first` to before `end` are packed. */
export interface Packed {
  first: number
  end: number
}

/** Packs panels from one on: as many as there is room for. */
export function rightPacker(
  { columns, rank, right }: LoraNode,
  size: number,
  panels: number,
  values: Floats,
  lines: Lines,
): Packed & { matrix: number; pack(panel: number, matrix: number): void } {
  const width = PANEL_BYTES / size
  const inverse = right.map && inverted(right.map)
  return {
    first: 0,
    end: 0,
    matrix: 0,
    pack(panel, matrix) {
      this.first = panel
      this.end = panel + panels
      this.matrix = matrix
      const start = (right.matrixMap?.[matrix] ?? matrix) * rank * columns
      const [from, to] = [panel * width, Math.min(columns, this.end * width)]
      // Without a permutation only the columns that are wanted are read.
      const [low, high] = inverse ? [0, columns] : [from, to]
      const packing = { packed: values, lanes: width, rank, from, to }
      const take = (first: number, n: number) => pack(lines.values, packing, right, inverse, 0, first - start, n)
      if (right.byRank) for (let k = 0; k < rank; k++) lines.read(right, start + k * columns + low, high - low, take)
      else lines.read(right, start + low * rank, (high - low) * rank, take)
    },
  }
}

/** Packs rows from one on, up to `end` or as many as there is room for. */
export function leftPacker(
  { rank, left }: LoraNode,
  rows: number,
  values: Floats,
  lines: Lines,
): Packed & { pack(row: number, end: number): void } {
  return {
    first: 0,
    end: 0,
    pack(row, end) {
      this.first = row
      this.end = Math.min(end, row + rows)
      if (!left) {
        values.fill(1, 0, GROUP_ROWS)
        return
      }
      const { byRank, count, map } = left
      const packing = { packed: values, lanes: GROUP_ROWS, rank, from: row, to: this.end }
      /** Rows from `at` on, which lie one after the other. */
      const rowsAt = (at: number, stored: number, n: number): void => {
        const take = (first: number, length: number) =>
          pack(lines.values, packing, left, undefined, at - stored, first, length)
        if (byRank) for (let k = 0; k < rank; k++) lines.read(left, k * count + stored, n, take)
        else lines.read(left, stored * rank, n * rank, take)
      }
      if (map) for (let i = row; i < this.end; i++) rowsAt(i, map[i]!, 1)
      else rowsAt(row, row, this.end - row)
    },
  }
}

function inverted(map: Int32Array): Int32Array {
  const inverse = new Int32Array(map.length)
  for (const [place, stored] of map.entries()) inverse[stored] = place
  return inverse
}

/**
 * Applies an adapter's update while a tensor is read. The right factor is decoded and packed once a task (a large one in blocks of
 * columns), the left one row by row as they come; values are made a window ahead, some rows at a time, so that the product
 * runs on registers and what it works on stays in the caches.
 */
import { loraRooms } from '../../kernels/lora.js'
import { CHUNK, GROUP_ROWS, PANEL_BYTES } from '../../kernels/types.js'
import type { Factor, LoraNode, Program } from '../program.js'
import type { Arena } from './arena.js'
import type { WorkerContext } from './context.js'
import { readingWith, scratchOf } from './read/index.js'
import { copySource, SCRATCH } from './read/reading.js'

export interface LoraState {
  /** A task begins: what lay in the scratch space may be another program's. */
  begin(): void
  /**
   * The address of the values of elements `first` to before `first + n` of the tensor. Those up to before `end` may be made as
   * well. W's lie at `base`, from its element `origin` on.
   */
  values(base: number, origin: number, first: number, n: number, end: number): number
}

/** `reach`: the most elements that are asked for at once. */
export function layLora(
  program: Program,
  node: LoraNode,
  worker: WorkerContext,
  arena: Arena,
  reach: number,
): LoraState {
  const { compute } = program
  const { columns, rank, scale, left, right } = node
  const count = program.nodes.filter(({ kind }) => kind === 'lora').length
  const { size, capacity, panels, panelBytes, rows } = loraRooms(node, compute, reach, count)
  const width = PANEL_BYTES / size
  const window = arena.allocate(capacity * size)
  const rightAt = arena.allocate(panels * panelBytes)
  const leftAt = arena.allocate(rows * rank * size)
  const line = arena.allocate(CHUNK * 8)
  const nested = Math.max(scratchOf(right.source), left ? scratchOf(left.source) : 0)
  const scratch = arena.allocate(nested === 0 ? CHUNK * 8 : SCRATCH + nested)
  const { dtype, elementBytes } = program.leaves[node.base]!
  if (dtype === 'raw') throw new Error('internal: raw bytes in a merge')
  const direct = size === 4 ? 'F32' : 'F64'
  const straight = worker.kernels.addProduct(dtype, compute)
  const addProduct = straight ?? worker.kernels.addProduct(direct, compute)!
  // What has no kernel of its own is decoded to where it will stay.
  const decode = straight ? undefined : worker.kernels.decode(dtype, compute)
  const { buffer } = worker.memory
  const numbers = (address: number, length: number): Float32Array | Float64Array =>
    size === 4 ? new Float32Array(buffer, address, length) : new Float64Array(buffer, address, length)
  const lineValues = numbers(line, CHUNK)
  const rightValues = numbers(rightAt, (panels * panelBytes) / size)
  const leftValues = numbers(leftAt, rows * rank)
  const inverse = right.map && inverted(right.map)

  /** Elements of the window, panels and rows that are there. */
  let [start, stop] = [0, 0]
  let [firstPanel, endPanel] = [0, 0]
  let [firstRow, endRow] = [0, 0]

  /** Reads a factor's stored elements from `first` on, a line at a time; `take` is told which lie in it. */
  function read(factor: Factor, first: number, n: number, take: (first: number, n: number) => void): void {
    const reading = readingWith(worker, worker.slots[factor.leaf]!, scratch)
    for (let done = 0; done < n; done += CHUNK) {
      const length = Math.min(CHUNK, n - done)
      copySource(reading, { dtype: direct, elementBytes: size }, factor.source, first + done, length, line)
      take(first + done, length)
    }
  }

  /**
   * Packs elements of a factor, `first` being the index of the line's first one: of rank k and place p (row or column) in `packed`,
   * `lanes` places side by side. `from` to `to` are the places that are wanted.
   */
  function pack(
    packed: Float32Array | Float64Array,
    lanes: number,
    { byRank, count }: Factor,
    inverse: Int32Array | undefined,
    shift: number,
    [from, to]: readonly [from: number, to: number],
    [first, n]: readonly [first: number, n: number],
  ): void {
    // Coordinates are counted on, since a division an element would take longer than all else.
    let k = byRank ? Math.floor(first / count) : first % rank
    let stored = byRank ? first - k * count : (first - k) / rank
    for (let i = 0; i < n; i++) {
      const place = (inverse ? inverse[stored]! : stored) + shift
      if (place >= from && place < to) {
        const lane = (place - from) % lanes
        packed[(place - from - lane) * rank + k * lanes + lane] = lineValues[i]!
      }
      if (byRank) {
        if (++stored === count) [stored, k] = [0, k + 1]
      } else if (++k === rank) [k, stored] = [0, stored + 1]
    }
  }

  /** Packs panels from `panel` on: as many as there is room for. */
  function packRight(panel: number): void {
    firstPanel = panel
    endPanel = panel + panels
    const [from, to] = [panel * width, Math.min(columns, endPanel * width)]
    // Without a permutation only the columns that are wanted are read.
    const [low, high] = inverse ? [0, columns] : [from, to]
    const take = (first: number, n: number) => pack(rightValues, width, right, inverse, 0, [from, to], [first, n])
    if (right.byRank) for (let k = 0; k < rank; k++) read(right, k * columns + low, high - low, take)
    else read(right, low * rank, (high - low) * rank, take)
  }

  /** Packs rows from `row` on, up to `end` or as many as there is room for. */
  function packLeft(row: number, end: number): void {
    firstRow = row
    endRow = Math.min(end, row + rows)
    if (!left) {
      leftValues.fill(1, 0, GROUP_ROWS)
      return
    }
    const { byRank, count, map } = left
    /** Rows from `at` on, which lie one after the other. */
    const rowsAt = (at: number, stored: number, n: number): void => {
      const take = (first: number, length: number) =>
        pack(leftValues, GROUP_ROWS, left, undefined, at - stored, [row, endRow], [first, length])
      if (byRank) for (let k = 0; k < rank; k++) read(left, k * count + stored, n, take)
      else read(left, stored * rank, n * rank, take)
    }
    if (map) for (let i = row; i < endRow; i++) rowsAt(i, map[i]!, 1)
    else rowsAt(row, row, endRow - row)
  }

  /** Columns `from` to before `to` of some rows, W's at `x`, to `address`. */
  function update(x: number, address: number, row: number, n: number, from: number, to: number, lastRow: number): void {
    const aligned = (row - firstRow) % GROUP_ROWS === 0
    if (row < firstRow || row + n > endRow || !aligned) packLeft(row, lastRow)
    const leftRows = leftAt + (row - firstRow) * rank * size
    for (let column = from; column < to; ) {
      const panel = Math.floor(column / width)
      if (panel < firstPanel || panel >= endPanel) packRight(panel - (panel % panels))
      const end = Math.min(to, endPanel * width)
      const stored = x + (column - from) * (decode ? size : elementBytes)
      const at = address + (column - from) * size
      addProduct(stored, at, columns, n, column, end, leftRows, rightAt - firstPanel * panelBytes, rank, scale)
      column = end
    }
  }

  return {
    begin() {
      start = stop = firstPanel = endPanel = firstRow = endRow = 0
    },
    values(base, origin, first, n, end) {
      if (first < start || first > stop) start = stop = first
      else if (first + n > stop) {
        // What is there of it already moves to the front.
        const from = window + (first - start) * size
        new Uint8Array(buffer).copyWithin(window, from, from + (stop - first) * size)
        start = first
      }
      const limit = Math.min(Math.max(end, first + n), start + capacity)
      const lastRow = Math.ceil(Math.max(end, limit) / columns)
      while (stop < first + n) {
        const row = Math.floor(stop / columns)
        const column = stop - row * columns
        const whole = column === 0 ? Math.min(rows, Math.floor((limit - stop) / columns)) : 0
        // Groups as far as they go; rows of which the window or the tile has a part come alone.
        const taken = whole >= GROUP_ROWS ? whole - (whole % GROUP_ROWS) : Math.max(1, whole)
        const to = Math.min(columns, column + limit - stop)
        const length = taken * (to - column)
        const address = window + (stop - start) * size
        const stored = base + (stop - origin) * elementBytes
        decode?.(stored, address, length)
        update(decode ? address : stored, address, row, taken, column, to, lastRow)
        stop += length
      }
      return window + (first - start) * size
    },
  }
}

function inverted(map: Int32Array): Int32Array {
  const inverse = new Int32Array(map.length)
  for (const [place, stored] of map.entries()) inverse[stored] = place
  return inverse
}

/**
 * Applies an adapter's update while a tensor is read. The right factor is decoded and packed once a task (a large one in blocks of
 * columns), the left one row by row as they come; values are made a window ahead, some rows at a time, so that the product
 * runs on registers and what it works on stays in the caches.
 */

import type { FloatDtype } from '../../../core/dtypes.js'
import { loraRooms } from '../../../kernels/lora.js'
import { type Compute, type Convert, GROUP_ROWS, PANEL_BYTES } from '../../../kernels/types.js'
import type { LoraNode, Program } from '../../program.js'
import type { Arena } from '../arena.js'
import type { WorkerContext } from '../context.js'
import { layLines, leftPacker, numbersAt, rightPacker } from './factors.js'

const NO_BASE = { dtype: 'F32', elementBytes: 0 } as const

function decoderOf(worker: WorkerContext, { base }: LoraNode, dtype: FloatDtype, compute: Compute): Convert {
  if (base >= 0) return worker.kernels.decode(dtype, compute)
  const size = compute === 'f32' ? 4 : 8
  return (_, address, n) => void new Uint8Array(worker.memory.buffer, address, n * size).fill(0)
}

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
  const { columns } = node
  const count = program.nodes.filter(({ kind }) => kind === 'lora').length
  const { size, capacity, panels, panelBytes, rows } = loraRooms(node, program.compute, reach, count)
  const window = arena.allocate(capacity * size)
  const { dtype, elementBytes } = program.leaves[node.base] ?? NO_BASE
  if (dtype === 'raw') throw new Error('internal: raw bytes in a merge')
  // What has no kernel of its own is decoded to where it will stay. An update alone is added to zeros.
  const isDirect = node.base >= 0 && worker.kernels.addProduct(dtype, program.compute) !== undefined
  const decode = isDirect ? undefined : decoderOf(worker, node, dtype, program.compute)
  const product = layProduct(program, node, worker, arena, { size, panels, panelBytes, rows })
  /** Elements of the window that are there. */
  let [start, stop] = [0, 0]

  /** Makes the next elements of the window, whose last one is before `limit`. */
  function advance(base: number, origin: number, end: number, limit: number): void {
    const lastRow = Math.ceil(Math.max(end, limit) / columns)
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
    product.update(decode ? address : stored, address, row, taken, column, to, lastRow)
    stop += length
  }

  return {
    begin() {
      start = stop = 0
      product.begin()
    },
    values(base, origin, first, n, end) {
      if (first < start || first > stop) start = stop = first
      else if (first + n > stop) {
        // What is there of it already moves to the front.
        const from = window + (first - start) * size
        new Uint8Array(worker.memory.buffer).copyWithin(window, from, from + (stop - first) * size)
        start = first
      }
      const limit = Math.min(Math.max(end, first + n), start + capacity)
      while (stop < first + n) advance(base, origin, end, limit)
      return window + (first - start) * size
    },
  }
}

/** The product of the factors, added to elements of W. */
interface Product {
  begin(): void
  /** Columns `from` to before `to` of `n` rows, W's at `x`, to `address`. Rows before `lastRow` may be packed as well. */
  update(x: number, address: number, row: number, n: number, from: number, to: number, lastRow: number): void
}

function layProduct(
  { compute, leaves }: Program,
  node: LoraNode,
  worker: WorkerContext,
  arena: Arena,
  rooms: Pick<ReturnType<typeof loraRooms>, 'size' | 'panels' | 'panelBytes' | 'rows'>,
): Product {
  const { columns, rank, scale, base, height } = node
  const { size, panels, panelBytes, rows } = rooms
  const rightAt = arena.allocate(panels * panelBytes)
  const leftAt = arena.allocate(rows * rank * size)
  const lines = layLines(node, size, worker, arena)
  const right = rightPacker(node, size, panels, numbersAt(worker, size, rightAt, (panels * panelBytes) / size), lines)
  const left = leftPacker(node, rows, numbersAt(worker, size, leftAt, rows * rank), lines)
  const width = PANEL_BYTES / size
  const { dtype, elementBytes } = leaves[base] ?? NO_BASE
  const straight = dtype === 'raw' || base < 0 ? undefined : worker.kernels.addProduct(dtype, compute)
  const addProduct = straight ?? worker.kernels.addProduct(size === 4 ? 'F32' : 'F64', compute)!
  const xBytes = straight ? elementBytes : size
  /** Rows that have the same right factor. */
  function updateRows(x: number, address: number, row: number, n: number, from: number, to: number, lastRow: number) {
    const isGrouped = (row - left.first) % GROUP_ROWS === 0
    if (row < left.first || row + n > left.end || !isGrouped) left.pack(row, lastRow)
    const leftRows = leftAt + (row - left.first) * rank * size
    for (let column = from; column < to; ) {
      const panel = Math.floor(column / width)
      const matrix = height === undefined ? 0 : Math.floor(row / height)
      if (matrix !== right.matrix || panel < right.first || panel >= right.end)
        right.pack(panel - (panel % panels), matrix)
      const end = Math.min(to, right.end * width)
      const [stored, at] = [x + (column - from) * xBytes, address + (column - from) * size]
      addProduct(stored, at, columns, n, column, end, leftRows, rightAt - right.first * panelBytes, rank, scale)
      column = end
    }
  }
  return {
    begin() {
      right.first = right.end = left.first = left.end = 0
    },
    update(x, address, row, n, from, to, lastRow) {
      if (height === undefined) {
        updateRows(x, address, row, n, from, to, lastRow)
        return
      }
      for (let done = 0; done < n; ) {
        const count = Math.min(n - done, height - ((row + done) % height))
        const skipped = done * columns
        updateRows(x + skipped * xBytes, address + skipped * size, row + done, count, from, to, lastRow)
        done += count
      }
    },
  }
}

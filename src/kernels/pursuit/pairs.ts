/** Cosines of pairs of rows, tile by tile. */
import { openCosines } from './cosines.js'
import { loadPanels, multiplyPanels, PANEL, pitchOf } from './integers.js'
import type { Memory } from './memory.js'
import type { CosinesTask, Files } from './types.js'

/** Rows and columns of a tile of cosines. */
const [TILE_ROWS, TILE_COLUMNS] = [512, 1024]

/** The tiles of the upper half: pairs of the first row and the first column. */
export function tilesOf(count: number): (readonly [row: number, column: number])[] {
  const tiles: (readonly [number, number])[] = []
  for (let column = 0; column < count; column += TILE_COLUMNS)
    for (let row = 0; row < Math.min(count, column + TILE_COLUMNS); row += TILE_ROWS) tiles.push([row, column])
  return tiles
}

/** Computes cosines until no tile is left. */
export function makeCosines(memory: Memory, task: CosinesTask, files: Files): void {
  const { count, width, integers, store, fromTile, toTile, next } = task
  const { kernels } = memory
  const pitch = pitchOf(width)
  const [rows, columns] = [Math.min(TILE_ROWS, count + PANEL), Math.min(TILE_COLUMNS, count + PANEL)].map(
    (size) => Math.ceil(size / PANEL) * PANEL,
  ) as [number, number]
  const { at, buffer } = memory.layOut([
    (rows / PANEL) * pitch,
    (columns / PANEL) * pitch,
    4 * rows * columns,
    2 * rows * columns,
    2 * rows * columns,
    4 * rows,
    4 * columns,
  ])
  const [a, b, c, straightAt, turnedAt, left, right] = at as [number, number, number, number, number, number, number]
  const tile = new Float32Array(buffer, c, rows * columns)
  const straight = new Int16Array(buffer, straightAt, rows * columns)
  const turned = new Int16Array(buffer, turnedAt, rows * columns)
  const scalesOf = (place: number, first: number, size: number): void =>
    new Float32Array(buffer, place, size).set(integers.scales.subarray(first, first + size))
  const cosines = openCosines(store, count, files)
  const tiles = tilesOf(count)
  let loaded = -1
  for (let at = fromTile + Atomics.add(next, 0, 1); at < toTile; at = fromTile + Atomics.add(next, 0, 1)) {
    const [row, column] = tiles[at]!
    const [m, n] = [Math.min(TILE_ROWS, count - row), Math.min(TILE_COLUMNS, count - column)]
    const height = loadPanels(integers, width, row, m, buffer, a)
    if (loaded !== column) loadPanels(integers, width, column, n, buffer, b)
    loaded = column
    const across = Math.ceil(n / PANEL) * PANEL
    scalesOf(left, row, height)
    scalesOf(right, column, across)
    tile.fill(0)
    multiplyPanels(kernels, width, [a, height], [b, across], c, 4 * columns)
    kernels.scaleSides(c, 4 * columns, height, across, left, right)
    kernels.narrow(c, 4 * columns, m, n, straightAt, columns, turnedAt, rows)
    for (let i = 0; i < m; i++) cosines.write(row + i, column, straight.subarray(i * columns, i * columns + n))
    for (let j = 0; j < n; j++) cosines.write(column + j, row, turned.subarray(j * rows, j * rows + m))
  }
}

/** Sizes of the scratch space that an adapter's update needs in a worker. */
import { CHUNK, type Compute, GROUP_ROWS, PANEL_BYTES, TILE } from './types.js'

/** Default number of elements in a window. They fit into the second-level cache. */
const WINDOW = 1 << 15
/** Bytes of packed right factors that a program keeps at once. */
const RIGHT_BYTES = 24 * 2 ** 20
/** Bytes of the rows of a left factor that are packed at once. */
const LEFT_BYTES = 2 ** 18

interface Sizes {
  readonly rank: number
  readonly columns: number
}

/**
 * An update's rooms: the window's `capacity` in elements, `panels` of the right factor and `rows` of the left one.
 * `reach`: the most elements that are asked for at once; `count` updates of the program share what there is.
 */
export function loraRooms({ rank, columns }: Sizes, compute: Compute, reach: number, count: number) {
  const size = compute === 'f32' ? 4 : 8
  const panels = Math.ceil(columns / (PANEL_BYTES / size))
  const panelBytes = rank * PANEL_BYTES
  const rowBytes = rank * size
  return {
    size,
    panelBytes,
    capacity: Math.max(WINDOW, 2 * reach, Math.min(TILE, GROUP_ROWS * columns) + reach),
    panels: Math.min(panels, Math.max(1, Math.floor(RIGHT_BYTES / count / panelBytes))),
    rows: Math.max(GROUP_ROWS, Math.floor(LEFT_BYTES / rowBytes / GROUP_ROWS) * GROUP_ROWS),
    rowBytes,
  }
}

/** Bytes of scratch space that an update takes. */
export function loraBytes(sizes: Sizes, compute: Compute, reach: number, count: number): number {
  const { size, capacity, panels, panelBytes, rows, rowBytes } = loraRooms(sizes, compute, reach, count)
  return capacity * size + panels * panelBytes + rows * rowBytes + 3 * CHUNK * 8
}

import { CHUNK } from '../../kernels/types.js'
import { type Pass, passElements } from '../program.js'
import type { Layout } from './layout.js'
import { storedDtype } from './shortcuts.js'
import { rowsTouched } from './touchedRows.js'
import { bindMerge, bindStored } from './values.js'

type ReducePass = Pass & { kind: 'reduce' }

/** What a pass finds of the tile's n elements: its sums, or those of the rows that begin there. Counts stay in the merge's context. */
export function reduceTile(layout: Layout, pass: ReducePass, n: number): Float64Array | undefined {
  if (pass.combine === 'rows') return rowSums(layout, pass, n)
  const { context } = layout.merges[pass.node]!
  const counting = pass.combine === 'counts'
  if (!counting) context.clearSums(pass.slots)
  if (pass.rows) addRows(layout, pass, n)
  else addElements(layout, pass, n)
  return counting ? undefined : context.readSums(pass.slots)
}

/** Adds the tile's n elements to the pass's sums. */
function addElements(layout: Layout, pass: ReducePass, n: number): void {
  const { program, worker } = layout
  const state = layout.merges[pass.node]!
  const dtype = storedDtype(program, pass.node)
  const direct = dtype && worker.kernels.fusedReduce(pass.kernel, dtype, program.compute)
  if (direct) {
    bindStored(layout, state, state.inputs, 0)
    direct(state.context.address, n)
    return
  }
  const kernel = worker.kernels.reduce(pass.kernel, program.compute)
  for (let from = 0; from < n; from += CHUNK) {
    const count = Math.min(CHUNK, n - from)
    bindMerge(layout, state, state.inputs, from, count, 0)
    kernel(state.context.address, count)
  }
}

/** The same by a kernel that must see whole rows. */
function addRows(layout: Layout, pass: ReducePass, n: number): void {
  const { program, worker, tile } = layout
  const { rowLength } = program
  const state = layout.merges[pass.node]!
  const kernel = worker.kernels.reduce(pass.kernel, program.compute)
  const rows = rowsTouched(tile.start, n, rowLength, passElements(pass, program.nodes, program.elements))
  for (let row = rows.first; row < rows.end; row++) {
    const from = row * rowLength - tile.start
    const [start, end] = [Math.max(0, -from), Math.min(rowLength, n - from)]
    const part = { start, end, place: from + start, last: row === rows.end - 1 }
    bindMerge(layout, state, state.inputs, from, rowLength, 0, part)
    kernel(state.context.address, rowLength)
  }
}

/** The numbers of every row that begins among the tile's n elements. */
function rowSums(layout: Layout, pass: ReducePass, n: number): Float64Array {
  const { program, worker, tile } = layout
  const { rowLength } = program
  const state = layout.merges[pass.node]!
  const kernel = worker.kernels.reduce(pass.kernel, program.compute)
  const first = Math.ceil(tile.start / rowLength)
  const end = Math.ceil((tile.start + n) / rowLength)
  const result = new Float64Array((end - first) * pass.slots)
  for (let row = first; row < end; row++) {
    state.context.clearSums(pass.slots)
    bindMerge(layout, state, state.inputs, row * rowLength - tile.start, rowLength, 0)
    kernel(state.context.address, rowLength)
    result.set(state.context.readSums(pass.slots), (row - first) * pass.slots)
  }
  return result
}

/** The values of a program's nodes for some elements of the tile under way. */
import type { Operands } from '../../kernels/context.js'
import { SKIPS_ZERO } from '../../kernels/types.js'
import type { LoraNode, Node, Task } from '../program.js'
import type { Layout } from './layout.js'
import type { MergeState } from './mergeState.js'
import { rowsTouched } from './touchedRows.js'

/** A task begins: merges get its coefficients and tables. */
export function beginTask({ program, merges, loras, worker, kept }: Layout, task: Task): void {
  // Another program uses the same scratch space.
  if (worker.last.program !== program) {
    worker.scratchOwners.clear()
    worker.kept.begin(kept)
  }
  worker.last.program = program
  for (const lora of loras) lora?.begin()
  for (const [index, state] of merges.entries()) {
    const node = program.nodes[index]!
    if (!state || node.kind !== 'merge') continue
    const list = task.coefficients[state.merge] ?? []
    // 0 · inf and 0 · NaN would spoil a sum that the model has no share in, so its bytes are not even decoded.
    const skips = SKIPS_ZERO.has(node.kernel) && list.length === node.inputs.length
    const used = node.inputs.flatMap((_, input) => (skips && list[input] === 0 ? [] : [input]))
    state.used = used.map((input) => node.inputs[input]!)
    state.context.setCoefficients(skips ? used.map((input) => list[input]!) : list)
    state.setTable(task.tables?.[state.merge])
  }
}

/**
 * The address of a node's values for n elements, from element `from` of the tile on; `from` may lie before the tile. A node that
 * several others use is made once for the same elements: whoever is asked for others meanwhile has a node of its own.
 */
export function evaluate(layout: Layout, index: number, from: number, n: number): number {
  const { tile, lately } = layout
  const known = lately[index]!
  if (known.tile === tile.count && known.from === from && known.n === n) return known.at
  const at = evaluateNode(layout, index, from, n)
  known.tile = tile.count
  known.from = from
  known.n = n
  known.at = at
  return at
}

function evaluateNode(layout: Layout, index: number, from: number, n: number): number {
  const node = layout.program.nodes[index]!
  switch (node.kind) {
    case 'read':
      return evaluateRead(layout, index, node.leaf, from, n)
    case 'lora':
      return evaluateLora(layout, index, node, from, n)
    case 'join':
      return evaluateJoin(layout, index, node, from, n)
    case 'round':
      return evaluateRound(layout, index, node, from, n)
    case 'merge': {
      const state = layout.merges[index]!
      if (node.rows) return evaluateRows(layout, state, from, n, node.elements ?? layout.program.elements)
      bindMerge(layout, state, state.used, from, n, state.buffer)
      state.kernel(state.context.address, n)
      return state.buffer
    }
  }
}

/** Where elements of a leaf lie as they are stored. */
function storedAt({ program, tile }: Layout, leaf: number, from: number): number {
  return tile.at[leaf]! + from * program.leaves[leaf]!.elementBytes
}

function evaluateRead(layout: Layout, index: number, leaf: number, from: number, n: number): number {
  const { program, worker, decoded } = layout
  const [source, buffer] = [storedAt(layout, leaf, from), decoded[index]!]
  if (buffer === 0) return source
  const { dtype } = program.leaves[leaf]!
  if (dtype === 'raw') throw new Error('internal: raw bytes in a merge')
  worker.kernels.decode(dtype, program.compute)(source, buffer, n)
  return buffer
}

function evaluateLora(
  { program, loras, tile }: Layout,
  index: number,
  node: LoraNode,
  from: number,
  n: number,
): number {
  const { elements = program.elements } = node
  return loras[index]!.values(tile.at[node.base] ?? 0, tile.start, tile.start + from, n, Math.min(tile.end, elements))
}

function evaluateRound(
  layout: Layout,
  index: number,
  { of, dtype }: Node & { kind: 'round' },
  from: number,
  n: number,
): number {
  const { stored, buffer } = layout.rounded[index]!
  const { kernels } = layout.worker
  const { compute } = layout.program
  kernels.encode(compute, dtype)(evaluate(layout, of, from, n), stored, n)
  kernels.decode(dtype, compute)(stored, buffer, n)
  return buffer
}

function evaluateJoin(
  layout: Layout,
  index: number,
  { first, rest, elements }: Node & { kind: 'join' },
  from: number,
  n: number,
): number {
  const count = elements - (layout.tile.start + from)
  if (count >= n) return evaluate(layout, first, from, n)
  if (count <= 0) return evaluate(layout, rest, from, n)
  const { computeBytes, worker } = layout
  const bytes = new Uint8Array(worker.memory.buffer)
  const to = layout.joined[index]!
  const copy = (source: number, at: number, length: number) =>
    bytes.copyWithin(to + at * computeBytes, source, source + length * computeBytes)
  copy(evaluate(layout, first, from, count), 0, count)
  copy(evaluate(layout, rest, from + count, n - count), count, n - count)
  return to
}

/** A merge by a kernel for whole rows: makes all rows that the elements touch. */
function evaluateRows(layout: Layout, state: MergeState, from: number, n: number, elements: number): number {
  const { tile, rowsAtOnce, computeBytes } = layout
  const { rowLength } = layout.program
  const first = tile.start + from
  const rows = rowsTouched(first, n, rowLength, elements)
  for (let row = rows.first; row < rows.end; row += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, rows.end - row)
    const offset = (row - rows.first) * rowLength * computeBytes
    bindMerge(layout, state, state.used, row * rowLength - tile.start, count * rowLength, state.buffer + offset)
    state.kernel(state.context.address, count * rowLength)
  }
  return state.buffer + (first - rows.first * rowLength) * computeBytes
}

/** The index of an element of the tile in the tensor, and the address of the table's entries for its row. */
function placeOf({ program, tile }: Layout, state: MergeState, from: number) {
  const { rowLength } = program
  const first = tile.start + from
  return { first, rowLength, table: state.tableAt(rowLength === 0 ? 0 : Math.floor(first / rowLength)) }
}

/** Points a merge's context to its inputs' values for n elements of the tile. */
export function bindMerge(
  layout: Layout,
  state: MergeState,
  nodes: readonly number[],
  from: number,
  n: number,
  output: number,
  part?: Operands['part'],
): void {
  // Inner merges use contexts of their own, so evaluating inputs first leaves this one alone.
  const inputs = nodes.map((input) => evaluate(layout, input, from, n))
  const base = state.base < 0 ? 0 : evaluate(layout, state.base, from, n)
  const place = placeOf(layout, state, from)
  state.context.bind({ inputs, base, output, ...place, scratch: state.scratch, ...(part ? { part } : {}) })
}

/** The same for a fused kernel: to the stored elements as they lie. */
export function bindStored(layout: Layout, state: MergeState, nodes: readonly number[], output: number): void {
  const stored = (index: number): number => {
    const node = layout.program.nodes[index]!
    if (node.kind !== 'read') throw new Error('internal: a fused kernel over something computed')
    return storedAt(layout, node.leaf, 0)
  }
  const base = state.base < 0 ? 0 : stored(state.base)
  state.context.bind({ inputs: nodes.map(stored), base, output, ...placeOf(layout, state, 0), scratch: state.scratch })
}

/** Whether a node is read, in the dtype of the output. */
const isInOutputDtype = ({ program }: Layout, node: Node): node is Node & { kind: 'read' } =>
  node.kind === 'read' && program.leaves[node.leaf]!.dtype === program.output?.dtype

/** The same for a mixed kernel: what is stored in the output's dtype as it lies, all else evaluated. */
export function bindMixed(layout: Layout, state: MergeState, from: number, n: number, output: number): void {
  let wide = 0
  const operand = (index: number, bit: number): number => {
    const node = layout.program.nodes[index]!
    if (isInOutputDtype(layout, node)) return storedAt(layout, node.leaf, from)
    wide += 2 ** bit
    return evaluate(layout, index, from, n)
  }
  const inputs = state.used.map(operand)
  const base = state.base < 0 ? 0 : operand(state.base, 31)
  state.context.bind({ inputs, base, output, wide })
}

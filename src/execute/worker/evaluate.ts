/** Runs the tasks of a program: reads its leaves tile by tile, evaluates, writes, and reduces. */
import { TILE } from '../../kernels/types.js'
import { isStored } from '../../views/readers.js'
import { type Leaf, type Pass, type Program, passElements, type Task, type TaskResult } from '../program.js'
import type { WorkerContext } from './context.js'
import type { TaskDigests } from './digester.js'
import { fill, solve } from './held.js'
import { type Layout, layOut } from './layout.js'
import { type NonFiniteCounter, nonFiniteCounter } from './nonFinite.js'
import { type MakeTile, tileMaker } from './outputTile.js'
import { locate } from './read/index.js'
import { reduceTile } from './reduceTile.js'
import { activeLeaves } from './shortcuts.js'
import { rowsTouched } from './touchedRows.js'
import { beginTask, evaluate } from './values.js'

/** A program with a layout in a worker's memory. */
export interface Prepared {
  run(task: Task): TaskResult
}

export function prepare(program: Program, worker: WorkerContext): Prepared {
  const layout = layOut(program, worker)
  const make = tileMaker(layout)
  const { output } = program
  const countNonFinite =
    output && output.dtype !== 'raw'
      ? nonFiniteCounter(program, output.dtype, worker.kernels, worker.memory)
      : undefined
  return { run: (task) => runTask(layout, make, countNonFinite, task) }
}

function runTask(
  layout: Layout,
  make: MakeTile | undefined,
  countNonFinite: NonFiniteCounter | undefined,
  task: Task,
): TaskResult {
  const { program, worker } = layout
  const pass = program.passes[task.pass]!
  beginTask(layout, task)
  const total = Math.min(task.tiles * TILE, passElements(pass, program.nodes, program.elements) - task.firstTile * TILE)
  const first = task.firstTile * TILE + (pass.kind === 'fill' ? (pass.first ?? 0) : 0)
  const note = pass.kind === 'solve' ? solve(program, pass, worker) : undefined
  const active = activeLeaves(program, task.pass)
  const digests = layout.digests(program, task, total)
  const parts: Float64Array[] = []
  let nonFinite = 0
  const counts = pass.kind === 'reduce' && pass.combine === 'counts' ? layout.merges[pass.node]!.context : undefined
  counts?.clearSums()
  const readTile = tileReader(layout, active, first, total)
  for (let done = 0; done < total && pass.kind !== 'solve'; done += TILE) {
    const n = Math.min(TILE, total - done)
    readTile(done, n)
    addDigests(layout, digests, active, task.pass, n)
    if (pass.kind === 'reduce') parts.push(...[reduceTile(layout, pass, n)].filter((sums) => sums !== undefined))
    if (pass.kind === 'fill') fillTile(layout, pass, n)
    if (pass.kind !== 'write' || !make) continue
    const address = make(n)
    // What this pass reads lies where it is: another window would move it.
    const fetch = (leaf: number, from: number, count: number): number =>
      active.includes(leaf) ? layout.tile.at[leaf]! : fetchLeaf(layout, leaf, from, count)
    nonFinite += countNonFinite?.(address, layout.tile.start, n, fetch) ?? 0
    writeTile(layout, digests, address, n)
    const { start } = layout.tile
    for (const [leaf, recalls] of layout.recalls.entries())
      if (recalls) worker.recalled.forget(program, leaf, start / TILE)
  }
  const { job, firstTile, tiles } = task
  return {
    ...{ job, pass: task.pass, firstTile, tiles },
    digests: digests.bytes,
    read: active.reduce((sum, leaf) => sum + storedBytes(program, leaf, first, total), 0),
    written: pass.kind === 'write' ? total * program.output!.elementBytes : 0,
    ...(pass.kind === 'reduce' && !counts ? { sums: joinedSums(parts) } : {}),
    ...(nonFinite > 0 ? { nonFinite } : {}),
    ...(note === undefined ? {} : { note }),
    ...(counts && pass.kind === 'reduce' ? { counts: counts.readCounts(pass.slots) } : {}),
  }
}

/** Reads leaves for a tile: mapped pages cost nothing until they are touched, so of those the task's whole range comes at once. */
function tileReader(layout: Layout, active: readonly number[], first: number, total: number) {
  const { program, worker, gathered, tile } = layout
  const isMapped = (leaf: number): boolean => {
    const bytes = (total + 2 * program.rowLength) * program.leaves[leaf]!.elementBytes
    return worker.windows.mode === 'map' && gathered[leaf] === 0 && bytes <= worker.slotRoom
  }
  const mapped = active.map((leaf) => (isMapped(leaf) ? fetchLeaf(layout, leaf, first, total) : undefined))
  return (done: number, n: number): void => {
    tile.start = first + done
    tile.end = tile.start + n
    tile.count++
    for (const [order, leaf] of active.entries()) {
      const start = mapped[order]
      tile.at[leaf] =
        start === undefined
          ? fetchLeaf(layout, leaf, tile.start, n, first + total)
          : start + done * program.leaves[leaf]!.elementBytes
    }
  }
}

/**
 * Where `n` elements of a leaf from `from` on lie; whole rows around them come along where the program works by rows. The task needs none
 * behind `last`.
 */
function fetchLeaf(
  { program, worker, gathered, recalls }: Layout,
  index: number,
  from: number,
  n: number,
  last = from + n,
): number {
  const { rowLength } = program
  const leaf = program.leaves[index]!
  const { elementBytes, elements = program.elements } = leaf
  const rows = rowLength === 0 ? undefined : rowsTouched(from, n, rowLength, elements)
  const start = rows ? rows.first * rowLength : from
  const end = rows ? Math.max(rows.end * rowLength, from + n) : from + n
  // The leaf can have fewer elements than the tensor; the others are never requested.
  const length = Math.min(end, elements) - start
  if (length <= 0) return 0
  const recalled = recalls[index] ? recall(leaf, worker, program, index, from, n) : undefined
  if (recalled !== undefined) return recalled
  const address = locate(leaf, worker.slots[index]!, worker, start, length, gathered[index]!, last + rowLength)
  return address + (from - start) * elementBytes
}

/** Where a tile of a leaf is remembered, and is from now on if there is room. */
function recall(
  { reader, elementBytes }: Leaf,
  { recalled, input }: Layout['worker'],
  program: Program,
  index: number,
  from: number,
  n: number,
): number | undefined {
  if (reader.kind !== 'contiguous' || from % TILE !== 0) return undefined
  const offset = reader.offset + from * elementBytes
  return recalled.find(program, index, from / TILE, input(reader.file), offset, n * elementBytes)
}

function addDigests(
  { program, tile }: Layout,
  digests: TaskDigests,
  active: readonly number[],
  pass: number,
  n: number,
) {
  for (const leaf of active) {
    const { elementBytes, digestIn } = program.leaves[leaf]!
    if (digestIn === pass) digests.add(leaf, tile.at[leaf]!, n * elementBytes)
  }
}

const fillTile = (layout: Layout, pass: Pass & { kind: 'fill' }, n: number): void =>
  fill(layout.program, pass, layout.worker, layout.tile.start, n, (node, from, count) =>
    evaluate(layout, node, from, count),
  )

function writeTile({ program, worker, tile }: Layout, digests: TaskDigests, address: number, n: number): void {
  const { places, elementBytes, digest } = program.output!
  if (digest) digests.add(-1, address, n * elementBytes)
  for (const { file, offset, from, count } of places) {
    const first = Math.max(tile.start, from)
    const bytes = (Math.min(tile.start + n, from + count) - first) * elementBytes
    if (bytes <= 0) continue
    worker.write(file, address + (first - tile.start) * elementBytes, bytes, offset + (first - from) * elementBytes)
  }
}

/** Bytes of n elements of a leaf, as far as the leaf has them and they are read from a file. */
function storedBytes(program: Program, leaf: number, first: number, n: number): number {
  const { reader, elementBytes, elements = program.elements, storedBytes = elementBytes } = program.leaves[leaf]!
  return isStored(reader) ? Math.round(Math.max(0, Math.min(n, elements - first)) * storedBytes) : 0
}

function joinedSums(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

import type { Operands } from '../../kernels/context.js'
import { CHUNK, SKIPS_ZERO, TILE } from '../../kernels/types.js'
import { isStored } from '../../views/readers.js'
import { type Node, type Pass, type Program, passElements, type Task, type TaskResult } from '../program.js'
import { type Arena, createArena } from './arena.js'
import type { WorkerContext } from './context.js'
import { digester } from './digester.js'
import { fill, solve } from './held.js'
import { type LoraState, layLora } from './lora.js'
import { layMerge, type MergeState, mostSums } from './mergeState.js'
import { nonFiniteCounter } from './nonFinite.js'
import { locate, scratchOf } from './read/index.js'
import { activeLeaves, fusedMap, keptTail, mixedMap, storedDtype } from './shortcuts.js'
import { rowsTouched } from './touchedRows.js'

/** A program that is laid out in a worker's memory: contexts and buffers have their places. */
export interface Prepared {
  run(task: Task): TaskResult
}

export function prepare(program: Program, worker: WorkerContext): Prepared {
  const { kernels, memory, windows, slots } = worker
  const { rowLength, output, compute } = program
  const arena: Arena = createArena(memory, worker.scratch)
  const computeBytes = compute === 'f32' ? 4 : 8
  const direct = compute === 'f32' ? 'F32' : 'F64'
  // A kernel by rows gets at least one whole row, and asks as much of the nodes below it.
  const span = Math.max(CHUNK, rowLength)
  const rowsAtOnce = rowLength === 0 ? 0 : Math.max(1, Math.floor(CHUNK / rowLength))

  const decoded = program.nodes.map((node) => {
    if (node.kind !== 'read') return 0
    const { dtype } = program.leaves[node.leaf]!
    return dtype === 'raw' || dtype === direct ? 0 : arena.allocate((span + 2 * rowLength) * computeBytes)
  })
  const sums = arena.allocate(8 * mostSums(program))
  const merges = program.nodes.map((node): MergeState | undefined =>
    node.kind === 'merge'
      ? layMerge(program, node, kernels, memory, arena, (span + 2 * rowLength) * computeBytes, sums)
      : undefined,
  )
  const loras = program.nodes.map((node): LoraState | undefined =>
    node.kind === 'lora' ? layLora(program, node, worker, arena, span + 2 * rowLength) : undefined,
  )
  const joined = program.nodes.map(({ kind }) =>
    kind === 'join' ? arena.allocate((span + 2 * rowLength) * computeBytes) : 0,
  )
  const rounded = program.nodes.map(({ kind }) => {
    if (kind !== 'round') return undefined
    const [stored, buffer] = [0, 1].map(() => arena.allocate((span + 2 * rowLength) * computeBytes)) as [number, number]
    return { stored, buffer }
  })
  const gathered = program.leaves.map((leaf) => {
    if (leaf.reader.kind === 'contiguous') return 0
    const scratch = scratchOf(leaf)
    return arena.allocate(scratch + (TILE + 2 * rowLength) * leaf.elementBytes) + scratch
  })
  const leafDigests = digester(kernels, memory, arena)
  const tile = output && output.dtype !== 'raw' ? arena.allocate(TILE * output.elementBytes) : 0
  const root = program.nodes.length - 1
  const fused = fusedMap(program, root, kernels)
  const mixed = fused ? undefined : mixedMap(program, root, kernels)
  const kept = keptTail(program)
  const countNonFinite =
    output && output.dtype !== 'raw' ? nonFiniteCounter(program, output.dtype, kernels, memory) : undefined
  /** By leaf, where the tile under way lies. */
  const at = new Float64Array(program.leaves.length)
  /** Index of the tile's first element, and of the one after the last that is there. */
  let tileStart = 0
  let tileEnd = 0
  /** How many tiles were begun: values of a node are those of the tile under way, or stale. */
  let tiles = 0
  const lately = program.nodes.map(() => ({ tile: -1, from: 0, n: 0, at: 0 }))

  function begin(task: Task): void {
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
  function evaluate(index: number, from: number, n: number): number {
    const known = lately[index]!
    if (known.tile === tiles && known.from === from && known.n === n) return known.at
    const at = evaluateNode(index, from, n)
    known.tile = tiles
    known.from = from
    known.n = n
    known.at = at
    return at
  }

  function evaluateNode(index: number, from: number, n: number): number {
    const node = program.nodes[index]!
    if (node.kind === 'read') {
      const leaf = program.leaves[node.leaf]!
      const source = at[node.leaf]! + from * leaf.elementBytes
      const buffer = decoded[index]!
      if (buffer === 0) return source
      if (leaf.dtype === 'raw') throw new Error('internal: raw bytes in a merge')
      kernels.decode(leaf.dtype, compute)(source, buffer, n)
      return buffer
    }
    if (node.kind === 'lora') return evaluateLora(index, node, from, n)
    if (node.kind === 'join') return evaluateJoin(index, node, from, n)
    if (node.kind === 'round') return evaluateRound(index, node, from, n)
    const state = merges[index]!
    if (node.rows) return evaluateRows(state, from, n, node.elements ?? program.elements)
    bind(state, state.used, from, n, state.buffer)
    state.kernel(state.context.address, n)
    return state.buffer
  }

  function evaluateLora(index: number, { base }: Node & { kind: 'lora' }, from: number, n: number): number {
    const { elements = program.elements } = program.leaves[base]!
    return loras[index]!.values(at[base]!, tileStart, tileStart + from, n, Math.min(tileEnd, elements))
  }

  function evaluateRound(index: number, { of, dtype }: Node & { kind: 'round' }, from: number, n: number): number {
    const { stored, buffer } = rounded[index]!
    kernels.encode(compute, dtype)(evaluate(of, from, n), stored, n)
    kernels.decode(dtype, compute)(stored, buffer, n)
    return buffer
  }

  function evaluateJoin(index: number, { first, rest, elements }: Node & { kind: 'join' }, from: number, n: number) {
    const count = elements - (tileStart + from)
    if (count >= n) return evaluate(first, from, n)
    if (count <= 0) return evaluate(rest, from, n)
    const bytes = new Uint8Array(memory.buffer)
    const to = joined[index]!
    const copy = (source: number, at: number, length: number) =>
      bytes.copyWithin(to + at * computeBytes, source, source + length * computeBytes)
    copy(evaluate(first, from, count), 0, count)
    copy(evaluate(rest, from + count, n - count), count, n - count)
    return to
  }

  /** The same for a kernel by rows: makes all rows that the elements touch. */
  function evaluateRows(state: MergeState, from: number, n: number, elements: number): number {
    const first = tileStart + from
    const rows = rowsTouched(first, n, rowLength, elements)
    for (let row = rows.first; row < rows.end; row += rowsAtOnce) {
      const count = Math.min(rowsAtOnce, rows.end - row)
      const start = row * rowLength
      const offset = (row - rows.first) * rowLength * computeBytes
      bind(state, state.used, start - tileStart, count * rowLength, state.buffer + offset)
      state.kernel(state.context.address, count * rowLength)
    }
    return state.buffer + (first - rows.first * rowLength) * computeBytes
  }

  /** The row of an element of the tile; 0 where nothing asks for rows. */
  const rowOf = (from: number) => (rowLength === 0 ? 0 : Math.floor((tileStart + from) / rowLength))

  /** Points a merge's context to its inputs' values for n elements of the tile. */
  function bind(
    state: MergeState,
    nodes: readonly number[],
    from: number,
    n: number,
    output: number,
    part?: Operands['part'],
  ): void {
    // Inner merges use contexts of their own, so evaluating inputs first leaves this one alone.
    const inputs = nodes.map((input) => evaluate(input, from, n))
    const base = state.base < 0 ? 0 : evaluate(state.base, from, n)
    const [first, table] = [tileStart + from, state.tableAt(rowOf(from))]
    state.context.bind({
      ...{ inputs, base, output, first, rowLength, table, scratch: state.scratch },
      ...(part ? { part } : {}),
    })
  }

  /** The same for a fused kernel: to the stored elements as they lie. */
  function bindStored(state: MergeState, nodes: readonly number[], from: number, output: number): void {
    const stored = (index: number): number => {
      const node = program.nodes[index]!
      if (node.kind !== 'read') throw new Error('internal: a fused kernel over something computed')
      return at[node.leaf]! + from * program.leaves[node.leaf]!.elementBytes
    }
    const base = state.base < 0 ? 0 : stored(state.base)
    const [inputs, first, table] = [nodes.map(stored), tileStart + from, state.tableAt(rowOf(from))]
    state.context.bind({ inputs, base, output, first, rowLength, table, scratch: state.scratch })
  }

  /** The same for a mixed kernel: what is stored in the output's dtype as it lies, all else evaluated. */
  function bindMixed(state: MergeState, from: number, n: number, output: number): void {
    let wide = 0
    const operand = (index: number, bit: number): number => {
      const node = program.nodes[index]!
      if (node.kind === 'read') return at[node.leaf]! + from * program.leaves[node.leaf]!.elementBytes
      wide += 2 ** bit
      return evaluate(index, from, n)
    }
    const inputs = state.used.map(operand)
    const base = state.base < 0 ? 0 : operand(state.base, 31)
    state.context.bind({ inputs, base, output, wide })
  }

  /** Fills the output tile with n elements and returns where it lies. */
  function make(n: number): number {
    const node = program.nodes[root]!
    if (node.kind === 'read' && output!.dtype === 'raw') return at[node.leaf]!
    if (output!.dtype === 'raw') throw new Error('internal: a merge written as raw bytes')
    if (fused) {
      const state = merges[root]!
      // Leaves lie where they are read, in the dtype that the fused kernel takes: no decoding, one call a tile.
      bindStored(state, state.used, 0, tile)
      fused(state.context.address, n)
      return tile
    }
    const { elementBytes } = output!
    if (mixed) {
      const state = merges[root]!
      for (let from = 0; from < n; from += CHUNK) {
        const count = Math.min(CHUNK, n - from)
        bindMixed(state, from, count, tile + from * elementBytes)
        mixed(state.context.address, count)
      }
      return tile
    }
    const encode = kernels.encode(compute, output!.dtype)
    const made = kept ? Math.max(0, Math.min(n, kept.from - tileStart)) : n
    for (let from = 0; from < made; from += span) {
      const count = Math.min(span, made - from)
      encode(evaluate(root, from, count), tile + from * elementBytes, count)
    }
    if (made < n) {
      const [source, end] = [made, n].map((index) => at[kept!.leaf]! + index * elementBytes)
      new Uint8Array(memory.buffer).copyWithin(tile + made * elementBytes, source!, end!)
    }
    return tile
  }

  /** Adds the tile's n elements to the pass's sums. */
  function reduce(pass: Pass & { kind: 'reduce' }, n: number): void {
    const state = merges[pass.node]!
    const nodes = state.inputs
    if (pass.rows) {
      reduceParts(pass, n)
      return
    }
    const dtype = storedDtype(program, pass.node)
    const direct = dtype && kernels.fusedReduce(pass.kernel, dtype, compute)
    const kernel = direct ?? kernels.reduce(pass.kernel, compute)
    if (direct) {
      bindStored(state, nodes, 0, 0)
      kernel(state.context.address, n)
      return
    }
    for (let from = 0; from < n; from += CHUNK) {
      const count = Math.min(CHUNK, n - from)
      bind(state, nodes, from, count, 0)
      kernel(state.context.address, count)
    }
  }

  /** The same by a kernel that must see whole rows. */
  function reduceParts(pass: Pass & { kind: 'reduce' }, n: number): void {
    const state = merges[pass.node]!
    const kernel = kernels.reduce(pass.kernel, compute)
    const rows = rowsTouched(tileStart, n, rowLength, passElements(pass, program.nodes, program.elements))
    for (let row = rows.first; row < rows.end; row++) {
      const from = row * rowLength - tileStart
      const [start, end] = [Math.max(0, -from), Math.min(rowLength, n - from)]
      bind(state, state.inputs, from, rowLength, 0, { start, end, place: from + start, last: row === rows.end - 1 })
      kernel(state.context.address, rowLength)
    }
  }

  /** The numbers of every row that begins among the tile's n elements. */
  function reduceRows(pass: Pass & { kind: 'reduce' }, n: number): Float64Array {
    const state = merges[pass.node]!
    const kernel = kernels.reduce(pass.kernel, compute)
    const first = Math.ceil(tileStart / rowLength)
    const end = Math.ceil((tileStart + n) / rowLength)
    const result = new Float64Array((end - first) * pass.slots)
    for (let row = first; row < end; row++) {
      state.context.clearSums(pass.slots)
      bind(state, state.inputs, row * rowLength - tileStart, rowLength, 0)
      kernel(state.context.address, rowLength)
      result.set(state.context.readSums(pass.slots), (row - first) * pass.slots)
    }
    return result
  }

  function run(task: Task): TaskResult {
    const pass = program.passes[task.pass]!
    begin(task)
    const elements = passElements(pass, program.nodes, program.elements)
    const total = Math.min(task.tiles * TILE, elements - task.firstTile * TILE)
    const first = task.firstTile * TILE + (pass.kind === 'fill' ? (pass.first ?? 0) : 0)
    const note = pass.kind === 'solve' ? solve(program, pass, worker) : undefined
    const active = activeLeaves(program, task.pass)
    const digests = leafDigests(program, task, total)
    const parts: Float64Array[] = []
    let nonFinite = 0
    const counting = pass.kind === 'reduce' && pass.combine === 'counts'
    if (counting) merges[pass.node]!.context.clearSums()
    /** Where `n` elements from `from` on lie; whole rows around them come along where the program works by rows. */
    const fetch = (index: number, from: number, n: number): number => {
      const leaf = program.leaves[index]!
      const { elementBytes, elements = program.elements } = leaf
      const rows = rowLength === 0 ? undefined : rowsTouched(from, n, rowLength, elements)
      const start = rows ? rows.first * rowLength : from
      const end = rows ? Math.max(rows.end * rowLength, from + n) : from + n
      // It may have fewer than the tensor: nobody asks for what lies behind them.
      const length = Math.min(end, elements) - start
      if (length <= 0) return 0
      const address = locate(leaf, slots[index]!, worker, start, length, gathered[index]!)
      return address + (from - start) * elementBytes
    }
    // Mapped pages cost nothing until they are touched: a task's whole range at once. What is read goes tile by tile.
    const whole = (leaf: number) => windows.mode === 'map' && gathered[leaf] === 0
    const mapped = active.map((leaf) => (whole(leaf) ? fetch(leaf, first, total) : undefined))
    for (let done = 0; done < total && pass.kind !== 'solve'; done += TILE) {
      const n = Math.min(TILE, total - done)
      tileStart = first + done
      tileEnd = tileStart + n
      tiles++
      for (const [order, leaf] of active.entries()) {
        const { elementBytes, digestIn } = program.leaves[leaf]!
        const start = mapped[order]
        at[leaf] = start === undefined ? fetch(leaf, tileStart, n) : start + done * elementBytes
        if (digestIn === task.pass) digests.add(leaf, at[leaf]!, n * elementBytes)
      }
      if (pass.kind === 'reduce') {
        const { context } = merges[pass.node]!
        if (pass.combine === 'rows') parts.push(reduceRows(pass, n))
        else {
          if (!counting) context.clearSums(pass.slots)
          reduce(pass, n)
          if (!counting) parts.push(context.readSums(pass.slots))
        }
      }
      if (pass.kind === 'fill') fill(program, pass, worker, tileStart, n, evaluate)
      if (pass.kind !== 'write') continue
      const address = make(n)
      // What this pass reads lies where it is: another window would move it.
      nonFinite +=
        countNonFinite?.(address, tileStart, n, (leaf, from, count) =>
          active.includes(leaf) ? at[leaf]! : fetch(leaf, from, count),
        ) ?? 0
      const length = n * output!.elementBytes
      if (output!.digest) digests.add(-1, address, length)
      worker.write(output!.file, address, length, output!.offset + tileStart * output!.elementBytes)
    }
    return {
      job: task.job,
      pass: task.pass,
      firstTile: task.firstTile,
      tiles: task.tiles,
      digests: digests.bytes,
      read: active.reduce((sum, leaf) => sum + storedBytes(program, leaf, first, total), 0),
      written: pass.kind === 'write' ? total * output!.elementBytes : 0,
      ...(pass.kind === 'reduce' && !counting ? { sums: joinedSums(parts) } : {}),
      ...(nonFinite > 0 ? { nonFinite } : {}),
      ...(note === undefined ? {} : { note }),
      ...(counting ? { counts: merges[pass.node]!.context.readCounts(pass.slots) } : {}),
    }
  }

  return { run }
}

/** Bytes of n elements of a leaf from one on, as far as it has them and they come from a file. */
function storedBytes(program: Program, leaf: number, first: number, n: number): number {
  const { reader, elementBytes, elements = program.elements } = program.leaves[leaf]!
  return isStored(reader) ? Math.max(0, Math.min(n, elements - first)) * elementBytes : 0
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

import type { Slot, WindowFile, Windows } from '../checkpoints/window.js'
import type { FloatDtype } from '../core/dtypes.js'
import { type Context, contextBytes, createContext } from '../kernels/context.js'
import { CHUNK, type ChunkKernel, DIGEST_BYTES, type Kernels, LEAF, REDUCES, TILE } from '../kernels/types.js'
import type { Pass, Program, Task, TaskResult } from './program.js'

/** What a worker has to work with. */
export interface Bench {
  readonly kernels: Kernels
  readonly memory: WebAssembly.Memory
  readonly windows: Windows
  /** One a leaf of the largest program. */
  readonly slots: readonly Slot[]
  /** Where scratch space begins, and how much there is, in bytes. */
  readonly arena: { readonly start: number; readonly bytes: number }
  readonly input: (file: number) => WindowFile
  /** Writes that many bytes of the memory to an output file. */
  readonly write: (file: number, address: number, bytes: number, offset: number) => void
}

/** A program that is laid out in a worker's memory: contexts and buffers have their places. */
export interface Prepared {
  run(task: Task): TaskResult
}

interface MergeState {
  readonly context: Context
  /** Indexes of nodes. */
  readonly inputs: readonly number[]
  /** -1 for none. */
  readonly base: number
  /** Where a chunk of its values goes. */
  readonly buffer: number
  readonly merge: number
  readonly kernel: ChunkKernel
  /** Inputs whose coefficient is not 0, for the task under way. */
  used: readonly number[]
}

export function prepare(program: Program, bench: Bench): Prepared {
  const { kernels, memory, windows, slots } = bench
  const bytes = new Uint8Array(memory.buffer)
  const computeBytes = program.compute === 'f32' ? 4 : 8
  const direct = program.compute === 'f32' ? 'F32' : 'F64'
  const allocate = arena(bench.arena)

  const decoded = program.nodes.map((node) => {
    if (node.kind !== 'read') return 0
    const { dtype } = program.leaves[node.leaf]!
    return dtype === 'raw' || dtype === direct ? 0 : allocate(CHUNK * computeBytes)
  })
  const merges = program.nodes.map((node, index): MergeState | undefined => {
    if (node.kind !== 'merge') return undefined
    const slotsOf = (pass: Pass) => (pass.kind === 'reduce' && pass.node === index ? REDUCES[pass.kernel].slots : 0)
    const sums = Math.max(0, ...program.passes.map(slotsOf))
    const size = { inputs: node.inputs.length, coefficients: node.inputs.length, sums }
    return {
      context: createContext(memory, allocate(contextBytes(size)), size),
      inputs: node.inputs,
      base: node.base,
      buffer: allocate(CHUNK * computeBytes),
      merge: node.merge,
      kernel: kernels.map(node.kernel, program.compute),
      used: [],
    }
  })
  const leafDigests = allocate(DIGEST_BYTES * 8)
  const { output } = program
  const tile = output && output.dtype !== 'raw' ? allocate(TILE * output.elementBytes) : 0
  /** By leaf, where the tile under way lies. */
  const at = new Float64Array(program.leaves.length)
  /** Index of the tile's first element. */
  let tileStart = 0

  function setCoefficients(coefficients: Task['coefficients']): void {
    for (const state of merges) {
      if (!state) continue
      const list = coefficients[state.merge] ?? []
      // 0 · inf and 0 · NaN would spoil a sum that the model has no share in, so its bytes are not even decoded.
      const used = list.flatMap((coefficient, index) => (coefficient === 0 ? [] : [index]))
      state.used = used.map((index) => state.inputs[index]!)
      state.context.setCoefficients(used.map((index) => list[index]!))
    }
  }

  /** The address of a node's values for n elements of the tile, from element `from` of the tile on. */
  function evaluate(index: number, from: number, n: number): number {
    const node = program.nodes[index]!
    if (node.kind === 'read') {
      const leaf = program.leaves[node.leaf]!
      const source = at[node.leaf]! + from * leaf.elementBytes
      const buffer = decoded[index]!
      if (buffer === 0) return source
      if (leaf.dtype === 'raw') throw new Error('internal: raw bytes in a merge')
      kernels.decode(leaf.dtype, program.compute)(source, buffer, n)
      return buffer
    }
    const state = merges[index]!
    bind(state, state.used, from, n, state.buffer)
    state.kernel(state.context.address, n)
    return state.buffer
  }

  /** Points a merge's context to its inputs' values for n elements of the tile. */
  function bind(state: MergeState, inputs: readonly number[], from: number, n: number, output: number): void {
    // Inner merges use contexts of their own, so evaluating inputs first leaves this one alone.
    const addresses = inputs.map((input) => evaluate(input, from, n))
    const base = state.base < 0 ? 0 : evaluate(state.base, from, n)
    state.context.bind({ inputs: addresses, base, output, first: tileStart + from })
  }

  /** The same for a fused kernel: to the stored elements as they lie. */
  function bindStored(state: MergeState, inputs: readonly number[], from: number, output: number): void {
    const stored = (index: number): number => {
      const node = program.nodes[index]!
      if (node.kind !== 'read') throw new Error('internal: a fused kernel over something computed')
      return at[node.leaf]! + from * program.leaves[node.leaf]!.elementBytes
    }
    const base = state.base < 0 ? 0 : stored(state.base)
    state.context.bind({ inputs: inputs.map(stored), base, output, first: tileStart + from })
  }

  const root = program.nodes.length - 1
  const fused = fusedMap(program, root, kernels)

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
    const encode = kernels.encode(program.compute, output!.dtype)
    for (let from = 0; from < n; from += CHUNK) {
      const count = Math.min(CHUNK, n - from)
      encode(evaluate(root, from, count), tile + from * output!.elementBytes, count)
    }
    return tile
  }

  function reduce(pass: Pass & { kind: 'reduce' }, n: number): Float64Array {
    const state = merges[pass.node]!
    const dtype = storedDtype(program, pass.node)
    const direct = dtype && kernels.fusedReduce(pass.kernel, dtype, program.compute)
    const kernel = direct ?? kernels.reduce(pass.kernel, program.compute)
    state.context.clearSums()
    for (let from = 0; from < n; from += CHUNK) {
      const count = Math.min(CHUNK, n - from)
      if (direct) bindStored(state, state.inputs, from, 0)
      else bind(state, state.inputs, from, count, 0)
      kernel(state.context.address, count)
    }
    return state.context.readSums()
  }

  function run(task: Task): TaskResult {
    const pass = program.passes[task.pass]!
    setCoefficients(task.coefficients)
    const first = task.firstTile * TILE
    const total = Math.min(task.tiles * TILE, program.elements - first)
    const active = activeLeaves(program, task.pass)
    const digests = new Digests(program, task, total)
    const result = pass.kind === 'reduce' ? new Float64Array(task.tiles * REDUCES[pass.kernel].slots) : undefined
    const fetch = (index: number, from: number, n: number) => {
      const { file, offset, elementBytes } = program.leaves[index]!
      return slots[index]!.at(bench.input(file), offset + from * elementBytes, n * elementBytes)
    }
    const digest = (address: number, length: number) => {
      kernels.leaves(address, length, LEAF, leafDigests)
      digests.add(bytes.subarray(leafDigests, leafDigests + DIGEST_BYTES * Math.ceil(length / LEAF)))
    }
    // Mapped pages cost nothing until they are touched: a task's whole range at once. Read ones go tile by tile.
    const mapped = windows.mode === 'map' ? active.map((leaf) => fetch(leaf, first, total)) : undefined
    for (let done = 0, index = 0; done < total; done += TILE, index++) {
      const n = Math.min(TILE, total - done)
      tileStart = first + done
      for (const [order, leaf] of active.entries()) {
        const { elementBytes, digestIn } = program.leaves[leaf]!
        at[leaf] = mapped ? mapped[order]! + done * elementBytes : fetch(leaf, first + done, n)
        if (digestIn !== task.pass) continue
        digests.select(leaf)
        digest(at[leaf]!, n * elementBytes)
      }
      if (pass.kind === 'reduce') {
        const { slots } = REDUCES[pass.kernel]
        result!.set(reduce(pass, n).subarray(0, slots), index * slots)
      }
      if (pass.kind !== 'write') continue
      const address = make(n)
      const length = n * output!.elementBytes
      if (output!.digest) {
        digests.select(-1)
        digest(address, length)
      }
      bench.write(output!.file, address, length, output!.offset + (first + done) * output!.elementBytes)
    }
    return {
      job: task.job,
      pass: task.pass,
      firstTile: task.firstTile,
      tiles: task.tiles,
      digests: digests.bytes,
      read: active.reduce((sum, leaf) => sum + total * program.leaves[leaf]!.elementBytes, 0),
      written: pass.kind === 'write' ? total * output!.elementBytes : 0,
      ...(result ? { sums: result } : {}),
    }
  }

  return { run }
}

/** Leaf digests of a task: for each leaf with duty in this pass, then for the output, one run of digests. */
class Digests {
  readonly bytes: Uint8Array
  private readonly cursors = new Map<number, number>()
  private selected = 0

  constructor(program: Program, task: Task, elements: number) {
    let size = 0
    const reserve = (key: number, elementBytes: number) => {
      this.cursors.set(key, size)
      size += DIGEST_BYTES * Math.ceil((elements * elementBytes) / LEAF)
    }
    for (const [index, leaf] of program.leaves.entries()) {
      if (leaf.digestIn === task.pass) reserve(index, leaf.elementBytes)
    }
    if (program.output?.digest && program.passes[task.pass]!.kind === 'write') reserve(-1, program.output.elementBytes)
    this.bytes = new Uint8Array(size)
  }

  select(key: number): void {
    this.selected = key
  }

  add(digests: Uint8Array): void {
    const at = this.cursors.get(this.selected)!
    this.bytes.set(digests, at)
    this.cursors.set(this.selected, at + digests.length)
  }
}

/** Leaves that a pass reads: below the node it is about, and those it has to digest. */
function activeLeaves(program: Program, passIndex: number): number[] {
  const pass = program.passes[passIndex]!
  const active = new Set<number>()
  const visit = (index: number): void => {
    const node = program.nodes[index]!
    if (node.kind === 'read') active.add(node.leaf)
    else for (const input of node.base < 0 ? node.inputs : [...node.inputs, node.base]) visit(input)
  }
  if (pass.kind !== 'digest') visit(pass.kind === 'reduce' ? pass.node : program.nodes.length - 1)
  for (const [index, leaf] of program.leaves.entries()) if (leaf.digestIn === passIndex) active.add(index)
  return [...active].sort((a, b) => a - b)
}

/** The dtype that all direct inputs of a merge are stored in, where they are stored tensors of one dtype. */
function storedDtype(program: Program, index: number): FloatDtype | undefined {
  const node = program.nodes[index]!
  if (node.kind !== 'merge') return undefined
  const dtypes = (node.base < 0 ? node.inputs : [...node.inputs, node.base]).map((input) => {
    const below = program.nodes[input]!
    return below.kind === 'read' ? program.leaves[below.leaf]!.dtype : 'raw'
  })
  const [first] = dtypes
  return first !== undefined && first !== 'raw' && dtypes.every((dtype) => dtype === first) ? first : undefined
}

/** The kernel that does a whole tile without decoding, where inputs and output share a dtype that has one. */
function fusedMap(program: Program, root: number, kernels: Kernels): ChunkKernel | undefined {
  const node = program.nodes[root]!
  const dtype = storedDtype(program, root)
  if (node.kind !== 'merge' || dtype === undefined || dtype !== program.output?.dtype) return undefined
  return kernels.fused(node.kernel, dtype, program.compute)
}

/** A bump allocator: a program's scratch space is laid out once, 16-byte aligned. */
function arena({ start, bytes }: Bench['arena']): (size: number) => number {
  let next = Math.ceil(start / 16) * 16
  return (size) => {
    const address = next
    next += Math.ceil(size / 16) * 16
    if (next > start + bytes) throw new Error(`internal: scratch space of ${bytes} bytes is too small`)
    return address
  }
}

import { CHUNK, type ChunkKernel, TILE } from '../../kernels/types.js'
import type { Layout } from './layout.js'
import { fusedMap, keptTail, mixedMap } from './shortcuts.js'
import { bindMixed, bindStored, evaluate } from './values.js'

/** Makes n elements of the current tile in the output's dtype. Returns their address. */
export type MakeTile = (n: number) => number

/** Chooses the fastest way to make tiles of a program's output. */
export function tileMaker(layout: Layout): MakeTile | undefined {
  const { program, worker, outputTile, tile } = layout
  const { output, nodes } = program
  if (!output) return undefined
  const root = nodes.length - 1
  const node = nodes[root]!
  if (output.dtype === 'raw') {
    if (node.kind !== 'read') throw new Error('internal: a merge written as raw bytes')
    return () => tile.at[node.leaf]!
  }
  const fused = fusedMap(program, root, worker.kernels)
  if (fused) return fusedTile(layout, fused, root)
  const mixed = mixedMap(program, root, worker.kernels)
  if (mixed) return mixedTile(layout, mixed, root)
  const encode = worker.kernels.encode(program.compute, output.dtype)
  const { elementBytes } = output
  const kept = keptTail(program)
  return (n) => {
    const made = kept ? Math.max(0, Math.min(n, kept.from - tile.start)) : n
    for (let from = 0, count = 0; from < made; from += count) {
      count = chunkFrom(layout, from, made)
      encode(evaluate(layout, root, from, count), outputTile + from * elementBytes, count)
    }
    if (made < n) {
      const [source, end] = [made, n].map((index) => tile.at[kept!.leaf]! + index * elementBytes)
      new Uint8Array(worker.memory.buffer).copyWithin(outputTile + made * elementBytes, source!, end!)
    }
    return outputTile
  }
}

/**
 * How many elements come next in the tile, from one to before `end`. Chunks end where rows do: a kernel for whole rows makes those at both
 * ends of a chunk.
 */
function chunkFrom({ program: { rowLength }, tile, span }: Layout, from: number, end: number): number {
  if (rowLength === 0 || end - from <= span) return Math.min(span, end - from)
  const start = tile.start + from
  return Math.floor((start + span) / rowLength) * rowLength - start
}

/** Leaves lie where they are read, in the dtype that the fused kernel takes: no decoding, one call a tile. */
function fusedTile(layout: Layout, kernel: ChunkKernel, root: number): MakeTile {
  const state = layout.merges[root]!
  return (n) => {
    bindStored(layout, state, state.used, layout.outputTile)
    kernel(state.context.address, n)
    return layout.outputTile
  }
}

function mixedTile(layout: Layout, kernel: ChunkKernel, root: number): MakeTile {
  const { program, outputTile } = layout
  const { elementBytes } = program.output!
  const state = layout.merges[root]!
  const operands = state.base < 0 ? state.inputs : [...state.inputs, state.base]
  // Elements that are read lie in the tile already. All others are made in chunks.
  const most = operands.every((index) => program.nodes[index]!.kind === 'read') ? TILE : CHUNK
  return (n) => {
    for (let from = 0; from < n; from += most) {
      const count = Math.min(most, n - from)
      bindMixed(layout, state, from, count, outputTile + from * elementBytes)
      kernel(state.context.address, count)
    }
    return outputTile
  }
}

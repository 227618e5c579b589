import { CHUNK, TILE } from '../../kernels/types.js'
import type { Program } from '../program.js'
import { type Arena, createArena } from './arena.js'
import type { WorkerContext } from './context.js'
import { digester } from './digester.js'
import { type LoraState, layLora } from './lora/index.js'
import { layMerge, type MergeState, mostSums } from './mergeState.js'
import { scratchOf } from './read/index.js'
import { type Division, divisionFor } from './read/keptRows.js'
import { recallable } from './read/recalled.js'

/** A program in a worker's memory: its contexts and buffers have their addresses, which are 0 where there is no need for one. */
export interface Layout {
  readonly program: Program
  readonly worker: WorkerContext
  /** Bytes of an element in the compute type. */
  readonly computeBytes: number
  /** Elements that are made at once at the most: at least one whole row for kernels by rows, which ask as much of the nodes below. */
  readonly span: number
  /** For kernels by rows. */
  readonly rowsAtOnce: number
  /** By node: where the values of a leaf go that are not stored in the compute type. */
  readonly decoded: readonly number[]
  /** By node. */
  readonly merges: readonly (MergeState | undefined)[]
  readonly loras: readonly (LoraState | undefined)[]
  readonly joined: readonly number[]
  readonly rounded: readonly ({ readonly stored: number; readonly buffer: number } | undefined)[]
  /** By leaf: where elements go that do not lie one after the other in a file. */
  readonly gathered: readonly number[]
  /** By leaf: whether its tiles are remembered for a later pass. */
  readonly recalls: readonly boolean[]
  /** How rows of transposed matrices are kept. */
  readonly kept: Division
  readonly digests: ReturnType<typeof digester>
  /** The address of a tile of the output, unless its bytes are copied unchanged. */
  readonly outputTile: number
  /** The current tile. */
  readonly tile: TileState
  /** By node: the values that were computed last. */
  readonly lately: readonly LastValues[]
}

export interface TileState {
  /** Index of its first element, and of the one after its last. */
  start: number
  end: number
  /** Number of started tiles: a node's values of an earlier tile are stale. */
  count: number
  /** By leaf: the addresses of its elements. */
  readonly at: Float64Array
}

interface LastValues {
  tile: number
  from: number
  n: number
  at: number
}

/** Throws if the worker's scratch space is too small: the plan's limits should have refused the program. */
export function layOut(program: Program, worker: WorkerContext): Layout {
  const { kernels, memory } = worker
  const { rowLength, output, compute, nodes, leaves } = program
  const arena = createArena(memory, worker.scratch)
  const [computeBytes, direct] = compute === 'f32' ? ([4, 'F32'] as const) : ([8, 'F64'] as const)
  const span = Math.max(CHUNK, rowLength)
  const reach = span + 2 * rowLength
  const buffer = (): number => arena.allocate(reach * computeBytes)
  const decoded = nodes.map((node) => {
    const dtype = node.kind === 'read' ? leaves[node.leaf]!.dtype : direct
    return dtype === 'raw' || dtype === direct ? 0 : buffer()
  })
  const sums = arena.allocate(8 * mostSums(program))
  return {
    ...{ program, worker, computeBytes, span, decoded },
    rowsAtOnce: rowLength === 0 ? 0 : Math.max(1, Math.floor(CHUNK / rowLength)),
    merges: nodes.map((node) =>
      node.kind === 'merge' ? layMerge(program, node, kernels, memory, arena, reach * computeBytes, sums) : undefined,
    ),
    loras: nodes.map((node) => (node.kind === 'lora' ? layLora(program, node, worker, arena, reach) : undefined)),
    joined: nodes.map(({ kind }) => (kind === 'join' ? buffer() : 0)),
    rounded: nodes.map(({ kind }) => (kind === 'round' ? { stored: buffer(), buffer: buffer() } : undefined)),
    gathered: leaves.map((leaf) => layLeaf(leaf, rowLength, arena, worker.bandBytes)),
    recalls: recallable(program),
    kept: divisionFor(program, worker.kept.bytes),
    digests: digester(kernels, memory, arena),
    outputTile: output && output.dtype !== 'raw' ? arena.allocate(TILE * output.elementBytes) : 0,
    tile: { start: 0, end: 0, count: 0, at: new Float64Array(leaves.length) },
    lately: nodes.map(() => ({ tile: -1, from: 0, n: 0, at: 0 })),
  }
}

/** Room for a tile's elements, and for whole rows around it. */
function layLeaf(leaf: Program['leaves'][number], rowLength: number, arena: Arena, band: number): number {
  if (leaf.reader.kind === 'contiguous') return 0
  const scratch = scratchOf(leaf, band)
  return arena.allocate(scratch + (TILE + 2 * rowLength) * leaf.elementBytes) + scratch
}

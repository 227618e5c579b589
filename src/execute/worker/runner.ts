import { WebAssembly } from '../../core/webassembly.js'
import type { TeamMemory } from '../../kernels/dense/team.js'
import { ARENA_START, instantiateKernels } from '../../kernels/index.js'
import { TILE } from '../../kernels/types.js'
import { openWindows, type WindowFile, type WindowMode } from '../../storage/local/window.js'
import { bandBytes, bandCount } from '../../views/bands.js'
import { fileCache, openInput } from '../files.js'
import type { Program } from '../program.js'
import type { WorkerContext } from './context.js'
import { type Prepared, prepare } from './evaluate.js'
import { openKeptRows } from './read/keptRows.js'
import { openRecalled } from './read/recalled.js'

/** End of the kernels' scratch space in a runner's memory; windows on inputs follow. */
const ARENA_END = 64 * 2 ** 20
/** Bytes of a window where files are mapped: few calls to the system, little address space. */
const MAPPED_SLOT = 64 * 2 ** 20
/** Where files are read: one tile of the widest dtype, and a page. */
const READ_SLOT = TILE * 8 + 65536
const WASM_PAGE = 65536
/** Bytes of a memory. */
const MOST_BYTES = 65535 * WASM_PAGE
/** Long enough to hide messages, short enough to keep all threads busy to the end. */
const TASK_BYTES = 16 * 2 ** 20

export interface RunnerSetup {
  readonly module: WebAssembly.Module
  readonly mode: WindowMode
  readonly inputs: readonly { readonly path: string; readonly size: number }[]
  /** The most leaves that one program reads. */
  readonly leaves: number
  /** The longest row that a program needs whole around a tile, in elements. */
  readonly reach: number
  /** Bytes for rows of transposed matrices. */
  readonly kept: number
  /** Bytes for tiles of inputs that several passes read. Default: none. */
  readonly recall?: number
  /** Inputs that may stay open. */
  readonly openFiles: number
}

type Sizes = Pick<RunnerSetup, 'mode' | 'leaves' | 'reach' | 'kept'>

/** A WebAssembly memory with windows on inputs, in which one thread does tasks one after another. */
export interface Runner {
  readonly bytes: Uint8Array
  readonly kernels: WorkerContext['kernels']
  /** Bytes for rows of transposed matrices. */
  readonly kept: number
  prepare(program: Program, rest: Pick<WorkerContext, 'write' | 'team'>): Prepared
  /** Nothing is needed any more of what a program left behind. */
  drop(program: Program): void
  /** Closes inputs until they are used again. */
  release(inputs: readonly number[]): void
  close(): void
}

export function openRunner({ module, mode, inputs, leaves, reach, kept, recall, openFiles }: RunnerSetup): Runner {
  const size = slotBytes({ mode, leaves, reach, kept })
  const rows = ARENA_END + leaves * size
  const tiles = Math.ceil((rows + kept) / WASM_PAGE) * WASM_PAGE
  const room = Math.max(0, Math.min(recall ?? 0, MOST_BYTES - tiles))
  const pages = Math.ceil((tiles + room) / WASM_PAGE)
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages })
  const kernels = instantiateKernels(module, memory)
  const windows = openWindows(memory, mode)
  const files = fileCache((index): WindowFile => {
    const { path, size } = inputs[index]!
    return { fd: openInput(path), path, size }
  }, openFiles)
  const slots = Array.from({ length: leaves }, (_, index) => windows.slot(ARENA_END + index * size, size))
  const context: Omit<WorkerContext, 'write' | 'team' | 'bandBytes'> = {
    kernels,
    memory,
    windows,
    slots,
    slotRoom: size - windows.pageSize,
    scratch: { start: ARENA_START, bytes: ARENA_END - ARENA_START },
    scratchOwners: new Map(),
    last: {},
    kept: openKeptRows(slots, rows, kept),
    recalled: openRecalled(windows, tiles, room),
    input: files.get,
  }
  return {
    bytes: new Uint8Array(memory.buffer),
    kernels,
    kept,
    prepare: (program, rest) =>
      prepare(program, { ...context, ...rest, bandBytes: bandBytes(bandCount(program.leaves)) }),
    drop: context.recalled.drop,
    release(inputs) {
      windows.release()
      files.drop(inputs)
    },
    close() {
      windows.close()
      files.close()
    },
  }
}

/** This thread's part of a team's memory. */
export function teamMember(memory: TeamMemory, thread: number): NonNullable<WorkerContext['team']> {
  return { memory, thread, instance: new WebAssembly.Instance(memory.module, { env: { memory: memory.memory } }) }
}

/** Window sizes for programs of so many leaves: in bytes, a multiple of a WebAssembly page. */
function slotBytes({ mode, leaves, reach, kept }: Sizes): number {
  if (mode === 'read') return READ_SLOT + Math.ceil((2 * reach * 8) / WASM_PAGE) * WASM_PAGE
  const room = Math.floor((MOST_BYTES - ARENA_END - kept) / Math.max(1, leaves))
  return Math.min(MAPPED_SLOT, room - (room % WASM_PAGE))
}

/** Bytes of a task's widest tensor at the most. */
export function taskBytes(sizes: Sizes): number {
  const { mode, reach } = sizes
  // What is read comes tile by tile, so that no window bounds a task. A mapped window begins at a page, which may lie before the
  // task's first byte, and rows reach beyond its tiles.
  return mode === 'read' ? TASK_BYTES : Math.min(TASK_BYTES, slotBytes(sizes) - 2 * WASM_PAGE - 2 * reach * 8)
}

import type { WebAssembly } from '../../core/webassembly.js'
import type { TeamMemory } from '../../kernels/dense/team.js'
import type { Kernels } from '../../kernels/types.js'
import type { Slot, WindowFile, Windows } from '../../storage/local/window.js'
import type { KeptRows } from './read/keptRows.js'
import type { RecalledTiles } from './read/recalled.js'

/** The resources of a worker. */
export interface WorkerContext {
  readonly kernels: Kernels
  readonly memory: WebAssembly.Memory
  readonly windows: Windows
  /** One per leaf of the largest program. */
  readonly slots: readonly Slot[]
  /** Size of a slot's window in bytes. */
  readonly slotRoom: number
  /** Scratch space: its address and its size in bytes. */
  readonly scratch: { readonly start: number; readonly bytes: number }
  /** The team's memory for matrices, and the number of this thread in the team. */
  readonly team?: { readonly memory: TeamMemory; readonly thread: number; readonly instance: WebAssembly.Instance }
  /** What uses scratch space at an address since a task of another program ran. */
  readonly scratchOwners: Map<number, object>
  /** The program of the last task. */
  readonly last: { program?: object }
  /** Bytes of each band of codes in the current program. */
  readonly bandBytes: number
  /** Rows of transposed matrices. */
  readonly kept: KeptRows
  /** Tiles of inputs that are read by several passes. */
  readonly recalled: RecalledTiles
  readonly input: (file: number) => WindowFile
  /** Writes that many bytes of the memory to an output file. */
  readonly write: (file: number, address: number, bytes: number, offset: number) => void
}

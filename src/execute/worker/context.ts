import type { WebAssembly } from '../../core/webassembly.js'
import type { TeamMemory } from '../../kernels/dense/team.js'
import type { Kernels } from '../../kernels/types.js'
import type { Slot, WindowFile, Windows } from '../../storage/local/window.js'

/** What a worker has to work with. */
export interface WorkerContext {
  readonly kernels: Kernels
  readonly memory: WebAssembly.Memory
  readonly windows: Windows
  /** One a leaf of the largest program. */
  readonly slots: readonly Slot[]
  /** What a slot can show at once, in bytes. */
  readonly slotRoom: number
  /** Scratch space: where it begins, and how much there is, in bytes. */
  readonly scratch: { readonly start: number; readonly bytes: number }
  /** Where matrices are held, and which of its threads this one is. */
  readonly team?: { readonly memory: TeamMemory; readonly thread: number; readonly instance: WebAssembly.Instance }
  readonly input: (file: number) => WindowFile
  /** Writes that many bytes of the memory to an output file. */
  readonly write: (file: number, address: number, bytes: number, offset: number) => void
}

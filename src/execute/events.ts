/** Events of a run. Renderers (terminal, plain, JSON) only listen and cannot change the run. */

import type { Diagnostic } from '../core/diagnostics.js'

/** An event of a run. */
export type RunEvent =
  /** Tensor bytes to read and write in this run. `done`: bytes that an earlier run has finished. */
  | {
      readonly kind: 'start'
      readonly read: number
      readonly write: number
      readonly tensors: number
      readonly threads: number
      readonly done: number
    }
  /** Progress of a long step, such as groups and iterations of `rebasin`. */
  | { readonly kind: 'step'; readonly step: string; readonly text: string; readonly fraction?: number }
  /** A few times per second: bytes read and written so far, and finished tensors. */
  | { readonly kind: 'progress'; readonly read: number; readonly written: number; readonly tensors: number }
  /** Something that the user should know and that is not an error, such as fewer threads than requested. */
  | { readonly kind: 'notice'; readonly message: string }
  /** A warning about a result. */
  | { readonly kind: 'warning'; readonly diagnostic: Diagnostic }
  | { readonly kind: 'phase'; readonly phase: 'merging' | 'flushing' | 'publishing' }
  /** An output is complete and has its name. */
  | { readonly kind: 'output'; readonly path: string; readonly bytes: number; readonly tensors: number }
  | { readonly kind: 'end'; readonly seconds: number }

/** Receives all events of a run. */
export type Listener = (event: RunEvent) => void

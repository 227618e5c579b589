/** What a run tells whoever listens. Renderers (terminal, plain, JSON) only listen; nothing flows back. */

import type { Diagnostic } from '../core/diagnostics.js'

/** Something that happened in a run. */
export type RunEvent =
  /** Tensor bytes to read and write in this run; what a resumed run finds finished is in `done` from the start. */
  | {
      readonly kind: 'start'
      readonly read: number
      readonly write: number
      readonly tensors: number
      readonly threads: number
      readonly done: number
    }
  /** A heavy step's own progress: `rebasin` groups and iterations, for example. */
  | { readonly kind: 'step'; readonly step: string; readonly text: string; readonly fraction?: number }
  /** At most some times a second; bytes so far of both sorts, and tensors finished. */
  | { readonly kind: 'progress'; readonly read: number; readonly written: number; readonly tensors: number }
  /** Something the user should know that is no fault: fewer threads than asked for, reading instead of mapping. */
  | { readonly kind: 'notice'; readonly message: string }
  /** What may be wrong with a result: a diagnostic of severity `warning`. */
  | { readonly kind: 'warning'; readonly diagnostic: Diagnostic }
  | { readonly kind: 'phase'; readonly phase: 'merging' | 'flushing' | 'publishing' }
  /** An output is whole and stands under its name. */
  | { readonly kind: 'output'; readonly path: string; readonly bytes: number; readonly tensors: number }
  | { readonly kind: 'end'; readonly seconds: number }

/** Hears of everything that happens in a run. */
export type Listener = (event: RunEvent) => void

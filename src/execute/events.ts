/** Events of a run. Renderers (terminal, plain, JSON) only listen and cannot change the run. `step` and `progress` come at most 20 times per second. */

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
  | StepEvent
  /** Bytes read and written so far, finished tensors, and the tensor under way. */
  | {
      readonly kind: 'progress'
      readonly read: number
      readonly written: number
      readonly tensors: number
      readonly tensor?: string
    }
  /** Something that the user should know and that is not an error, such as fewer threads than requested. */
  | { readonly kind: 'notice'; readonly message: string }
  /** A warning about a result. */
  | { readonly kind: 'warning'; readonly diagnostic: Diagnostic }
  | { readonly kind: 'phase'; readonly phase: 'merging' | 'flushing' | 'publishing' }
  /** An output is complete and has its name. */
  | { readonly kind: 'output'; readonly path: string; readonly bytes: number; readonly tensors: number }
  | { readonly kind: 'end'; readonly seconds: number }

/** Progress of a long step, such as groups and sweeps of `rebasin`. */
export interface StepEvent {
  readonly kind: 'step'
  readonly step: string
  readonly text: string
  /** The share of this step that is done. It never falls, and the last one is 1. */
  readonly fraction?: number
  /** Of analyses: the estimated share of all of the run's analyses that is done. */
  readonly overall?: number
  /** Of steps that read or download files. */
  readonly bytes?: { readonly done: number; readonly total: number }
  /** Of alignments: the cosine similarity of the models so far. */
  readonly similarity?: number
}

/** Receives all events of a run. */
export type Listener = (event: RunEvent) => void

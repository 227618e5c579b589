/** The order of a run's work, so that files that are elsewhere come and go. */
import type { Need } from '../unitForms.js'

export interface TensorPlace {
  readonly output: number
  /** Index into `PlanOutput.tensors`. */
  readonly tensor: number
}

/** Work that must be complete before the next phase begins. */
export type Phase =
  /** The check of statistics files. */
  | { readonly kind: 'statistics' }
  /** An analysis, or a scope. `pass`: one of several passes over the tensors of a scope. */
  | { readonly kind: 'shared'; readonly need: Need; readonly pass?: number }
  /** Factorings that are done only to find their ranks. */
  | { readonly kind: 'survey' }
  /** Outputs that are made together. `first`: the first that are published. */
  | { readonly kind: 'batch'; readonly outputs: readonly number[]; readonly first: boolean }

/** Tensors that read the same files and are written to the same files of uploaded outputs. */
export interface StagePiece {
  /** Contents: indexes into `Flow.contents`. */
  readonly contents: readonly number[]
  readonly tensors: readonly TensorPlace[]
  /** Of a survey: indexes into `Plan.factorings`. */
  readonly factorings?: readonly number[]
  /** Of a pass over a scope: indexes into `PlanScope.tensors`. */
  readonly scoped?: readonly number[]
}

/** Work that becomes possible when some files are there. */
export interface Stage {
  readonly phase: Phase
  readonly pieces: readonly StagePiece[]
  /** `Plan.files` that it reads and that are not there: to fetch before it. */
  readonly needs: readonly number[]
  /** `Plan.files` that nothing after it reads, or that come again for a later phase. */
  readonly last: readonly number[]
  /** `Plan.files` whose tensors are all to be digested when it ends, also those that nothing reads. */
  readonly digests: readonly number[]
  /** Files of uploaded outputs that are complete after it. */
  readonly complete: readonly { readonly output: number; readonly file: number }[]
  /** Bytes of files of uploaded outputs that are begun and not complete while it runs. */
  readonly beside: number
}

export interface Flow {
  readonly stages: readonly Stage[]
  /** By content: the `Plan.files` that have it. */
  readonly contents: readonly (readonly number[])[]
  /** Bytes to fetch. */
  readonly transfer: number
  /** The most bytes that are on the disk at the same time: fetched files, and unfinished files of uploaded outputs. */
  readonly leastDisk: number
  /** Index of the stage with so many bytes; -1 if nothing comes or goes. */
  readonly largest: number
  /** Whether files come again for each phase that reads them. */
  readonly again: boolean
}

export interface FlowOptions {
  /** By index into `Plan.files`: those that are not on this machine, and what their content is called. Equal contents come once. */
  readonly away: ReadonlyMap<number, string>
  /** Indexes of outputs whose files leave this machine as soon as they are complete. Default: none. */
  readonly uploaded?: ReadonlySet<number>
  /** Bytes that the disk may take. If they do not suffice otherwise, files come again for each phase. Default: no limit. */
  readonly disk?: number
  /** Whether all tensors of all files are digested. Default: true. */
  readonly digests?: boolean
  /** Whether an output exists already. Default: none does. */
  readonly finished?: (output: number) => boolean
  /** A survey of these factorings in place of outputs: indexes into `Plan.factorings`. */
  readonly survey?: readonly number[]
  /** One of several runs that share the work. Absent: all of it. */
  readonly part?: FlowPart
}

/** What one of several runs does. */
export interface FlowPart {
  /** Whether it does the analyses and scopes, and no tensors. Other parts use their results. */
  readonly finds: boolean
  /** Whether it makes a tensor. */
  owns(output: number, tensor: number): boolean
  /** `Plan.files` with stored tensors that no output reads and that it digests. */
  readonly digested: ReadonlySet<number>
}

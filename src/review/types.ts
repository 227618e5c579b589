/** What differs between two plans, or between two lineages. */
import type { Json } from '../core/json/shape.js'

/** Numbers that differ from tensor to tensor. */
export interface Range {
  readonly from: number
  readonly to: number
}

/** One thing that differs. */
export interface Change {
  /** `method`, `weight`, `dtype`, the name of a parameter, or another word of `docs/review.md`. */
  readonly what: string
  /** The model, step or file that it belongs to. */
  readonly of?: string
  /** Before; absent if there was nothing, or if the value is not for people. */
  readonly a?: Json | Range
  /** After. */
  readonly b?: Json | Range
}

/**
 * Whether the bytes are the same. `same-for-same-inputs`: they are if the models' files are those of then, which the older side does not
 * say. `unknown`: something could not be compared, and nothing that was compared differs.
 */
export type Sameness = 'same' | 'same-for-same-inputs' | 'differ' | 'unknown'

export type Coming = 'added' | 'removed' | 'changed' | 'renamed'

/** A model or a step that differs. */
export interface NamedChange {
  readonly name: string
  readonly state: Coming
  /** The earlier name, if it was renamed. */
  readonly was?: string
  readonly changes: readonly Change[]
}

/** Tensors whose names differ only in numbers. */
export interface Place {
  /** The name, with `*` for its numbers. */
  readonly pattern: string
  /** First and last layer of each run of layers; absent for a single name. */
  readonly layers?: readonly (readonly [number, number])[]
  readonly tensors: number
}

/**
 * Tensors that differ in the same way. `changed`: other bytes, or made otherwise. `remade`: made otherwise, with the same bytes.
 * `unknown`: not known whether the bytes differ.
 */
export interface TensorGroup {
  readonly state: 'changed' | 'added' | 'removed' | 'remade' | 'unknown'
  readonly tensors: number
  /** Their bytes in the output: after the change, or before it if they are removed. */
  readonly bytes: number
  readonly changes: readonly Change[]
  readonly places: readonly Place[]
}

/** A file of an output that differs. */
export interface FileChange {
  readonly name: string
  readonly kind: 'weights' | 'config' | 'tokenizer' | 'template' | 'other'
  readonly state: 'added' | 'removed' | 'changed' | 'unknown'
  readonly changes: readonly Change[]
}

/** How an output differs. */
export interface OutputDifference {
  readonly path: string
  readonly state: 'same' | 'changed' | 'added' | 'removed'
  /** The earlier path. */
  readonly was?: string
  readonly bytes: Sameness
  /** Bytes of all files with tensors. */
  readonly size: { readonly a?: number; readonly b?: number }
  readonly tensors: {
    readonly same: number
    readonly changed: number
    readonly added: number
    readonly removed: number
    readonly unknown: number
  }
  readonly groups: readonly TensorGroup[]
  readonly files: readonly FileChange[]
  /** Of the output as a whole: layout, metadata, commands. */
  readonly changes: readonly Change[]
}

/** One of the two that are compared. */
export interface Compared {
  /** As the user wrote it. */
  readonly name: string
  /** Of the plan or of the lineage; absent if there is none. */
  readonly digest?: string
  /** The commit that a revision means. */
  readonly commit?: string
}

/** The result of a comparison: version 1 of `schemas/difference.v1.schema.json`. */
export interface Difference {
  /** Version of the format. */
  readonly difference: 1
  /** Whether two plans or two lineages were compared. */
  readonly kind: 'plan' | 'lineage'
  /** Before. */
  readonly a: Compared
  /** After. */
  readonly b: Compared
  /** All outputs together. */
  readonly bytes: Sameness
  /** Why it is unknown, or on what it depends: sentences. */
  readonly notes: readonly string[]
  /** Models that cannot be opened in `a`, and why. */
  readonly unreachable: readonly { readonly model: string; readonly why: string }[]
  /** Models that come, go, change or have new names. */
  readonly models: readonly NamedChange[]
  /** The same of steps. */
  readonly steps: readonly NamedChange[]
  /** Of all outputs: precision, seed, vocabulary. */
  readonly settings: readonly Change[]
  /** All outputs, also those that are the same. */
  readonly outputs: readonly OutputDifference[]
  /** Keys of the recipes' texts that differ. */
  readonly recipe: readonly Change[]
}

/** Plans and lineages in the form in which they are compared. */
import type { Json } from '../../core/json/shape.js'
import type { FileChange } from '../types.js'

/** Facts by label. A label is JSON: `[what]` or `[what, of]`. */
export type Facts = ReadonlyMap<string, Fact>

/** A value for people, or one of which only equality counts. */
export type Fact = { readonly value: Json } | { readonly mark: string }

export interface SideModel {
  readonly facts: Facts
  /** The same for two models with the same content, whatever their names are. */
  readonly same: string
}

export interface SideStep {
  readonly kind: string
  readonly facts: Facts
}

export interface SideTensor {
  /** In the output. */
  readonly bytes: number
  /** Equal marks mean equal bytes; undefined if nothing is known. */
  readonly mark: string | undefined
  /** How it is made, with the names of models and steps replaced. */
  readonly facts: (named: Renames) => Facts
}

export interface SmallFile {
  readonly kind: FileChange['kind']
  /** Equal marks mean equal content; undefined if it is unknown. */
  readonly mark: string | undefined
  readonly text?: string
}

export interface SideOutput {
  readonly path: string
  readonly facts: Facts
  /** Bytes of all files with tensors. */
  readonly size: number
  /** By name: everything of a file but its tensors. Undefined if it is unknown. */
  readonly files: ReadonlyMap<string, string | undefined>
  readonly small: ReadonlyMap<string, SmallFile>
  readonly tensors: ReadonlyMap<string, SideTensor>
}

export interface Side {
  readonly name: string
  readonly digest?: string
  readonly commit?: string
  readonly models: ReadonlyMap<string, SideModel>
  readonly steps: ReadonlyMap<string, SideStep>
  readonly settings: Facts
  readonly outputs: readonly SideOutput[]
}

/** New names by old ones. */
export interface Renames {
  readonly models: ReadonlyMap<string, string>
  readonly steps: ReadonlyMap<string, string>
}

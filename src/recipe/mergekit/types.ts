import type { MapNode, Node, Span } from '../../language/tree.js'

/** A model reference in mergekit's form: `path@revision+adapter@revision`. */
export interface Reference {
  readonly text: string
  readonly path: string
  readonly revision?: string
  readonly lora?: { readonly path: string; readonly revision?: string }
  readonly at: Span
}

/** One model of a slice, or of the document. */
export interface Source {
  readonly model: Reference
  /** Half-open. Absent: all of its layers. */
  readonly range?: readonly [number, number]
  readonly rangeAt: Span
  readonly parameters?: MapNode
  readonly at: Span
}

export interface Slice {
  readonly sources: readonly Source[]
  readonly base?: Reference
  readonly parameters?: MapNode
  readonly at: Span
}

/** A part of a model that is merged separately, with its settings. */
export interface Module {
  readonly name: { readonly text: string; readonly at: Span }
  readonly sliced: boolean
  readonly slices: readonly Slice[]
  readonly parameters: readonly MapNode[]
}

/** One document. */
export interface Config {
  readonly name?: { readonly text: string; readonly at: Span }
  readonly method: { readonly text: string; readonly at: Span }
  readonly base?: Reference
  /** Whether the document has slices. Otherwise it has models, read as one slice without ranges. */
  readonly sliced: boolean
  /** With modules: the slices of all modules. */
  readonly slices: readonly Slice[]
  readonly modules?: readonly Module[]
  /** Parameters of the module and of the document, the more specific first. */
  readonly parameters: readonly MapNode[]
  readonly dtype?: Node
  readonly tokenizer?: Node
  readonly tokenizerSource?: Node
  readonly chatTemplate?: Node
  readonly at: Span
}

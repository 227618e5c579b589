import type { MapNode, Node, Span } from '../../language/tree.js'

/** `path@revision+adapter@revision`, as mergekit writes models. */
export interface Reference {
  readonly text: string
  readonly path: string
  readonly revision?: string
  readonly lora?: { readonly path: string; readonly revision?: string }
  readonly at: Span
}

/** One model that goes into a slice, or into the whole. */
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

/** A part of a model that is merged for itself, and its settings. */
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
  /** Or else models: then one slice without ranges. */
  readonly sliced: boolean
  /** Those of all modules, where there are some. */
  readonly slices: readonly Slice[]
  readonly modules?: readonly Module[]
  /** Parameters of the module and of the whole, the narrower first. */
  readonly parameters: readonly MapNode[]
  readonly dtype?: Node
  readonly tokenizer?: Node
  readonly tokenizerSource?: Node
  readonly chatTemplate?: Node
  readonly at: Span
}

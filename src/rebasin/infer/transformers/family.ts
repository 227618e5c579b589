/**
 * How a family of transformers is described. A row of its table says for a tensor's name what each axis is:
 *
 * - `hidden`: the residual stream, and any other plain name: a group of the whole model
 * - `*.ffn`: a group of the layer, such as `layers.3.ffn`; `MODULE.ffn`: of the module that the tensor belongs to
 * - `Q`, `K`, `V`: rows of queries, keys and values; `O`: columns that read the values; a list of them: one after another;
 *   `QKV`: all three for each key/value head in turn; `H`, `G`: one place per query head, per key/value head
 * - `SOURCE`: the residual stream that cross-attention reads
 *
 * A tensor that no row knows freezes the residual stream and its own layer's groups.
 */
import type { Shapes } from '../../spec.js'

export type Config = Readonly<Record<string, unknown>> | undefined
export type Cell = string | null | readonly string[]
export type Row = readonly [pattern: RegExp, axes: readonly Cell[]]

/** A part of a model with its own residual stream or its own settings. */
export interface Stack {
  readonly stream: string
  /** The key of its part of the configuration. */
  readonly part?: string
  readonly heads?: readonly string[]
  /** The stream that its cross-attention reads. */
  readonly source?: string
}

/** Names of the groups of one attention: of heads, and the start of the names of those inside. */
export interface AttentionNames {
  readonly outer: string
  readonly inner: string
}

export interface Family {
  readonly name: string
  /** A tensor that only this family has; the text before its layer is the prefix of the model. */
  readonly sign: RegExp
  /** What else decides between families with the same sign. */
  readonly fits?: (shapes: Shapes, config: Config) => boolean
  readonly rows: readonly Row[]
  /** Rows that depend on the model. They go before the others. */
  readonly choose?: (shapes: Shapes, config: Config) => readonly Row[]
  /** Name of a layer: what `*` means. */
  readonly layer: RegExp
  readonly heads: readonly string[]
  /** The number of heads, if none of these settings says it. */
  readonly headCount?: (config: Config) => number | undefined
  /** Several query heads may share a key/value head. */
  readonly grouped?: boolean
  /** The number of key/value heads, if `num_key_value_heads` does not say it. */
  readonly keyValueHeads?: (config: Config, heads: number) => number | undefined
  /** Places of a query head and of a value head, if they differ or are not the same as the projection's. */
  readonly widths?: (config: Config) => { readonly query: number; readonly value: number } | undefined
  /** Queries, keys and values follow each other head by head. */
  readonly interleaved?: (config: Config) => boolean
  /** Why heads keep their order, such as position biases that are different for each head. */
  readonly fixedHeads?: (config: Config) => string | undefined
  /** Model types, as configs have them, that are known to give positions otherwise than by rotating queries and keys. */
  readonly plain?: readonly string[]
  /** A tensor with one head projection of queries, and one of keys: of weights, outputs on axis 0 unless `conv1d`. */
  readonly query: RegExp
  readonly conv1d?: boolean
  /** A table of positions. Without a model type, places in heads are free only if there is one. */
  readonly positions?: RegExp
  /** Why the stream keeps its order, if it does: positions that are not in the checkpoint, for example. */
  readonly fixedStream?: (shapes: Shapes, config: Config) => string | undefined
  /** Why groups of each layer keep their order, by the end of their names. */
  readonly keeps?: (shapes: Shapes, config: Config) => Readonly<Record<string, string>>
  /** Without a head of its own the model has none: no embedding serves as one. */
  readonly encoder?: boolean
  /** Further tensors that are a head. */
  readonly head?: RegExp
  /** The only tensors that are a head. */
  readonly onlyHead?: RegExp
  readonly stack?: (name: string) => Stack | undefined
  readonly attention?: (name: string, layer: string) => AttentionNames
}

export const norm = ['hidden'] as const
export const QKV = [['Q', 'K', 'V']] as const

/** Whether a model has a tensor with such a name. */
export const has = (shapes: Shapes, pattern: RegExp): boolean => [...shapes.keys()].some((name) => pattern.test(name))

export const STREAM = /(^|\.)hidden$/

/** Which tensors of a model have one row per token. */
import type { Value } from '../expr/values.js'
import { type Config, hasRows } from './tied.js'

/** Tensors besides embeddings that have one row per token. */
const WITH_ROWS = /(^|\.)(lm_head|embed_out|output_layer|predictions|predictions\.decoder)\.(weight|bias)$/

export interface TokenRows {
  /** Rows of its embeddings, including padding. */
  readonly rows: number
  /** Tensors whose first axis is the vocabulary. */
  readonly tensors: ReadonlySet<string>
}

/** Undefined for a model without embeddings. */
export function tokenRowsOf({ tensors }: Pick<Value, 'tensors'>, config: Config): TokenRows | undefined {
  const sizes = [...tensors].flatMap(([name, { shape }]) => (hasRows(name) ? [shape[0] ?? 0] : []))
  const stated = vocabularySize(config)
  const rows = sizes.find((size) => size === stated) ?? sizes[0]
  if (rows === undefined) return undefined
  const has = ([name, { shape }]: [string, { shape: readonly number[] }]): boolean =>
    shape[0] === rows && (hasRows(name) || WITH_ROWS.test(name))
  return { rows, tensors: new Set([...tensors].filter(has).map(([name]) => name)) }
}

/** For multimodal models, the size in `text_config`. */
const vocabularySize = (config: Config): unknown =>
  config?.vocab_size ?? (config?.text_config as Config | undefined)?.vocab_size

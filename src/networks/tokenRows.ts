/** Which tensors of a model have one row per token. */
import type { Value } from '../expr/values.js'
import { type Config, EMBEDDING, HEAD, hasRows, LOOSE_HEAD, nearestTo, SHARED } from './tied.js'

/** Biases of heads, and heads with other names. */
const WITH_ROWS =
  /(^|\.)(lm_head|generator_lm_head|mlm_head|mlm_score|predictions|predictions\.decoder)\.(weight|bias)$/

/** A bias that is added to what a head computes, as a matrix of one row. */
const COLUMNS = /(^|\.)final_logits_bias$/

/** Embeddings of tokens besides the usual one, which only some networks have. */
const EXTRA = /(^|\.)embed_tokens_per_layer\.weight$/

export interface TokenRows {
  /** Rows of its embeddings, including padding. */
  readonly rows: number
  /** Tensors whose first axis is the vocabulary. */
  readonly tensors: ReadonlySet<string>
  /** Tensors of one row, whose second axis is the vocabulary. */
  readonly columns: ReadonlySet<string>
  /** Heads and shared embeddings with another number of rows than the embedding that they belong to, and embeddings per layer. */
  readonly odd: readonly string[]
}

type Entry = readonly [name: string, tensor: { readonly shape: readonly number[] }]

/** Undefined for a model without embeddings. */
export function tokenRowsOf({ tensors }: Pick<Value, 'tensors'>, config: Config): TokenRows | undefined {
  const all: readonly Entry[] = [...tensors]
  const sizes = all.flatMap(([name, { shape }]) => (hasRows(name) ? [shape[0] ?? 0] : []))
  const stated = vocabularySize(config)
  const rows = sizes.find((size) => size === stated) ?? sizes[0]
  if (rows === undefined) return undefined
  const has = ([name, { shape }]: Entry): boolean =>
    shape[0] === rows && (hasRows(name) || WITH_ROWS.test(name) || isBias(name))
  const found = all.filter(has)
  const columns = all.filter(
    ([
      name,
      {
        shape: [first, second],
      },
    ]) => COLUMNS.test(name) && first === 1 && second === rows,
  )
  const names = (entries: readonly Entry[]): Set<string> => new Set(entries.map(([name]) => name))
  return { rows, tensors: names(found), columns: names(columns), odd: [...names(oddOnes(all, rows))] }
}

/** The bias of a head. */
const isBias = (name: string): boolean => name.endsWith('.bias') && HEAD.test(name.replace(/bias$/, 'weight'))

function oddOnes(all: readonly Entry[], rows: number): Entry[] {
  const embeddings = all.filter(([name]) => EMBEDDING.test(name))
  const isShared = ([name]: Entry): boolean => SHARED.test(name)
  const sharesRows = all.some((entry) => isShared(entry) && entry[1].shape[0] === rows)
  return all.filter((entry) => {
    const [name, { shape }] = entry
    if (EXTRA.test(name)) return true
    if (shape[0] === rows && !HEAD.test(name)) return false
    if (isShared(entry)) return sharesRows
    if (!HEAD.test(name) || LOOSE_HEAD.test(name)) return false
    const own = nearestRows(name, embeddings)
    return own !== undefined && own !== shape[0] && (own === rows || shape[0] === rows)
  })
}

const nearestRows = (name: string, embeddings: readonly Entry[]): number | undefined =>
  nearestTo(name, embeddings)?.[1].shape[0]

/** For multimodal models, the size in `text_config`. */
const vocabularySize = (config: Config): unknown =>
  config?.vocab_size ?? (config?.text_config as Config | undefined)?.vocab_size

/** Other tensors with as many rows or columns, if no number of the configuration but the size of the vocabulary explains it. */
export function tensorsAlike(
  { rows, tensors: known, columns, odd }: TokenRows,
  tensors: Value['tensors'],
  config: Config,
): readonly string[] {
  const sizes = new Set(config ? numbersIn(config) : [])
  if (sizes.has(rows)) return []
  const others = [...tensors].filter(([name, { shape }]) => {
    return !known.has(name) && !columns.has(name) && !odd.includes(name) && shape.includes(rows)
  })
  return others.map(([name]) => name)
}

/** Numbers of a configuration that are not sizes of vocabularies. */
const numbersIn = (config: object): number[] =>
  Object.entries(config).flatMap(([key, value]: [string, unknown]) => {
    if (typeof value === 'number') return /vocab/.test(key) ? [] : [value]
    return typeof value === 'object' && value !== null ? numbersIn(value) : []
  })

import { createHash } from 'node:crypto'
import { emptyTable } from '../../core/collections/ownValue.js'
import { quote } from '../../core/suggest.js'
import { agree, plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { ReadExpr } from '../../expr/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import { hasRows } from '../../networks/tied.js'
import type { Recipe } from '../../recipe/types.js'
import { dtypeOf } from '../../views/shape.js'
import type { TokenizerRecord, TokenSources } from '../types.js'
import { type RowMaps, rowMaps } from './rowMaps.js'
import { tokenSources } from './tokenSources.js'
import type { Embedded, Vocabulary } from './vocabulary.js'

/** Models that follow a merged vocabulary, and what is known of it. */
export interface Followed {
  readonly values: ReadonlyMap<string, Value>
  readonly record: TokenizerRecord
  readonly sources: Readonly<Record<string, TokenSources>>
}

/**
 * Makes embeddings and heads follow the merged vocabulary, token by token.
 *
 * A model keeps its own row for a token that it has. A model that lacks a token gets, as in mergekit, the base's row; else, if one
 * model has the token, that model's row; else the average of all models that have it. `tokens` in the recipe takes precedence
 * over these, and with `force` also over the model's own row. Rows without a token (padding) keep the model's own row if there is
 * one at that place, else take the base's, else the mean of the model's rows, as in mergekit: a head with zeros there would
 * prefer these rows to most tokens. The loop is over tokens and not over ids, since a tokenizer may have more ids than tokens.
 *
 * Errors: `unknown-token`, `tensor-mismatch`, `not-in-this-version` for tensors that an adapter changes. Warning: `no-embedding`.
 */
export function followTokens(recipe: Recipe, vocabulary: Vocabulary, faults: Faults): Followed {
  const { models, tokenizer, rows: count, choice, first } = vocabulary
  const maps = rowMaps(recipe, vocabulary, faults)
  const { named, rowOf } = maps
  const values = new Map<string, Value>()
  const found = emptyTable<{ found: number; rows: string }>()
  for (const [name, embedded] of models) {
    values.set(name, follow(recipe, vocabulary, maps, name, embedded, faults))
    const rows = named.map(([at, token]) => [at, rowOf(name, token) ?? -1] as const)
    found[name] = { found: rows.filter(([, row]) => row >= 0).length, rows: `sha256:${rowsDigest(rows, count)}` }
  }
  const lost = named.flatMap(([, token]) =>
    choice.tokens.has(token) || [...models.keys()].some((name) => rowOf(name, token) !== undefined) ? [] : [token],
  )
  if (lost.length > 0 && models.size > 0)
    faults.warn(
      'no-embedding',
      `no model has an embedding for ${plural(lost.length, 'token')}, such as ${quote(lost[0]!)}: ${agree(lost.length, 'its row is', 'their rows are')} filled with zeros`,
      recipe.placeOf(choice.at),
      'choose a source under tokenizer: {tokens: …}',
    )
  const record: TokenizerRecord = {
    ...{ source: choice.source, first, tokens: tokenizer.ids.size, rows: count },
    ...{ added: vocabulary.gained.length, models: found },
  }
  return { values, record, sources: tokenSources(vocabulary, maps) }
}

/** A model whose embeddings and heads follow the merged vocabulary. */
function follow(
  recipe: Recipe,
  { models, rows: count, choice, first }: Vocabulary,
  { mapOf }: RowMaps,
  name: string,
  { value, tensors, columns, odd, rows }: Embedded,
  faults: Faults,
): Value {
  const changed = new Map(value.tensors)
  let moves = false
  for (const tensorName of tensors) {
    const tensor = value.tensors.get(tensorName)!
    const holders = [...models].flatMap(([other, { value, tensors }]) =>
      tensors.has(tensorName) && sameRows(value.tensors.get(tensorName)!, tensor) ? [other] : [],
    )
    const { map, sources } = mapOf(name, holders, isFloat(tensor.dtype))
    if (rows === count && map.runs.length === 3 && map.runs[1] === 0 && map.runs[2] === 0) continue
    moves = true
    const changedBy = sources.find((of) => models.get(of)!.value.tensors.get(tensorName)!.expr.kind !== 'read')
    if (changedBy !== undefined) {
      faults.error(
        'not-in-this-version',
        `not in this version of terge: changing the vocabulary of ${tensorName} of ${changedBy} after an adapter changed it`,
        recipe.placeOf(choice.at),
        'apply the adapter first, in a separate recipe',
      )
      continue
    }
    const of = sources.map((name) => (models.get(name)!.value.tensors.get(tensorName)!.expr as ReadExpr).view)
    const shape = [count, ...tensor.shape.slice(1)]
    if (!isFloat(tensor.dtype) && (map.means.length > 0 || of.some((view) => dtypeOf(view) !== tensor.dtype)))
      faults.error(
        'tensor-mismatch',
        `the rows of ${tensorName} are ${tensor.dtype} in ${name}: terge can't mix them with rows of other models`,
        recipe.placeOf(choice.at),
        'convert the models to one floating-point dtype first',
      )
    changed.set(tensorName, { ...tensor, shape, expr: { kind: 'read', view: { kind: 'gather', of, map } } })
  }
  // New tokens follow the rows of the first model, where embeddings per layer have none for them.
  const [left] = [...columns, ...odd.filter((one) => name !== first || hasRows(one))]
  if (moves && left !== undefined)
    faults.error(
      'tensor-mismatch',
      `${name}: ${left} [${value.tensors.get(left)!.shape.join(', ')}] does not have one row for each of the ${plural(rows, 'row')} of its embedding, and the vocabulary changes`,
      recipe.placeOf(choice.at),
      'use models whose embeddings and heads have the same number of rows',
    )
  return { ...value, tensors: changed }
}

/**
 * The digest of a row map: -1 for rows without a token. Hashed in parts, since there may be many more rows than tokens.
 */
function rowsDigest(rows: readonly (readonly [at: number, row: number])[], count: number): string {
  const hash = createHash('sha256')
  const part = new Int32Array(65_536)
  let next = 0
  for (let from = 0; from < count; from += part.length) {
    part.fill(-1)
    for (; next < rows.length && rows[next]![0] < from + part.length; next++)
      part[rows[next]![0] - from] = rows[next]![1]
    hash.update(part.subarray(0, Math.min(part.length, count - from)))
  }
  return hash.digest('hex')
}

const sameRows = (a: ValueTensor, b: ValueTensor): boolean =>
  a.shape.length === b.shape.length && a.shape.every((size, axis) => axis === 0 || size === b.shape[axis])

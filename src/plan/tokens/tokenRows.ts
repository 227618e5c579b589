import { createHash } from 'node:crypto'
import { emptyTable } from '../../core/collections/ownValue.js'
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { ReadExpr } from '../../expr/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { Recipe } from '../../recipe/types.js'
import { dtypeOf } from '../../views/shape.js'
import { MEAN_BEFORE, MEANS, type RowMap, ZEROS } from '../../views/types.js'
import type { TokenizerRecord } from '../types.js'
import type { Embedded, Vocabulary } from './vocabulary.js'

/** A row of a model, or several to be averaged; none: zeros. */
type Rows = readonly (readonly [model: string, row: number])[]

/**
 * Makes embeddings and heads follow the vocabulary, token by token. A model that has a token keeps its own row for it. One that
 * lacks it gets, as mergekit does it, the base's row; else, where one model has the token, that model's; else the average of
 * all that have it. `tokens` of the recipe goes before these, and with `force` before the model's own. Rows without a token
 * (padding) stay the model's own where it has them at that place, else they are the base's, else the mean of the model's rows,
 * as for mergekit: a head of zeros would prefer them to most tokens. Tokens are gone through, not ids, of which a tokenizer may
 * have more than it has tokens.
 * Faults: `unknown-token`, `no-embedding` (a warning), `not-in-this-version` for tensors that an adapter changes.
 */
export function followTokens(
  recipe: Recipe,
  vocabulary: Vocabulary,
  faults: Faults,
): { values: ReadonlyMap<string, Value>; record: TokenizerRecord } {
  const { models, tokenizer, rows: count, choice, participants, first } = vocabulary
  const named = namedRows(tokenizer.ids, count)
  const taken = new Map([...models].map(([name, { tokenizer }]) => [name, new Set(tokenizer.ids.values())]))
  const chosen = chosenRows(recipe, vocabulary, faults)
  const [base] = models.keys()

  /** Where a model has a token. */
  const rowOf = (name: string, token: string): number | undefined => {
    const { tokenizer, rows } = models.get(name)!
    const id = tokenizer.ids.get(token)
    return id !== undefined && id < rows ? id : undefined
  }

  /** The row that models get that lack a token. */
  function defaultRow(token: string, holders: readonly string[]): Rows {
    const have = holders.flatMap((name): Rows => {
      const row = rowOf(name, token)
      return row === undefined ? [] : [[name, row]]
    })
    if (have.length > 0 && have[0]![0] === base) return [have[0]!]
    const inMerge = have.filter(([name]) => participants.has(name))
    return inMerge.length > 0 ? inMerge : have.slice(0, 1)
  }

  function paddingRow(name: string, at: number, holders: readonly string[]): Rows {
    const holder = [name, ...holders.slice(0, 1)].find(
      (of) => at < models.get(of)!.rows && !taken.get(of)!.has(at) && (of === name || of === base),
    )
    return holder === undefined ? [] : [[holder, at]]
  }

  const defaults = new Map<string, Rows[]>()
  /** By named row, for tensors that these models have. */
  function defaultRows(holders: readonly string[]): Rows[] {
    const key = holders.join('\0')
    const known = defaults.get(key)
    if (known) return known
    const made = named.map(([, token]): Rows => {
      const choice = chosen.get(token)
      return choice?.rows.every(([name]) => holders.includes(name)) ? choice.rows : defaultRow(token, holders)
    })
    defaults.set(key, made)
    return made
  }

  const maps = new Map<string, { map: RowMap; sources: readonly string[] }>()
  function mapOf(name: string, holders: readonly string[], floats: boolean) {
    const key = [name, String(floats), ...holders].join('\0')
    const known = maps.get(key)
    if (known) return known
    const sources = [name]
    const index = (of: string): number => (sources.includes(of) ? sources.indexOf(of) : sources.push(of) - 1)
    const runs: number[] = []
    const means: number[][] = []
    const add = (rows: Rows): void => {
      if (rows.length > 1) addRun(runs, MEANS, means.push(rows.flatMap(([of, row]) => [index(of), row])) - 1)
      else if (rows.length === 0) addRun(runs, ZEROS, 0)
      else addRun(runs, index(rows[0]![0]), rows[0]![1])
    }
    const pad = (from: number, to: number): void => {
      for (let at = from; at < to; at++) {
        const rows = paddingRow(name, at, holders)
        if (rows.length === 0 && floats) addRun(runs, MEAN_BEFORE, Math.min(tokenizer.size, count))
        else add(rows)
      }
    }
    const fill = defaultRows(holders)
    let next = 0
    for (const [place, [at, token]] of named.entries()) {
      pad(next, at)
      const own = chosen.get(token)?.force ? undefined : rowOf(name, token)
      add(own === undefined ? fill[place]! : [[name, own]])
      next = at + 1
    }
    pad(next, count)
    const made = { map: { rows: count, runs, means }, sources }
    maps.set(key, made)
    return made
  }

  function follow(name: string, { value, tensors, rows }: Embedded): Value {
    const changed = new Map(value.tensors)
    for (const tensorName of tensors) {
      const tensor = value.tensors.get(tensorName)!
      const holders = [...models].flatMap(([other, { value, tensors }]) =>
        tensors.has(tensorName) && sameRows(value.tensors.get(tensorName)!, tensor) ? [other] : [],
      )
      const { map, sources } = mapOf(name, holders, isFloat(tensor.dtype))
      if (rows === count && map.runs.length === 3 && map.runs[1] === 0 && map.runs[2] === 0) continue
      const changedBy = sources.find((of) => models.get(of)!.value.tensors.get(tensorName)!.expr.kind !== 'read')
      if (changedBy !== undefined) {
        faults.error(
          'not-in-this-version',
          `not in this version of terge: ${tensorName} of ${changedBy}, which an adapter changes, following another vocabulary`,
          recipe.placeOf(choice.at),
          'apply the adapter first, in a recipe of its own',
        )
        continue
      }
      const of = sources.map((name) => (models.get(name)!.value.tensors.get(tensorName)!.expr as ReadExpr).view)
      const shape = [count, ...tensor.shape.slice(1)]
      if (!isFloat(tensor.dtype) && (map.means.length > 0 || of.some((view) => dtypeOf(view) !== tensor.dtype)))
        faults.error(
          'tensor-mismatch',
          `the rows of ${tensorName} are ${tensor.dtype} in ${name}: they can't be mixed with those of other models`,
          recipe.placeOf(choice.at),
        )
      changed.set(tensorName, {
        ...tensor,
        shape,
        expr: { kind: 'read', view: { kind: 'gather', of, map } },
      })
    }
    return { ...value, tensors: changed }
  }

  const values = new Map<string, Value>()
  const found = emptyTable<{ found: number; rows: string }>()
  for (const [name, embedded] of models) {
    const value = follow(name, embedded)
    values.set(name, value)
    const rows = named.map(([at, token]) => [at, rowOf(name, token) ?? -1] as const)
    found[name] = { found: rows.filter(([, row]) => row >= 0).length, rows: `sha256:${rowsDigest(rows, count)}` }
  }
  const lost = named.flatMap(([, token]) =>
    choice.tokens.has(token) || [...models.keys()].some((name) => rowOf(name, token) !== undefined) ? [] : [token],
  )
  if (lost.length > 0 && models.size > 0)
    faults.warn(
      'no-embedding',
      `no model has an embedding of ${plural(lost.length, 'token')}, such as ${quote(lost[0]!)}: the result has zeros there`,
      recipe.placeOf(choice.at),
    )
  const record: TokenizerRecord = {
    ...{ source: choice.source, first, tokens: tokenizer.ids.size, rows: count },
    ...{ added: vocabulary.gained.length, models: found },
  }
  return { values, record }
}

/** The tokens by row, in order; of two with one id the first. */
function namedRows(ids: ReadonlyMap<string, number>, count: number): (readonly [row: number, token: string])[] {
  const first = new Map<number, string>()
  for (const [token, id] of ids) if (id < count && !first.has(id)) first.set(id, token)
  return [...first].sort(([a], [b]) => a - b)
}

/** Of a map of rows, row by row: -1 where there is none. In parts, for there may be many more rows than tokens. */
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

function addRun(runs: number[], source: number, row: number): void {
  const last = runs.length - 3
  const follows = source === ZEROS || source === MEAN_BEFORE || runs[last + 2]! + runs[last]! === row
  if (last >= 0 && runs[last + 1] === source && follows) runs[last]!++
  else runs.push(1, source, row)
}

/** The rows that the recipe chooses for single tokens. */
function chosenRows(
  recipe: Recipe,
  { choice, models, first }: Vocabulary,
  faults: Faults,
): ReadonlyMap<string, { rows: Rows; force: boolean }> {
  const chosen = new Map<string, { rows: Rows; force: boolean }>()
  const [base = first] = models.keys()
  for (const [token, { from, force, at }] of choice.tokens) {
    const bad = (message: string) => faults.error('unknown-token', message, recipe.placeOf(at, 'key'))
    if (from.kind === 'zero') {
      chosen.set(token, { rows: [], force })
      continue
    }
    const name = from.model === 'base' ? base : from.model
    const model = models.get(name)
    const row = from.id ?? model?.tokenizer.ids.get(from.token ?? token)
    if (!model || row === undefined || row >= model.rows)
      bad(
        `${quote(name)} has no embedding of ${from.id === undefined ? quote(from.token ?? token) : `token ${from.id}`}`,
      )
    else chosen.set(token, { rows: [[name, row]], force })
  }
  return chosen
}

/** Which rows of which models make up an embedding that follows a merged vocabulary. */

import { quote } from '../../core/suggest.js'
import type { Faults } from '../../language/faults.js'
import type { Recipe } from '../../recipe/types.js'
import { MEAN_BEFORE, MEANS, type RowMap, ZEROS } from '../../views/types.js'
import type { Vocabulary } from './vocabulary.js'

/** One row of a model, or several rows to average. Empty: zeros. */
export type Rows = readonly (readonly [model: string, row: number])[]

/** A token of the merged vocabulary with the row that it has there. */
export type NamedRow = readonly [row: number, token: string]

export interface RowMaps {
  /** The tokens of the merged vocabulary by row, in order. */
  readonly named: readonly NamedRow[]
  /** The row of a token in a model's own embedding; undefined if the model lacks the token. */
  readonly rowOf: (model: string, token: string) => number | undefined
  /**
   * Rows of a model's tensor. `holders`: models that have the tensor with rows of the same length. `floats`: averages are possible.
   * `sources[i]` is the model of source i in the map.
   */
  readonly mapOf: (
    model: string,
    holders: readonly string[],
    floats: boolean,
  ) => { readonly map: RowMap; readonly sources: readonly string[] }
}

/** Errors: `unknown-token`. */
export function rowMaps(recipe: Recipe, vocabulary: Vocabulary, faults: Faults): RowMaps {
  const { models, tokenizer, rows: count } = vocabulary
  const named = namedRows(tokenizer.ids, count)
  const chosen = chosenRows(recipe, vocabulary, faults)
  const rowOf: RowMaps['rowOf'] = (name, token) => {
    const { tokenizer, rows } = models.get(name)!
    const id = tokenizer.ids.get(token)
    return id !== undefined && id < rows ? id : undefined
  }
  const defaultRows = defaultRowsOf(vocabulary, named, chosen, rowOf)
  const paddingRow = paddingRowOf(vocabulary)
  const maps = new Map<string, { map: RowMap; sources: readonly string[] }>()
  function mapOf(name: string, holders: readonly string[], floats: boolean) {
    const key = [name, String(floats), ...holders].join('\0')
    const known = maps.get(key)
    if (known) return known
    const writer = runWriter(name)
    const pad = (from: number, to: number): void => {
      for (let at = from; at < to; at++) {
        const rows = paddingRow(name, at, holders)
        if (rows.length === 0 && floats) writer.addMeanBefore(Math.min(tokenizer.size, count))
        else writer.add(rows)
      }
    }
    const fill = defaultRows(holders)
    let next = 0
    for (const [place, [at, token]] of named.entries()) {
      pad(next, at)
      const own = chosen.get(token)?.force ? undefined : rowOf(name, token)
      writer.add(own === undefined ? fill[place]! : [[name, own]])
      next = at + 1
    }
    pad(next, count)
    const made = { map: { rows: count, runs: writer.runs, means: writer.means }, sources: writer.sources }
    maps.set(key, made)
    return made
  }
  return { named, rowOf, mapOf }
}

/** By named row: the rows for models that lack its token. */
function defaultRowsOf(
  { models, merged }: Vocabulary,
  named: readonly NamedRow[],
  chosen: ReturnType<typeof chosenRows>,
  rowOf: RowMaps['rowOf'],
): (holders: readonly string[]) => readonly Rows[] {
  const [base] = models.keys()
  function defaultRow(token: string, holders: readonly string[]): Rows {
    const have = holders.flatMap((name): Rows => {
      const row = rowOf(name, token)
      return row === undefined ? [] : [[name, row]]
    })
    if (have.length > 0 && have[0]![0] === base) return [have[0]!]
    const inMerge = have.filter(([name]) => merged.has(name))
    return inMerge.length > 0 ? inMerge : have.slice(0, 1)
  }
  const defaults = new Map<string, readonly Rows[]>()
  return (holders) => {
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
}

/** For a row without a token: the model's own row there, else the base's. */
function paddingRowOf({ models }: Vocabulary): (name: string, at: number, holders: readonly string[]) => Rows {
  const taken = new Map([...models].map(([name, { tokenizer }]) => [name, new Set(tokenizer.ids.values())]))
  const [base] = models.keys()
  return (name, at, holders) => {
    const holder = [name, ...holders.slice(0, 1)].find(
      (of) => at < models.get(of)!.rows && !taken.get(of)!.has(at) && (of === name || of === base),
    )
    return holder === undefined ? [] : [[holder, at]]
  }
}

/** Writes a map of rows as runs. `name`: the model that is source 0. */
function runWriter(name: string) {
  const sources = [name]
  const runs: number[] = []
  const means: number[][] = []
  const index = (of: string): number => (sources.includes(of) ? sources.indexOf(of) : sources.push(of) - 1)
  return {
    sources,
    runs,
    means,
    add(rows: Rows): void {
      if (rows.length > 1) addRun(runs, MEANS, means.push(rows.flatMap(([of, row]) => [index(of), row])) - 1)
      else if (rows.length === 0) addRun(runs, ZEROS, 0)
      else addRun(runs, index(rows[0]![0]), rows[0]![1])
    },
    addMeanBefore: (row: number): void => addRun(runs, MEAN_BEFORE, row),
  }
}

function addRun(runs: number[], source: number, row: number): void {
  const last = runs.length - 3
  const follows = source === ZEROS || source === MEAN_BEFORE || runs[last + 2]! + runs[last]! === row
  if (last >= 0 && runs[last + 1] === source && follows) runs[last]!++
  else runs.push(1, source, row)
}

/** The tokens by row, in order. If two tokens have one id, the first counts. */
function namedRows(ids: ReadonlyMap<string, number>, count: number): (readonly [row: number, token: string])[] {
  const first = new Map<number, string>()
  for (const [token, id] of ids) if (id < count && !first.has(id)) first.set(id, token)
  return [...first].sort(([a], [b]) => a - b)
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
    const hint = 'correct the token or the model; source: {kind: zero} makes a row of zeros'
    const bad = (message: string) => faults.error('unknown-token', message, recipe.placeOf(at, 'key'), hint)
    if (from.kind === 'zero') {
      chosen.set(token, { rows: [], force })
      continue
    }
    const name = from.model === 'base' ? base : from.model
    const model = models.get(name)
    const row = from.id ?? model?.tokenizer.ids.get(from.token ?? token)
    if (!model || row === undefined || row >= model.rows)
      bad(
        `${quote(name)} has no embedding for ${from.id === undefined ? quote(from.token ?? token) : `token ${from.id}`}`,
      )
    else chosen.set(token, { rows: [[name, row]], force })
  }
  return chosen
}

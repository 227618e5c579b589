/** Where the rows of a merged vocabulary's tokens come from, for people. */
import { emptyTable } from '../../core/collections/ownValue.js'
import { isFloat } from '../../encodings/index.js'
import { MEANS, ZEROS } from '../../views/types.js'
import type { TokenSources } from '../types.js'
import type { RowMaps } from './rowMaps.js'
import type { Embedded, Vocabulary } from './vocabulary.js'

/** By model that has embeddings: what it gives, and what its embedding is made of. */
export function tokenSources({ models }: Vocabulary, maps: RowMaps): Readonly<Record<string, TokenSources>> {
  const { named, rowOf } = maps
  const only = new Map<string, number>()
  for (const [, token] of named) {
    const have = [...models.keys()].filter((name) => rowOf(name, token) !== undefined)
    if (have.length === 1) only.set(have[0]!, (only.get(have[0]!) ?? 0) + 1)
  }
  const found = emptyTable<TokenSources>()
  for (const [name, embedded] of models)
    found[name] = { only: only.get(name) ?? 0, ...madeOf(name, embedded, models, maps) }
  return found
}

/** Counts the rows of tokens in the model's embedding by source. Rows without a token do not count. */
function madeOf(
  name: string,
  { value, tensors }: Embedded,
  models: Vocabulary['models'],
  { named, mapOf }: RowMaps,
): Omit<TokenSources, 'only'> {
  const from = emptyTable<number>()
  const counts = { means: 0, zeros: 0 }
  const [embedding] = tensors
  if (embedding === undefined) return { from, ...counts }
  const holders = [...models].flatMap(([other, { tensors }]) => (tensors.has(embedding) ? [other] : []))
  const { map, sources } = mapOf(name, holders, isFloat(value.tensors.get(embedding)!.dtype))
  let [end, token] = [0, 0]
  for (let run = 0; run < map.runs.length; run += 3) {
    end += map.runs[run]!
    const first = token
    while (token < named.length && named[token]![0] < end) token++
    const [rows, source] = [token - first, map.runs[run + 1]!]
    if (rows === 0) continue
    if (source === MEANS) counts.means += rows
    else if (source === ZEROS) counts.zeros += rows
    else if (source >= 0) from[sources[source]!] = (from[sources[source]!] ?? 0) + rows
  }
  return { from, ...counts }
}

/** Which rows of a model a donor's tokens get. */
import { addTo } from '../../core/collections/lists.js'
import type { Value } from '../../expr/values.js'
import type { Config } from '../../networks/layerCounts.js'
import type { TokenRows } from '../../networks/tokenRows.js'
import { type KeyedToken, keyedTokens } from '../../tokenizers/keys.js'
import type { SpecialTokens } from '../../tokenizers/roles.js'
import type { Tokenizer } from '../../tokenizers/types.js'
import { COPIED, FILLED, MADE } from './types.js'

/** A model's vocabulary and the rows that it has. */
export interface Side {
  readonly name: string
  readonly tokenizer: Tokenizer
  readonly special: SpecialTokens
  readonly rows: number
}

/** The same with its tensors that have one row per token. */
export interface Tokens extends Side, TokenRows {
  readonly value: Value
  readonly config: Config | undefined
  /** The head, if it is computed in another way than the embedding. */
  readonly head: string | undefined
}

export interface Matched {
  /** Rows of the result. */
  readonly rows: number
  readonly runs: readonly number[]
  readonly shared: { readonly donor: readonly number[]; readonly model: readonly number[] }
  /** Tokens that the model lacks, by id. */
  readonly made: readonly KeyedToken[]
  /** Tokens that both the model and the embedding of the donor lack. */
  readonly rowless: readonly string[]
  /** Ids without a token, and rows that pad the vocabulary. */
  readonly unnamed: number
  /** Rows of the donor behind its last token. */
  readonly dropped: number
}

/**
 * Matches the donor's tokens with the model's by key. The result has a row for each of the donor's ids up to the largest. Several of
 * the model's tokens may have one key: the one with the lowest id counts. `needsRows`: an approximation reads the donor's rows.
 */
export function matchTokens(model: Side, donor: Side, padTo: number, needsRows: boolean): Matched {
  const own = keyedTokens(model.tokenizer, model.special).byKey
  const rowOf = ({ key }: KeyedToken): number | undefined => {
    const id = own.get(key)?.id
    return id !== undefined && id < model.rows ? id : undefined
  }
  const byId = new Map<number, KeyedToken[]>()
  for (const token of keyedTokens(donor.tokenizer, donor.special).tokens) addTo(byId, token.id, token)
  const { size } = donor.tokenizer
  const rows = Math.ceil(size / padTo) * padTo
  const runs: number[] = []
  const shared = { donor: [] as number[], model: [] as number[] }
  const made: KeyedToken[] = []
  const rowless: string[] = []
  let unnamed = 0
  for (let id = 0; id < size; id++) {
    const tokens = byId.get(id) ?? []
    const row = tokens.map(rowOf).find((found) => found !== undefined)
    const [token] = tokens
    if (row !== undefined) {
      addRun(runs, COPIED, row)
      // A row that only the model has can't be compared with rows of the donor.
      if (id < donor.rows) {
        shared.donor.push(id)
        shared.model.push(row)
      }
    } else if (!token) {
      addRun(runs, FILLED, 0)
      unnamed++
    } else if (needsRows && id >= donor.rows) {
      addRun(runs, FILLED, 0)
      rowless.push(token.token)
    } else addRun(runs, MADE, made.push(token) - 1)
  }
  if (rows > size) addRun(runs, FILLED, 0, rows - size)
  const dropped = Math.max(0, donor.rows - size)
  return { rows, runs, shared, made, rowless, unnamed: unnamed + rows - size, dropped }
}

function addRun(runs: number[], source: number, row: number, count = 1): void {
  const last = runs.length - 3
  const follows = source === FILLED || runs[last + 2]! + runs[last]! === row
  if (last >= 0 && runs[last + 1] === source && follows) runs[last]! += count
  else runs.push(count, source, row)
}

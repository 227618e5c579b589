import type { Node } from '../../language/tree.js'
import type { Complaints } from './complaints.js'
import type { Known, ModelBook } from './models.js'
import type { Comments } from './nodes.js'
import type { Config } from './types.js'

/** What the conversion of a configuration's documents fills. */
export interface Work {
  readonly models: ModelBook
  readonly complain: Complaints
  readonly comments: Comments
  /** The recipe's steps, in order of writing. */
  readonly steps: Map<string, Node>
  /** Documents by name. */
  readonly named: ReadonlyMap<string, Config>
  /** Embeddings follow a tokenizer, token by token. */
  readonly followsTokens: boolean
  /** Steps that cut layers out of a model, by model and range. */
  readonly parts: Map<string, Known>
}

/** mergekit merges the rows that all models have, of embeddings and heads that have other numbers of them and follow no tokenizer. */
export const crops = (models: readonly Known[], { followsTokens }: Work): boolean =>
  !followsTokens && new Set(models.flatMap(({ rows }) => rows ?? [])).size > 1

import type { Node } from '../../language/tree.js'
import type { Complaints } from './complaints.js'
import type { Known, ModelBook } from './models.js'
import type { Comments } from './nodes.js'
import type { Config } from './types.js'

/** The state of a conversion, which the documents fill. */
export interface Work {
  readonly models: ModelBook
  readonly complain: Complaints
  readonly comments: Comments
  /** The steps of the recipe, in order. */
  readonly steps: Map<string, Node>
  /** Documents by name. */
  readonly named: ReadonlyMap<string, Config>
  /** Whether embeddings follow a tokenizer, token by token. */
  readonly followsTokens: boolean
  /** Steps that cut layers out of a model, by model and range. */
  readonly parts: Map<string, Known>
}

/**
 * Whether to merge only the rows that all models have. mergekit does so if the embeddings have different numbers of
 * rows and follow no tokenizer.
 */
export const crops = (models: readonly Known[], { followsTokens }: Work): boolean =>
  !followsTokens && new Set(models.flatMap(({ rows }) => rows ?? [])).size > 1

import type { Node } from '../tree.js'
import type { Complaints } from './complaints.js'
import type { Known, ModelBook } from './models.js'
import type { Comments } from './nodes.js'

/** What the conversion of a configuration's documents fills. */
export interface Work {
  readonly models: ModelBook
  readonly complain: Complaints
  readonly comments: Comments
  /** The recipe's steps, in order of writing. */
  readonly steps: Map<string, Node>
  /** Steps that cut layers out of a model, by model and range. */
  readonly parts: Map<string, Known>
}

import type { PathPattern } from '../../core/names/pathPattern.js'
import type { Path } from '../../language/types.js'

/** The models that one pattern made. */
export interface Group {
  readonly pattern: PathPattern
  readonly at: Path
  /** Names, in natural order of the paths. */
  readonly models: readonly string[]
}

/** By the name in `models`, or by the pattern in a list of models. */
export type Groups = ReadonlyMap<string, Group>

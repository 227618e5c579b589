/** The `search` of a recipe: which values vary, and what makes a result better. */
import type { Evaluate, Path } from '../../language/types.js'

/** A value of a recipe that a search may write. */
export type SearchValue = number | string | boolean

/** Which values a parameter takes. */
export type Range =
  | {
      readonly kind: 'real' | 'integer'
      /** Included. */
      readonly low: number
      /** Included, unless steps from `low` do not meet it. */
      readonly high: number
      /** Whether the logarithm is spread evenly. `low` is then above 0, and there is no step. */
      readonly log: boolean
      /** Values are `low`, `low + step`, …. Absent for real numbers: any value. */
      readonly step?: number
      /** How many values a grid takes, spread evenly from `low` to `high`. */
      readonly points?: number
    }
  | { readonly kind: 'choice'; readonly values: readonly SearchValue[] }

/** One parameter that varies. */
export interface Dimension {
  /** As `--set` has it: `merge.weights.math`. */
  readonly path: string
  readonly range: Range
}

export type SearchMethod = 'grid' | 'random' | 'cma-es' | 'tpe'

/** A metric of the `evaluate` command, and what to do with it. */
export interface Goal {
  readonly metric: string
  readonly direction: 'maximize' | 'minimize'
  /** Above 0. A score is the sum of metrics times weights; those to minimize are subtracted. */
  readonly weight: number
}

/** A parameter with its places in the recipe. */
export interface RecipeDimension extends Dimension {
  /** The keys that lead to its value. */
  readonly to: Path
  /** The recipe's own value. */
  readonly own: SearchValue
  /** Where the search names it. */
  readonly at: Path
}

/** The `search` key of a recipe. */
export interface Search {
  /** Not empty, in the order of the recipe. */
  readonly dimensions: readonly RecipeDimension[]
  /** Not empty. */
  readonly objective: readonly Goal[]
  readonly method: SearchMethod
  /** Absent for a grid: all of its points. */
  readonly trials?: number
  readonly seed: number
  /** How many trials are made at the same time. */
  readonly parallel: number
  /** After how many trials without a better one the search ends. Absent: never. */
  readonly patience?: number
  /** For a recipe without a command of its own. */
  readonly evaluate?: Evaluate
  readonly at: Path
}

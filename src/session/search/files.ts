/** The files of a search, next to its recipe. */
import path from 'node:path'

export interface SearchFiles {
  /** `NAME.trials.jsonl`: one line per trial. */
  readonly trials: string
  /** `NAME.best.yml`: the best recipe. */
  readonly best: string
  /** `NAME.search.html`: the page. */
  readonly page: string
}

/** `recipe.yml` has `recipe.trials.jsonl`, `recipe.best.yml` and `recipe.search.html`. */
export function searchFiles(recipe: string): SearchFiles {
  const stem = recipe.replace(/\.(ya?ml|json)$/i, '')
  return { trials: `${stem}.trials.jsonl`, best: `${stem}.best.yml`, page: `${stem}.search.html` }
}

/** As the user would name it. */
export const shownFile = (file: string): string => path.basename(file)

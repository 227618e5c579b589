/** Loads recipes from files or objects. */
import path from 'node:path'
import { type Loaded, type LoadOptions, loadRecipe } from '../recipe/load.js'

/** The path of a recipe file, or the recipe as plain data. */
export type RecipeSource = string | Readonly<Record<string, unknown>>

/** The file that defines a recipe's name and folder, and the options to load it with. */
export interface NamedRecipe<T extends LoadOptions> {
  readonly file: string
  readonly options: T
}

/** Converts a recipe object to text, so that its errors have places. Its paths are relative to the working folder. */
export function namedRecipe<T extends LoadOptions>(source: RecipeSource, options: T): NamedRecipe<T> {
  if (typeof source === 'string') return { file: source, options }
  const name = options.name ?? '(recipe)'
  return {
    file: path.join(process.cwd(), 'recipe.yml'),
    options: { ...options, name, text: JSON.stringify(source, null, 2) },
  }
}

/**
 * Checks a recipe's text; models are not opened, and a pattern of paths may match nothing. Errors are values in the result: nothing is thrown for mistakes in a recipe,
 * or for a file that is missing.
 */
export function load(source: RecipeSource, options: LoadOptions = {}): Loaded {
  const named = namedRecipe(source, { models: false, ...options })
  return loadRecipe(named.file, named.options)
}

/** Where a recipe comes from: a file, or an object that a program made. */
import path from 'node:path'
import { type Loaded, type LoadOptions, loadRecipe } from '../recipe/load.js'

/** The path of a recipe file, or the recipe itself as plain data, as its YAML would say it. */
export type RecipeSource = string | Readonly<Record<string, unknown>>

/** The file that gives a recipe its name and its folder, and the options that it is loaded with. */
export interface NamedRecipe<T extends LoadOptions> {
  readonly file: string
  readonly options: T
}

/** A recipe that is an object becomes text, so that its errors have places; its paths are relative to the working folder. */
export function namedRecipe<T extends LoadOptions>(source: RecipeSource, options: T): NamedRecipe<T> {
  if (typeof source === 'string') return { file: source, options }
  const name = options.name ?? '(recipe)'
  return {
    file: path.join(process.cwd(), 'recipe.yml'),
    options: { ...options, name, text: JSON.stringify(source, null, 2) },
  }
}

/** Checks a recipe's text; models are not opened. Errors are values in the result. */
export function load(source: RecipeSource, options: LoadOptions = {}): Loaded {
  const named = namedRecipe(source, options)
  return loadRecipe(named.file, named.options)
}

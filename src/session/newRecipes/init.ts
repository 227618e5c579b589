import { existsSync } from 'node:fs'
import path from 'node:path'
import { OUTPUT } from '../../checkpoints/containers/index.js'
import { plainRecipe } from '../../language/plain.js'
import { stacksOf } from '../../networks/layerNames.js'
import { inspect } from '../inspect.js'
import { nameModels, type OneLine, oneLineRecipe } from './oneLine.js'
import { starterRecipe } from './starter.js'

/** The folders that paths are relative to. */
export interface NewRecipeOptions {
  /** The folder of the given paths. Default: the working folder. */
  readonly folder?: string
  /** The folder that the recipe will be written to; its paths are relative to it. Default: `folder`. */
  readonly recipeFolder?: string
}

const isThere = (file: string): boolean => existsSync(file)

/**
 * A commented starter recipe for models, `MODEL` or `MODEL+ADAPTER`. It is valid as written and averages the models. Writes
 * nothing.
 *
 * @throws the errors of `inspect` for each of the models
 */
export async function init(given: readonly string[], options: NewRecipeOptions = {}): Promise<string> {
  const { folder = process.cwd(), recipeFolder = folder } = options
  const named = nameModels(given, folder, recipeFolder, isThere)
  const models = []
  for (const { model, adapter } of named) {
    models.push(await inspect(model))
    if (adapter !== undefined) await inspect(adapter)
  }
  const first = models[0]!
  const names = [...first.tensors.keys()]
  const { of } = stacksOf(names)
  const tensor = names.find((name) => of(name) !== undefined) ?? names[0] ?? '**'
  return starterRecipe(named, first.layout === 'file' ? `merged${OUTPUT.extension}` : 'merged', {
    tensor,
    layers: of(tensor)?.stack.depth ?? 0,
  })
}

/**
 * The text of a recipe for a merge from command-line flags, as `terge merge` makes it. Opens no model, so the recipe can have
 * errors, such as `missing-base` if the method requires a base and the models are not adapters.
 *
 * @throws `bad-flag` if a value is not what its flag takes
 */
export function recipeOf(line: OneLine, options: NewRecipeOptions = {}): string {
  const { folder = process.cwd(), recipeFolder = path.resolve(folder) } = options
  return oneLineRecipe(line, folder, recipeFolder, isThere)
}

/** The text of a recipe that terge made, such as that of `recipeOf`, as plain data without comments. Never throws for such a text. */
export const recipeAsData = (text: string): unknown => plainRecipe(text)

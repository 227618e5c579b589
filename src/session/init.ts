import { existsSync } from 'node:fs'
import path from 'node:path'
import { OUTPUT } from '../checkpoints/containers/index.js'
import { plainRecipe } from '../language/plain.js'
import { stacksOf } from '../networks/layerNames.js'
import { inspect } from './inspect.js'
import { nameModels, type OneLine, oneLineRecipe } from './oneLine.js'
import { starterRecipe } from './starter.js'

/** The folders that the paths of a new recipe are seen from. */
export interface NewRecipeOptions {
  /** Where given paths start. Default: the working folder. */
  readonly folder?: string
  /** Where the recipe will lie; its paths are relative to it. Default: `folder`. */
  readonly recipeFolder?: string
}

const isThere = (file: string): boolean => existsSync(file)

/** A commented starter recipe for models, `MODEL` or `MODEL+ADAPTER`: valid as it stands, their mean. Faults: those of `inspect`. */
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

/** The recipe of a merge that is described in one line, as text. Fault: `bad-flag`. */
export function recipeOf(line: OneLine, options: NewRecipeOptions = {}): string {
  const { folder = process.cwd(), recipeFolder = path.resolve(folder) } = options
  return oneLineRecipe(line, folder, recipeFolder, isThere)
}

/** A recipe's text as plain data, without its comments. */
export const recipeAsData = (text: string): unknown => plainRecipe(text)

import { existsSync } from 'node:fs'
import path from 'node:path'
import type { NewRecipeOptions } from './init.js'
import { nameModels, referenceFrom, yamlText } from './oneLine.js'

/** A conversion of one model. */
export interface Conversion {
  /** A path, or `hf:org/name@revision`. */
  readonly model: string
  /** Where to write: a safetensors file, or a folder. */
  readonly output: string
  /** Names of layouts. */
  readonly layout: readonly string[]
  /** The layouts that the model has. Default: terge recognizes them. */
  readonly from?: readonly string[]
  /** Whether to drop tensors that the layout has no place for. */
  readonly drop?: boolean
  /** A configuration for a model that has none. */
  readonly config?: string
}

/**
 * The text of a recipe that writes one model in another layout, as `terge convert` makes it. Opens no model. Never throws.
 */
export function conversionRecipe(conversion: Conversion, options: NewRecipeOptions = {}): string {
  const { folder = process.cwd(), recipeFolder = path.resolve(folder) } = options
  const { model, output, layout, from = [], drop, config } = conversion
  const reference = (given: string): string => yamlText(referenceFrom(given, folder, recipeFolder))
  // A plus sign is part of the name: adapters are not converted.
  const { name } = nameModels([model.replaceAll('+', '-')], folder, recipeFolder, existsSync)[0]!
  const names = (all: readonly string[]): string =>
    all.length === 1 ? yamlText(all[0]!) : `[${all.map(yamlText).join(', ')}]`
  return [
    'terge: 1',
    'models:',
    `  ${yamlText(name)}:`,
    `    path: ${reference(model)}`,
    ...(from.length > 0 ? [`    layout: ${names(from)}`] : []),
    ...(config === undefined ? [] : [`    config: ${reference(config)}`]),
    'output:',
    `  path: ${reference(output)}`,
    `  from: ${yamlText(name)}`,
    `  layout: ${names(layout)}`,
    ...(drop ? ['  drop: true'] : []),
    '',
  ].join('\n')
}

/** Recipes of merges with a weight per block, from lists as other tools write them. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { isOutputFile, OUTPUT } from '../../checkpoints/containers/index.js'
import { fault } from '../../core/diagnostics.js'
import { nearest, quote } from '../../core/suggest.js'
import { shortened, unetBlocks } from '../../networks/unetBlocks.js'
import { FileProblem, readRegularSync } from '../../storage/local/regular.js'
import { inspect } from '../inspect.js'
import type { NewRecipeOptions } from '../newRecipes/init.js'
import { nameModels, yamlText } from '../newRecipes/oneLine.js'
import { notedMerge, numberList, presetsIn } from './blockLists.js'

/** How a list of block weights becomes a recipe. */
export interface BlockWeightOptions extends NewRecipeOptions {
  /** The weight of tensors outside blocks, for 25 or 19 numbers. Longer lists begin with it. */
  readonly base?: number
}

/** In bytes. */
const MOST_PRESETS = 2 ** 22
const FORMS = 'write numbers separated by commas, a file with them, or FILE:NAME for a preset in a file'

interface Given {
  readonly numbers: readonly number[]
  readonly difference?: boolean
}

/**
 * The text of a recipe for a merge with a weight per block of the UNet of Stable Diffusion. `weights`: 25 or 19 numbers, or 26 or 20
 * with BASE first; a file with them; `FILE:NAME` for a preset in a file of presets; or a file that SuperMerger wrote. With two models A
 * and B, the result is A + α (B − A). With a third, C, it is A + α (B − C). If A is SDXL, a list for Stable Diffusion 1 is shortened as
 * other tools do it. Writes nothing.
 *
 * @throws `bad-flag` if the weights cannot be read, or there are not two or three models
 * @throws the errors of `inspect` for the first model, if it exists
 */
export async function importBlockWeights(
  weights: string,
  models: readonly string[],
  options: BlockWeightOptions = {},
): Promise<string> {
  const { folder = process.cwd(), recipeFolder = folder } = options
  if (models.length !== 2 && models.length !== 3)
    throw fault(
      'bad-flag',
      `block weights need two or three models, not ${models.length}`,
      'write A and B for A + α (B − A), or A, B and C for A + α (B − C)',
    )
  const { numbers, difference } = await numbersOf(weights, folder)
  if (difference !== undefined && difference !== (models.length === 3))
    throw fault(
      'bad-flag',
      `${weights} was merged from ${difference ? 'three models: A + α (B − C)' : 'two models: A (1 − α) + B α'}`,
      `give ${difference ? 'three models' : 'two models'}`,
    )
  const named = nameModels(models, folder, recipeFolder, existsSync)
  const first = path.resolve(folder, named[0]!.model)
  const blocks = existsSync(first) ? unetBlocks((await inspect(first)).tensors) : undefined
  const list = withBase(numbers, options.base, weights)
  const short = blocks && list.length - 1 > blocks.count ? shortened(list, blocks.count) : list
  const [a, b, c] = named.map(({ name }) => yamlText(name))
  const single = isOutputFile(named[0]!.model)
  return `${[
    `# Weights per block: ${c === undefined ? `${a} + α (${b} − ${a})` : `${a} + α (${b} − ${c})`}.`,
    ...(short === list ? [] : ['# The list is shortened for SDXL: without IN09 to IN11 and OUT09 to OUT11.']),
    'terge: 1',
    'models:',
    ...named.map(({ name, entry }) => `  ${yamlText(name)}: ${entry}`),
    `base: ${c ?? a}`,
    'merge:',
    '  method: task_arithmetic',
    `  models: [${c === undefined ? b : `${a}, ${b}`}]`,
    '  weights:',
    ...(c === undefined ? [] : [`    ${a}: 1`]),
    `    ${b}:`,
    `      # BASE, ${short.length === 26 ? 'IN00 to IN11, M00, OUT00 to OUT11' : 'IN00 to IN08, M00, OUT00 to OUT08'}`,
    `      mbw: [${short.join(', ')}]`,
    `output: merged${single ? OUTPUT.extension : ''}`,
  ].join('\n')}\n`
}

/** A list with BASE first. */
function withBase(numbers: readonly number[], base: number | undefined, written: string): readonly number[] {
  const { length } = numbers
  if (length === 26 || length === 20) {
    if (base === undefined) return numbers
    throw fault('bad-flag', `the weights have ${length} numbers, of which the first is BASE`, 'remove --mbw-base')
  }
  if (length !== 25 && length !== 19)
    throw fault(
      'bad-flag',
      `${quote(written)} has ${length} numbers`,
      'write 25 numbers for Stable Diffusion 1 and 2, 19 for SDXL, or one more with BASE first',
    )
  if (base !== undefined) return [base, ...numbers]
  throw fault(
    'bad-flag',
    `the weights have ${length} numbers, and none of them is for tensors outside blocks`,
    'add --mbw-base NUMBER, or write BASE as the first number',
  )
}

async function numbersOf(written: string, folder: string): Promise<Given> {
  const list = numberList(written)
  if (list) return { numbers: list }
  const whole = path.resolve(folder, written)
  if (existsSync(whole)) return isOutputFile(written) ? ofMerged(written, whole) : { numbers: preset(written, whole) }
  const [, file, name] = /^(.+):([^:]+)$/s.exec(written) ?? []
  if (file === undefined || !existsSync(path.resolve(folder, file)))
    throw fault('bad-flag', `--mbw ${quote(written)} is neither a list of numbers nor a file`, FORMS)
  return { numbers: preset(file, path.resolve(folder, file), name) }
}

async function ofMerged(shown: string, file: string): Promise<Given> {
  const { sd_merge_recipe: noted } = (await inspect(file)).metadata
  const merge = noted === undefined ? 'its metadata has no sd_merge_recipe' : notedMerge(noted)
  if (typeof merge === 'string') throw fault('bad-flag', `${shown} gives no block weights: ${merge}`, FORMS)
  return merge
}

function preset(shown: string, file: string, name?: string): readonly number[] {
  const presets = presetsIn(textOf(shown, file))
  const only = presets.size === 1 ? [...presets.values()][0] : undefined
  const found = name === undefined ? only : presets.get(name)
  if (found) return found
  if (presets.size === 0) throw fault('bad-flag', `${shown} has no list of numbers`, FORMS)
  const names = [...presets.keys()]
  const some = name === undefined ? names.slice(0, 5) : nearest(name, names, 3)
  throw fault(
    'bad-flag',
    name === undefined ? `${shown} has ${presets.size} presets` : `${shown} has no preset ${quote(name)}`,
    `write ${shown}:NAME${some.length > 0 ? `, such as ${some.join(', ')}` : ''}`,
  )
}

function textOf(shown: string, file: string): string {
  try {
    return readRegularSync(file, MOST_PRESETS).toString('utf8')
  } catch (error) {
    if (!(error instanceof FileProblem)) throw error
    throw fault('bad-flag', `--mbw ${shown} ${error.message}`, FORMS)
  }
}

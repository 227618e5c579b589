/** Errors and warnings about files of activations, which `rebasin` and `zip` read in the same form. */
import { plural } from '../../core/words.js'
import type { Faults } from '../../language/faults.js'
import type { MeasuredFile, RecipeHead } from '../../language/types.js'

/** A correlation needs two samples. */
export const LEAST_SAMPLES = 2

export const RECORD_ROWS = 'store one row per sample; terge inspect MODEL --spec shows the sizes of the groups'

/** A function that reports an error at a file, and returns what the plan of a refused step is. */
export const refuser =
  <T>(recipe: RecipeHead, faults: Faults, refused: T) =>
  (code: 'bad-statistics' | 'missing-statistics', { at }: MeasuredFile, message: string, hint: string): T => {
    faults.error(code, message, recipe.placeOf(at, 'value'), hint)
    return refused
  }

export const unfitting = ({ of }: MeasuredFile, wrong: { readonly name: string; readonly message: string }): string =>
  `the activations of ${of} do not fit the network: ${wrong.name} ${wrong.message}`

export const lackingTensor = (name: string, file: MeasuredFile, other: MeasuredFile): string =>
  `the activations of ${file.of} have no tensor ${name}, which those of ${other.of} have`

export const notNumbers = (name: string, dtype: string): string =>
  `the activations in ${name} are ${dtype}, not floating-point numbers`

export const tooFew = (name: string, samples: number): string =>
  `${name} has ${plural(samples, 'sample')}; a correlation needs at least ${LEAST_SAMPLES}`

/** Warning: `foreign-statistics` for tensors of no group. */
export function warnForeign(recipe: RecipeHead, file: MeasuredFile, foreign: readonly string[], faults: Faults): void {
  if (foreign.length === 0) return
  faults.warn(
    'foreign-statistics',
    `the activations of ${file.of} have ${plural(foreign.length, 'tensor')} that belong to no group, such as ${foreign[0]}`,
    recipe.placeOf(file.at, 'value'),
    'terge ignores them; name a tensor after its group, such as fc1, or fc1@relu',
  )
}

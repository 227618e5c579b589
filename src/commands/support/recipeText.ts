import { toJson } from '../../ui/text.js'
import { writeNewText } from './files.js'
import { print } from './print.js'

/** Prints a recipe, or writes it to a file that must not exist yet. JSON has no comments. Errors: `file-exists`, `missing-folder`. */
export async function writeRecipe(recipe: string, format: 'text' | 'json', file: string | undefined): Promise<void> {
  const text = format === 'json' ? `${toJson((await import('../../index.js')).recipeAsData(recipe))}\n` : recipe
  if (file === undefined) print(text)
  else await writeNewText(file, text)
}

import { toJson } from '../../ui/text.js'
import { writeNewText } from './files.js'
import { print } from './print.js'

/** Prints a recipe that terge made, or writes it to a file that must not exist yet; as JSON without its comments. */
export async function tellRecipe(recipe: string, format: 'text' | 'json', file: string | undefined): Promise<void> {
  const text = format === 'json' ? `${toJson((await import('../../index.js')).recipeAsData(recipe))}\n` : recipe
  if (file === undefined) print(text)
  else await writeNewText(file, text)
}

import { printable, toJson } from '../../ui/text.js'
import { writeText } from './files.js'
import { print } from './print.js'

interface Target {
  readonly output?: string | undefined
  readonly force: boolean
}

/** Prints a recipe, or writes it to a file. With `force`, an existing file is replaced. JSON has no comments. Errors: `file-exists`, `missing-folder`. */
export async function writeRecipe(recipe: string, format: 'text' | 'json', { output, force }: Target): Promise<void> {
  const text = format === 'json' ? `${toJson((await import('../../index.js')).recipeAsData(recipe))}\n` : recipe
  if (output === undefined) return print(text)
  await writeText(output, text, { force })
  if (format === 'text') print(`wrote ${printable(output)}`)
}

import { readText } from './source.js'
import { toPlain } from './tree.js'

/** A generated recipe as plain data, without comments. As JSON it is also YAML, and therefore a recipe. */
export function plainRecipe(text: string): unknown {
  const { root } = readText('recipe', text)
  if (!root) throw new Error('internal: a generated recipe is not valid YAML')
  return toPlain(root)
}

import { readText } from './source.js'
import { toPlain } from './tree.js'

/** A recipe of our own making as plain data, comments apart: written as JSON it is YAML still, and so a recipe. */
export function plainRecipe(text: string): unknown {
  const { root } = readText('recipe', text)
  if (!root) throw new Error('internal: a generated recipe is not valid YAML')
  return toPlain(root)
}

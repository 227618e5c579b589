import type { Json } from '../../core/json/shape.js'
import { plainRecipe } from '../../language/plain.js'
import { jsonChanges } from '../../review/json.js'
import type { Change } from '../../review/types.js'

/** Keys of the texts that differ; empty if one of them cannot be read. */
export function recipeChanges(a: string | undefined, b: string): Change[] {
  if (a === undefined) return []
  try {
    return jsonChanges(plainRecipe(a) as Json, plainRecipe(b) as Json)
  } catch {
    return []
  }
}

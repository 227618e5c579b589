import type { Checkpoint } from '../checkpoints/types.js'
import { quote } from '../core/suggest.js'
import type { Recipe } from '../recipe/types.js'
import type { Faults } from './report.js'

/** Small files of a folder that belong to its tokenizer. */
const TOKENIZER = /^(tokenizer|special_tokens_map|added_tokens|vocab|merges|spiece|sentencepiece|chat_template)/

/** The model that the recipe names for its tokenizer; undefined where that is the base's. */
export const tokenizerLender = ({ tokenizer, models }: Recipe): string | undefined =>
  typeof tokenizer === 'string' && tokenizer !== 'base' && models.has(tokenizer) ? tokenizer : undefined

/**
 * Names of the small files that an output takes over, each with the model it comes from. The tokenizer of another model
 * is taken as it is, which makes sense only for a vocabulary of the same size: embeddings stay in the base's order.
 * Faults: `no-tokenizer`, `tokenizer-vocabulary`; a warning says that rows are not rearranged.
 */
export function sidecarsOf(
  recipe: Recipe,
  origin: string,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  faults: Faults,
): { name: string; model: string }[] {
  const of = (model: string, wanted: (name: string) => boolean) =>
    checkpoints
      .get(model)!
      .sidecars.filter(wanted)
      .map((name) => ({ name, model }))
  const lender = tokenizerLender(recipe)
  if (lender === undefined || lender === origin) return of(origin, () => true)
  const place = recipe.placeOf(['tokenizer'])
  const lent = of(lender, (name) => TOKENIZER.test(name))
  if (lent.length === 0) faults.error('no-tokenizer', `the model ${quote(lender)} has no tokenizer`, place)
  const [own, other] = [origin, lender].map((model) => checkpoints.get(model)!.config?.vocab_size)
  if (own !== other && own !== undefined && other !== undefined) {
    const message = `the tokenizer of ${quote(lender)} has ${other} tokens, and the result ${own} embeddings`
    faults.error('tokenizer-vocabulary', message, place, 'name a model with the same vocabulary')
  } else {
    const message = `the tokenizer of ${quote(lender)} is taken as it is; embeddings stay in the order of ${quote(origin)}`
    faults.warn('tokenizer-as-it-is', message, place, 'right where both have the same tokens at the same places')
  }
  return [...of(origin, (name) => !TOKENIZER.test(name)), ...lent].sort((a, b) => (a.name < b.name ? -1 : 1))
}

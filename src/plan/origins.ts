/** Which models a recipe is made of, and whose form its results have. */
import { tokenizerModels } from '../recipe/tokenizer.js'
import type { Recipe } from '../recipe/types.js'
import { usesOf } from '../recipe/uses.js'
import { kindOf } from '../steps/index.js'

/** Models and steps that a recipe's outputs are made of. */
const usedBy = (recipe: Recipe): Set<string> =>
  new Set([...recipe.outputs.map((output) => output.from), ...recipe.steps.flatMap(usesOf)])

/** Models that outputs are made of, in the recipe's order. */
export function participantsOf(recipe: Recipe): string[] {
  const used = usedBy(recipe)
  return [...recipe.models.keys()].filter((name) => used.has(name))
}

/** The models that a recipe's outputs need, in the recipe's order. */
export function modelsOf(recipe: Recipe): string[] {
  const used = usedBy(recipe)
  for (const step of recipe.steps) for (const name of kindOf(step).files?.(step, recipe.models) ?? []) used.add(name)
  for (const name of tokenizerModels(recipe.tokenizer, recipe.chatTemplate, recipe.models)) used.add(name)
  const adapters = new Set([...used].map((name) => recipe.models.get(name)?.lora))
  return [...recipe.models.keys()].filter((name) => used.has(name) || adapters.has(name))
}

/**
 * The model whose config and tokenizer go with a model's or a step's result. Of a recipe with faults it may be no model's name.
 */
export function originOf(recipe: Pick<Recipe, 'steps'>, name: string): string {
  const steps = new Map(recipe.steps.map((step) => [step.name, step]))
  let origin = name
  for (let step = steps.get(name); step; step = steps.get(origin)) {
    // Steps with faults may go in circles: each is passed once.
    steps.delete(step.name)
    origin = kindOf(step).like(step)
  }
  return origin
}

/** Models whose own names are those of a result; all others are read under the base's. */
export function anchorsOf(recipe: Recipe): Set<string> {
  const bases = recipe.steps.flatMap((step) => (kindOf(step).sharesNames ? [kindOf(step).like(step)] : []))
  return new Set([...bases, ...recipe.outputs.map(({ from }) => from)].map((name) => originOf(recipe, name)))
}

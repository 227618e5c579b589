/** Which models a recipe uses, and which model its results resemble in names, config and tokenizer. */
import { tokenizerModels } from '../recipe/tokenizer/read.js'
import type { Recipe } from '../recipe/types.js'
import { reachedFrom, usesOf } from '../recipe/uses.js'
import { kindOf } from '../steps/index.js'

/** The models and steps that outputs and steps use. */
const usedBy = (recipe: Recipe): Set<string> =>
  new Set([...recipe.outputs.map((output) => output.from), ...recipe.steps.flatMap(usesOf)])

/** The merged models, in the recipe's order. */
export function mergedModels(recipe: Recipe): string[] {
  const used = usedBy(recipe)
  return [...recipe.models.keys()].filter((name) => used.has(name))
}

/** All models that the outputs need, also for statistics, tokenizers and adapters, in the recipe's order. */
export const modelsOf = (recipe: Recipe): string[] => withCompanions(recipe, usedBy(recipe), recipe.steps)

/** All models that one output was made from, also for statistics, tokenizers and adapters, in the recipe's order. */
export function modelsFor(recipe: Parts, from: string): string[] {
  const reached = reachedFrom(from, recipe.steps)
  const steps = recipe.steps.filter(({ name }) => reached.has(name))
  return withCompanions(recipe, new Set(reached), steps)
}

type Parts = Pick<Recipe, 'models' | 'steps'> & Partial<Pick<Recipe, 'tokenizer' | 'chatTemplate'>>

/** Adds what models and steps read besides models. */
function withCompanions(recipe: Parts, used: Set<string>, steps: Recipe['steps']): string[] {
  for (const step of steps) for (const name of kindOf(step).files?.(step, recipe.models) ?? []) used.add(name)
  for (const name of tokenizerModels(recipe.tokenizer, recipe.chatTemplate, recipe.models)) used.add(name)
  const adapters = new Set([...used].map((name) => recipe.models.get(name)?.lora))
  return [...recipe.models.keys()].filter((name) => used.has(name) || adapters.has(name))
}

/**
 * The model whose config and tokenizer a model's or step's result has. If the recipe has errors, the name may belong to
 * no model.
 */
export function originOf(recipe: Pick<Recipe, 'steps'>, name: string): string {
  const steps = new Map(recipe.steps.map((step) => [step.name, step]))
  let origin = name
  for (let step = steps.get(name); step; step = steps.get(origin)) {
    // Steps with errors may form a cycle, so each step is followed once.
    steps.delete(step.name)
    origin = kindOf(step).like(step)
  }
  return origin
}

/** Models whose vocabulary a result gets. They are not computed with row by row. */
export const donorsOf = ({ steps }: Pick<Recipe, 'steps'>): string[] =>
  steps.flatMap((step) => kindOf(step).donor?.(step) ?? [])

/** The models whose tokenizers cut texts of steps into tokens. */
export const cutBy = (recipe: Pick<Recipe, 'models' | 'steps'>): string[] =>
  recipe.steps.flatMap((step) => {
    const model = kindOf(step).cuts?.(step)
    if (model === undefined) return []
    const origin = originOf(recipe, model)
    const lora = recipe.models.get(origin)?.lora
    return lora === undefined ? [origin] : [origin, lora]
  })

/** Models whose tensor names the results keep, and donors of vocabularies. All other models are read under the base's names. */
export function anchorsOf(recipe: Recipe): Set<string> {
  const bases = recipe.steps.flatMap((step) => (kindOf(step).sharesNames ? [kindOf(step).like(step)] : []))
  const donors = donorsOf(recipe)
  return new Set([...bases, ...donors, ...recipe.outputs.map(({ from }) => from)].map((name) => originOf(recipe, name)))
}

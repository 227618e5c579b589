/** Which models of a recipe are computed with each other, and so have to have one layout. */
import type { OutputSpec, Recipe } from '../../recipe/types.js'
import { usesOf } from '../../recipe/uses.js'
import { kindOf } from '../../steps/index.js'
import { originOf } from '../origins.js'

export interface Together {
  /** The model whose layout the others are read in. */
  readonly base: string
  readonly models: ReadonlySet<string>
  readonly outputs: readonly OutputSpec[]
}

/** `whole`: the recipe that `recipe` is a part of. */
export function computedTogether(recipe: Recipe, whole: Recipe): readonly Together[] {
  const parents = new Map<string, string>()
  const root = (name: string): string => {
    let at = name
    while (parents.has(at)) at = parents.get(at)!
    return at
  }
  for (const step of recipe.steps)
    for (const name of [...usesOf(step), kindOf(step).like(step)]) {
      if (name === kindOf(step).donor?.(step)) continue
      const [a, b] = [root(step.name), root(name)]
      if (a !== b) parents.set(b, a)
    }
  const first = originOf(whole, whole.outputs[0]!.from)
  const groups = new Map<string, { base: string; models: Set<string>; outputs: OutputSpec[] }>()
  const group = (name: string, base: string) => {
    const key = root(name)
    const found = groups.get(key) ?? { base, models: new Set<string>(), outputs: [] }
    groups.set(key, found)
    return found
  }
  for (const output of recipe.outputs) group(output.from, originOf(recipe, output.from)).outputs.push(output)
  for (const [name, { companion }] of recipe.models) {
    if (companion !== undefined) continue
    const found = groups.get(root(name))
    if (!found) continue
    found.models.add(name)
    if (name === first) found.base = first
  }
  return [...groups.values()]
}

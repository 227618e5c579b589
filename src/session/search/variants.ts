/** Plans of a recipe with other values. Its models are opened once. */
import { type Diagnostic, Fault, fault } from '../../core/diagnostics.js'
import type { LoadOptions } from '../../recipe/load.js'
import type { Recipe } from '../../recipe/types.js'
import type { Point } from '../../search/types.js'
import { refuseCommands } from '../checks/commands.js'
import { makeOpener, type OpenedModel } from '../opened/models.js'
import { type OpenedRecipe, openVariant, type Prepared, planOpened } from '../plan.js'
import { load } from '../recipe.js'
import { plainCommand, setText } from './bestRecipe.js'
import { endPoints, searchProblems } from './space.js'

export interface Variants {
  /** The recipe as it is written. It has a search. */
  readonly recipe: Recipe
  /** The plan with the recipe's own values. */
  readonly own: Prepared
  /** Models of the plans at the ends of the space, by reference. */
  readonly models: ReadonlyMap<string, OpenedModel>
  /** Plans the recipe with other values. Error: a `Fault` if they are not possible. */
  plan(point: Point): Promise<Prepared>
}

/** Opens the models of a recipe, and plans the ends of its search. Errors: those of planning and of the search, all at once. */
export async function openVariants(file: string, options: LoadOptions, allowed: boolean): Promise<Variants> {
  const { recipe, diagnostics } = load(file, options)
  // Only the models show whether a recipe without a base is wrong.
  const text = recipe ?? (await openOnce(file, options)).opened.recipe
  if (!recipe && !text) throw new Fault(diagnostics)
  const { search } = text
  if (!search)
    throw fault(
      'missing-key',
      `${file}: the recipe has no search`,
      'add search: {parameters: …, objective: …}; see docs/search.md',
    )
  const problems = searchProblems(text)
  if (problems.length > 0) throw new Fault(problems)
  if (!allowed) refuseCommands(text, [search.evaluate])
  const command = search.evaluate ? [`evaluate=${JSON.stringify(plainCommand(search.evaluate))}`] : []
  const base = [...(options.set ?? []), ...command]
  const { opened, open } = await openOnce(file, { ...options, set: base })
  const planned = async (point: Point): Promise<Prepared> => {
    const set = [...base, ...search.dimensions.map((one, at) => setText(one, point[at]!))]
    const named = { file, options: { ...options, set } }
    const variant = (await openVariant(named, { open, started: 0 })).opened
    // A file that changes during the search is noticed: its state is compared with the first one.
    return planOpened({ ...variant, states: new Map([...variant.states, ...opened.states]) })
  }
  const { own, models } = await planEnds(text, opened, planned)
  return { recipe: text, own, models, plan: planned }
}

async function openOnce(file: string, options: LoadOptions) {
  const once = async () => {
    const open = makeOpener()
    return { open, ...(await openVariant({ file, options }, { open, started: Date.now() })) }
  }
  const first = await once()
  if (first.wait === 0) return first
  // A file that changed at the moment it was read could have the same state before and after.
  await new Promise((resolve) => setTimeout(resolve, first.wait))
  return once()
}

/** Plans the recipe itself and the ends of its space. Errors are placed at the parameter. */
async function planEnds(recipe: Recipe, opened: OpenedRecipe, planned: Variants['plan']) {
  const own = await planOpened(opened)
  const refused: Diagnostic[] = []
  const models = new Map<string, OpenedModel>()
  for (const { point, dimension } of endPoints(recipe.search!)) {
    try {
      const { plan, models: used } = await planned(point)
      for (const { name, reference } of plan.models) models.set(reference, used.get(name)!)
    } catch (error) {
      if (!(error instanceof Fault) || error.exit !== 2) throw error
      const where =
        dimension === undefined ? [...recipe.search!.at, 'parameters'] : recipe.search!.dimensions[dimension]!.at
      const value = dimension === undefined ? '' : `${JSON.stringify(point[dimension])}: `
      refused.push(
        ...error.diagnostics
          .filter(({ severity }) => severity === 'error')
          .map((one) => ({ ...one, message: `${value}${one.message}`, place: recipe.placeOf(where) })),
      )
    }
  }
  if (refused.length > 0) throw new Fault(refused)
  const { outputs } = own.plan
  const several = outputs.length > 1 || outputs[0]?.point !== undefined
  if (several)
    throw new Fault([
      {
        severity: 'error',
        code: 'search-output',
        message: `a search compares one checkpoint per trial, and this recipe makes ${outputs.length}`,
        place: recipe.placeOf(recipe.search!.at, 'key'),
        hint: 'keep one output, without the points of a path',
      },
    ])
  return { own, models }
}

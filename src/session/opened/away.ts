/** The files of a plan that are not on this machine. */
import { Fault } from '../../core/diagnostics.js'
import type { Plan } from '../../plan/types.js'
import type { Recipe } from '../../recipe/types.js'
import { isCached } from '../../storage/remote/place.js'
import type { Fetch } from '../../storage/remote/types.js'
import { checkSum, type OpenedModel, placed } from './models.js'

export interface AwayFile {
  /** Index into `Plan.files`. */
  readonly file: number
  readonly fetch: Fetch
  /** Names its content: files with the same are fetched once. */
  readonly content: string
  /** Checks the fetched file against the recipe. Error: `sha256-differs`. */
  readonly check: (place: string, signal?: AbortSignal) => Promise<void>
  /** Adds the place in the recipe to an error. */
  readonly blame: (error: unknown) => unknown
}

/** What of a plan and its models decides which files are elsewhere. */
export interface Sources {
  readonly plan: Plan
  readonly recipe: Recipe
  readonly models: ReadonlyMap<string, OpenedModel>
}

export async function awayFiles({ plan, recipe, models }: Sources): Promise<AwayFile[]> {
  const found: AwayFile[] = []
  let file = 0
  for (const { name } of plan.models) {
    const model = models.get(name)!
    const byPlace = new Map(model.fetches.map((fetch) => [fetch.place, fetch]))
    const source = recipe.models.get(name)
    for (const { path: place } of model.checkpoint.files) {
      const fetch = byPlace.get(place)
      // The content can be in the cache for another revision.
      if (fetch && !(await isCached(fetch.content.target, fetch.content.size)))
        found.push({
          ...{ file, fetch, content: fetch.content.target },
          check: (at, signal) => checkSum(recipe, name, model, at, { signal }),
          blame: (error) => (source && error instanceof Fault ? placed(recipe, source.at, error) : error),
        })
      file++
    }
  }
  return found
}

/** What is to be fetched into the cache: without the files that come only for the run. */
export function withoutAway(
  models: ReadonlyMap<string, OpenedModel>,
  away: readonly AwayFile[],
): Map<string, OpenedModel> {
  const coming = new Set(away.map(({ fetch }) => fetch))
  return new Map(
    [...models].map(([name, model]) => [
      name,
      { ...model, fetches: model.fetches.filter((fetch) => !coming.has(fetch)) },
    ]),
  )
}

/** Models that have no such files. */
export function modelsHere(
  models: ReadonlyMap<string, OpenedModel>,
  away: readonly AwayFile[],
): Map<string, OpenedModel> {
  const coming = new Set(away.map(({ fetch }) => fetch.place))
  return new Map([...models].filter(([, { checkpoint }]) => !checkpoint.files.some(({ path }) => coming.has(path))))
}

/** Where the inputs of a lineage are on this machine. */
import path from 'node:path'
import { addressIn } from '../../core/names/fileNames.js'
import { hubParts, s3Parts } from '../../language/names.js'
import { exists } from '../../lineage/disk.js'
import type { Lineage, LineageModel } from '../../lineage/types.js'
import { loadRecipe } from '../../recipe/load.js'

/** Most folders between a lineage and the folder of its recipe. */
const HIGHEST = 4

/**
 * A lineage has references as in the recipe, but not the recipe's folder. Of the lineage's folder, the folders above it
 * and the working folder, chooses the first in which most references exist.
 */
export async function findRecipeFolder(lineage: Lineage, folder: string, given?: string): Promise<string | undefined> {
  if (given !== undefined) return path.resolve(given)
  const references = Object.values(lineage.models)
    .map((model) => model.reference)
    .filter((reference) => addressIn(reference) === undefined && !path.isAbsolute(reference))
  if (references.length === 0) return undefined
  let best: { candidate: string; count: number } | undefined
  // An output such as out/name/t-0.500 lies below the folder of its recipe.
  const candidates = [folder]
  for (let depth = 0; depth < HIGHEST; depth++) candidates.push(path.dirname(candidates.at(-1)!))
  for (const candidate of [...candidates, process.cwd()]) {
    const there = await Promise.all(references.map((reference) => exists(path.resolve(candidate, reference))))
    const count = there.filter(Boolean).length
    if (!best || count > best.count) best = { candidate, count }
  }
  return best?.candidate
}

/** The recipe of a lineage as options for reading it. A pattern means the checkpoints of that run, whatever it matches now. */
export const recordedRecipe = ({ recipe: { text, set }, models }: Lineage) => ({
  ...{ text, set },
  matched: Object.values(models).map(({ reference }) => reference),
})

/** The paths of a lineage's models on this machine. Models elsewhere that are not in the cache have none. */
export async function inputPlaces(lineage: Lineage, folder: string): Promise<Map<LineageModel, string>> {
  // Only the recipe has the subfolder of a model.
  const { recipe } = loadRecipe(path.join(folder, 'recipe.yml'), recordedRecipe(lineage))
  const places = new Map<LineageModel, string>()
  for (const [name, model] of Object.entries(lineage.models)) {
    const { subfolder = '' } = recipe?.models.get(name) ?? {}
    const place = await placeOfModel(folder, model, subfolder)
    if (place !== undefined) places.set(model, place)
  }
  return places
}

/**
 * The path of a model that a lineage or a lock names. `folder`: that of the recipe. Undefined for a model elsewhere that is not pinned, or
 * not in the cache.
 */
export async function placeOfModel(
  folder: string,
  {
    reference,
    revision,
    files,
  }: Pick<LineageModel, 'reference' | 'files'> & { readonly revision?: string | undefined },
  subfolder = '',
): Promise<string | undefined> {
  const hub = hubParts(reference)
  const s3 = s3Parts(reference)
  if (!hub && !s3) return path.resolve(folder, reference, subfolder)
  if (revision === undefined || !/^[0-9a-f]{40}$/.test(revision)) return undefined
  const place = hub ? await hubPlace(hub.repository, revision, subfolder) : await s3Place(s3!, files, revision)
  return (await exists(place)) ? place : undefined
}

async function hubPlace(repository: string, commit: string, subfolder: string): Promise<string> {
  const { cachedPlace } = await import('../../storage/hub/cache.js')
  return cachedPlace(repository, commit, subfolder)
}

/** A cached revision of a store is that of one model: its subfolder is part of it. */
async function s3Place(
  { bucket, key }: { bucket: string; key: string },
  [file]: LineageModel['files'],
  revision: string,
): Promise<string> {
  const { cachedPlace } = await import('../../storage/s3/cache.js')
  const place = await cachedPlace(bucket, revision)
  return file && path.posix.basename(key) === file.name ? path.join(place, file.name) : place
}

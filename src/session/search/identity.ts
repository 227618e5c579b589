/** What identifies a search: its recipe, the content of its inputs, and its settings. */
import { availableParallelism } from 'node:os'
import { recordOf } from '../../core/collections/ownValue.js'
import { type Fault, fault } from '../../core/diagnostics.js'
import { sha256 } from '../../core/digest.js'
import type { Json } from '../../core/json/shape.js'
import { byteProgress } from '../../execute/byteProgress.js'
import { smallFiles } from '../../execute/outputs.js'
import { type KnownDigests, knownKey } from '../../execute/trials/trial.js'
import { bytesToDigest, digestCheckpoints } from '../../lineage/digestCheckpoint.js'
import type { Recipe } from '../../recipe/types.js'
import { jsonChanges } from '../../review/json.js'
import type { Change } from '../../review/types.js'
import { plainVariant } from './bestRecipe.js'
import type { SearchOptions } from './options.js'
import type { SearchIdentity } from './trialLines.js'
import type { Variants } from './variants.js'

/**
 * Reads the tensors of all models once. Their digests identify the search, and no trial has to compute them again. Errors: those of
 * reading, `interrupted`.
 */
export async function identify(
  { recipe, own, models }: Variants,
  { threads = availableParallelism(), listen, signal }: SearchOptions,
): Promise<{ readonly identity: SearchIdentity; readonly known: KnownDigests }> {
  const checkpoints = [...models.values()].map(({ checkpoint }) => checkpoint)
  const progress = byteProgress(listen, 'search', bytesToDigest(checkpoints))
  const digests = await digestCheckpoints(checkpoints, {
    ...{ threads, ...(signal ? { signal } : {}) },
    progress: (read, tensor) => progress.add(read, `reading ${tensor}`),
  })
  progress.end('all models read')
  const known: KnownDigests = new Map()
  for (const [index, { files, stored }] of checkpoints.entries())
    for (const [name, place] of stored)
      known.set(knownKey(files[place.file]!.path, place), digests[index]!.tensors.get(name)!)
  const beside = await smallFiles(own.plan.outputs[0]!, own.bindings)
  const inputs = {
    models: recordOf(
      [...models.keys()].map((reference, index) => [reference, sha256(JSON.stringify(digests[index]!.files))]),
    ),
    files: recordOf(beside.map(({ name, content }) => [name, sha256(content)])),
  }
  return { identity: { ...identityOf(recipe), inputs }, known }
}

/** Without what decides no trial: how many there are at most, how many at the same time, and when to give up. */
function identityOf(recipe: Recipe): Pick<SearchIdentity, 'recipe' | 'search'> {
  const { dimensions, objective, method, seed } = recipe.search!
  const plain = plainVariant(
    recipe,
    dimensions.map(() => 0),
  )
  const search = {
    parameters: recordOf(dimensions.map(({ path, range }) => [path, range])),
    ...{ objective, method, seed },
  }
  return { recipe: asJson(plain), search: asJson(search) }
}

const asJson = (value: unknown): Json => JSON.parse(JSON.stringify(value)) as Json

/** What a search cannot go on with. */
export function changedSearch(file: string, before: SearchIdentity, now: SearchIdentity): Fault | undefined {
  const changes = [
    ...jsonChanges(before.recipe, now.recipe).map((change) => changeText('the recipe’s ', change)),
    ...jsonChanges(before.search, now.search).map((change) => changeText('search.', change)),
    ...jsonChanges(before.inputs, now.inputs).map(
      ({ what }) => `the content of ${what.replace(/^(models|files)\./, '')}`,
    ),
  ]
  if (changes.length === 0) return undefined
  const shown = changes.slice(0, MOST_SHOWN).join('; ')
  const more = changes.length > MOST_SHOWN ? `; and ${changes.length - MOST_SHOWN} more` : ''
  return fault(
    'search-changed',
    `${file} is of another search. What has changed: ${shown}${more}`,
    'change it back to resume, or begin again with --force',
  )
}

const MOST_SHOWN = 5

const changeText = (whose: string, { what, a, b }: Change): string =>
  `${whose}${what} (${a === undefined ? 'nothing' : JSON.stringify(a)} → ${b === undefined ? 'nothing' : JSON.stringify(b)})`

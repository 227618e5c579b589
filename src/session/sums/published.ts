/** The SHA-256 of files as the hub publishes it: of large files, which are in its storage. */
import { readlink } from 'node:fs/promises'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import type { Plan } from '../../plan/types.js'
import type { Recipe } from '../../recipe/types.js'
import type { OpenedModel } from '../opened/models.js'

/** By `Plan.files`: 64 hexadecimal digits, or undefined. */
export async function publishedSums({
  plan,
  models,
  recipe,
}: {
  readonly plan: Plan
  readonly recipe: Recipe
  readonly models: ReadonlyMap<string, OpenedModel>
}): Promise<readonly (string | undefined)[]> {
  const sums: (string | undefined)[] = []
  for (const { name } of plan.models) {
    const { checkpoint, fetches } = models.get(name)!
    const isHub = recipe.models.get(name)?.origin === 'hub'
    const coming = new Map(fetches.map(({ place, file }) => [place, file.sha256]))
    for (const { path: place } of checkpoint.files)
      sums.push(isHub ? (coming.get(place) ?? (await sumOfBlob(place))) : undefined)
  }
  return sums
}

/** The cache of the hub names a large file by its SHA-256. */
async function sumOfBlob(place: string): Promise<string | undefined> {
  const blob = path.basename(await readlink(place).catch(() => ''))
  return /^[0-9a-f]{64}$/.test(blob) ? blob : undefined
}

/** Compares a computed SHA-256 with the published one. Error with exit 1: `hub-digest`. */
export function refuseOther(shown: string, computed: string, published: string | undefined): void {
  if (published === undefined || computed === `sha256:${published}`) return
  throw fault(
    'hub-digest',
    `${shown}: SHA-256 is ${computed.replace(/^sha256:/, '')}, but the hub publishes ${published}`,
    'the file in the cache is damaged: remove it, so that it is downloaded again',
    1,
  )
}

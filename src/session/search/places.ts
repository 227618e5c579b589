/** Where the checkpoints of trials are made: one place per evaluation that runs at the same time, beside the output. */
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { irreplaceable } from '../../checkpoints/replaceable.js'
import type { UnitRecord } from '../../execute/units/records.js'
import type { PlanOutput } from '../../plan/types.js'
import { discard, openStaging, type Staging, settleStaging } from '../../storage/local/staging.js'

/** A place for one checkpoint after another. */
export interface TrialPlace {
  readonly index: number
  readonly staging: Staging
  /** What was done for the checkpoint that is there. */
  records: readonly UnitRecord[]
}

/** The path that would be the output's: it names the hidden work folder, and a single file in it. */
function placePath(output: string, layout: PlanOutput['layout'], index: number | string): string {
  const { dir, name, ext, base } = path.parse(output)
  return path.join(dir, layout === 'file' ? `${name}.trial-${index}${ext}` : `${base}.trial-${index}`)
}

/** Claims the places, and removes what a killed search left. Errors: `output-in-use`, `cannot-write`. */
export async function openPlaces(output: string, layout: PlanOutput['layout'], count: number): Promise<TrialPlace[]> {
  const places: TrialPlace[] = []
  try {
    for (let index = 0; index < count; index++) {
      const options = { kind: layout, force: false, resume: false, irreplaceable, sync: false }
      places.push({ index, staging: await openStaging(placePath(output, layout, index), options), records: [] })
    }
    await dropOthers(output, layout, count)
    return places
  } catch (error) {
    await closePlaces(places)
    throw error
  }
}

/** A search with more places may have been killed. */
async function dropOthers(output: string, layout: PlanOutput['layout'], count: number): Promise<void> {
  const [before, after] = placePath(output, layout, '\0').split('\0') as [string, string]
  const start = `.terge-${path.basename(before)}`
  for (const name of await readdir(path.dirname(output)).catch(() => [])) {
    if (!name.startsWith(start) || !name.endsWith(after)) continue
    const index = name.slice(start.length, name.length - after.length)
    if (!/^\d{1,3}$/.test(index) || Number(index) < count) continue
    // Somebody else's search may run there.
    await settleStaging(placePath(output, layout, index), { kind: layout, drop: true }).catch(() => {})
  }
}

export async function closePlaces(places: readonly TrialPlace[]): Promise<void> {
  for (const { staging } of [...places].reverse()) await discard(staging)
}

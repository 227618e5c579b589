/** Reads the path that a folder has: the points of an interpolation with their metrics. */
import path from 'node:path'
import { Fault } from '../../core/diagnostics.js'
import { lineagesIn, readLineage, readText } from '../disk.js'
import type { Lineage } from '../types.js'
import { MAX_SUMMARY, type PathSummary, parseSummary, SUMMARY, summaryOf } from './summary.js'

/**
 * The path in a folder: from its summary, or, where a run was interrupted or did not write one, from the lineages of its points.
 * Undefined if the folder has no points, or points of several paths.
 *
 * @throws `bad-summary` if `summary.json` is not a summary of a path
 * @throws `too-long` or `cannot-read` if it cannot be read
 */
export async function readPath(folder: string): Promise<PathSummary | undefined> {
  const file = path.join(folder, SUMMARY.json)
  const written = await readText(file, MAX_SUMMARY)
  if (written !== undefined) return parseSummary(written, file)
  const points: { lineage: Lineage; file: string }[] = []
  for (const name of await lineagesIn(folder)) {
    const lineage = await lineageAt(path.join(folder, name))
    if (lineage?.output.point) points.push({ lineage, file: name })
  }
  const keys = new Set(points.map(({ lineage }) => JSON.stringify([lineage.output.from, lineage.plan.digest])))
  return keys.size === 1 ? summaryOf(points) : undefined
}

/**
 * The path that a lineage is a point of. `file`: where the lineage is. Undefined if the point is alone in its folder.
 *
 * @throws the errors of `readPath` for the folder of the path
 */
export async function readPathOf({ output, plan }: Lineage, file: string): Promise<PathSummary | undefined> {
  const { point, from } = output
  if (!point) return undefined
  const folder = path.dirname(path.resolve(file))
  const found = await readPath(path.basename(file) === 'lineage.json' ? path.dirname(folder) : folder)
  const isOwn = found?.step === from && found.plan.digest === plan.digest
  return isOwn && found.points.some(({ name, t }) => name === point.name && t === point.t) ? found : undefined
}

/** Undefined for what is not a lineage. */
async function lineageAt(file: string): Promise<Lineage | undefined> {
  try {
    return (await readLineage(file)).lineage
  } catch (error) {
    if (error instanceof Fault) return undefined
    throw error
  }
}

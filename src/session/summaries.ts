/**
 * Summaries of paths: the metrics of all points of an interpolation in one file next to them. The run that publishes the last point
 * writes it, from the lineages of all points. It is removed before a run replaces the first point, so that it never lies next to
 * points of another run.
 */
import { rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { type Diagnostic, Fault, fault } from '../core/diagnostics.js'
import { withSlashes } from '../core/names/fileNames.js'
import type { Bindings } from '../execute/types.js'
import { readText } from '../lineage/disk.js'
import {
  MAX_SUMMARY,
  type PathSummary,
  parseSummary,
  SUMMARY,
  summaryCsv,
  summaryJson,
  summaryOf,
} from '../lineage/path/summary.js'
import type { Lineage } from '../lineage/types.js'
import type { Plan } from '../plan/types.js'
import { replaceFile } from '../storage/local/replaceFile.js'
import { lineagePathOf } from './proof/finished.js'

/** An interpolation of a plan. */
export interface PlannedPath {
  /** Absolute. */
  readonly folder: string
  readonly step: string
  /** Indexes into `Plan.outputs`. */
  readonly outputs: readonly number[]
  readonly evaluated: boolean
}

export function plannedPaths({ outputs }: Plan, places: Bindings['outputs']): PlannedPath[] {
  const found = new Map<number, PlannedPath>()
  for (const [index, { spec, point, evaluate }] of outputs.entries()) {
    if (!point) continue
    const known = found.get(spec)?.outputs ?? []
    const folder = path.dirname(places[index]!)
    found.set(spec, { folder, step: point.step, outputs: [...known, index], evaluated: evaluate !== undefined })
  }
  return [...found.values()]
}

const files = ({ folder }: PlannedPath): string[] => Object.values(SUMMARY).map((name) => path.join(folder, name))

/**
 * Refuses to replace files that are not the summary of this plan, without `force`, and folders in any case. Error: `output-exists`.
 */
export async function refuseSummaries(
  paths: readonly PlannedPath[],
  { digest }: Plan,
  { force, resume }: { readonly force: boolean; readonly resume: boolean },
): Promise<void> {
  const refused: Diagnostic[] = []
  for (const one of paths.filter(({ evaluated }) => evaluated)) {
    const own = await summaryIn(one)
    const mayReplace = force || (resume && own?.step === one.step && own.plan.digest === digest)
    for (const file of files(one)) {
      const entry = await stat(file).catch(() => undefined)
      if (!entry || (mayReplace && entry.isFile())) continue
      const [what, hint] = entry.isFile()
        ? ['exists already', 'use --force to replace it']
        : ['is not a file', 'choose another path']
      refused.push(
        ...fault('output-exists', `${file}: ${what}, but the summary of the path needs this name`, hint).diagnostics,
      )
    }
  }
  if (refused.length > 0) throw new Fault(refused)
}

/** The summary that terge wrote there; undefined if there is another file, or none. */
async function summaryIn({ folder }: PlannedPath): Promise<PathSummary | undefined> {
  try {
    const text = await readText(path.join(folder, SUMMARY.json), MAX_SUMMARY)
    return text === undefined ? undefined : parseSummary(text, SUMMARY.json)
  } catch (error) {
    if (error instanceof Fault) return undefined
    throw error
  }
}

/** Removes the summaries of the paths that these outputs are points of. */
export async function dropSummaries(paths: readonly PlannedPath[], outputs: readonly number[]): Promise<void> {
  for (const one of paths)
    if (one.outputs.some((output) => outputs.includes(output)) && (await summaryIn(one)))
      for (const file of files(one)) await rm(file, { force: true })
}

/** Writes the summaries of all paths with metrics, and returns their files. `lineages`: by output. Error: `cannot-write`. */
export async function writeSummaries(
  paths: readonly PlannedPath[],
  plan: Plan,
  bindings: Bindings,
  lineages: ReadonlyMap<number, Lineage>,
  sync: boolean,
): Promise<string[]> {
  const written: string[] = []
  for (const one of paths) {
    const points = one.outputs.map((index) => ({
      lineage: lineages.get(index)!,
      file: withSlashes(path.relative(one.folder, lineagePathOf(plan, bindings, index))),
    }))
    const summary = points.some(({ lineage }) => lineage.evaluations) ? summaryOf(points) : undefined
    if (!summary) continue
    const texts = [summaryJson(summary), summaryCsv(summary)]
    for (const [index, file] of files(one).entries()) {
      const before = await readText(file, MAX_SUMMARY).catch(() => undefined)
      if (before !== texts[index]) await replaceFile(file, texts[index]!, sync)
      written.push(file)
    }
  }
  return written
}

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
import { addressBelow, addressText, outputAddress } from '../language/addresses.js'
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
import type { Plan, PlanOutput } from '../plan/types.js'
import type { Recipe } from '../recipe/types.js'
import { replaceFile } from '../storage/local/replaceFile.js'
import { type Reach, type RemoteSummary, remoteSummary } from './destinations/pathSummaries.js'
import { lineagePathOf } from './proof/finished.js'

/** An interpolation of a plan. */
export interface PlannedPath {
  /** Absolute, or an address. */
  readonly folder: string
  /** If it is not on this machine. */
  readonly remote?: RemoteSummary
  readonly step: string
  /** Indexes into `Plan.outputs`. */
  readonly outputs: readonly number[]
  readonly evaluated: boolean
}

export function plannedPaths(
  { outputs }: Plan,
  places: Bindings['outputs'],
  recipe: Pick<Recipe, 'outputs'>,
  reach: Reach,
): PlannedPath[] {
  const found = new Map<number, PlannedPath>()
  for (const [index, { spec, point, evaluate }] of outputs.entries()) {
    if (!point) continue
    const before = found.get(spec)
    if (before) {
      found.set(spec, { ...before, outputs: [...before.outputs, index] })
      continue
    }
    const place = places[index]!
    const address = outputAddress(recipe.outputs[spec]!.path)
    const at = address
      ? { folder: addressText(address), remote: remoteSummary(address, place, reach) }
      : { folder: path.dirname(place) }
    found.set(spec, { ...at, step: point.step, outputs: [index], evaluated: evaluate !== undefined })
  }
  return [...found.values()]
}

const files = ({ folder }: PlannedPath): string[] => Object.values(SUMMARY).map((name) => path.join(folder, name))

/**
 * Refuses to replace files that are not the summary of this plan, without `force`, and folders in any case. Error: `output-exists`.
 */
export async function refuseSummaries(
  paths: readonly PlannedPath[],
  plan: Plan,
  { force, resume }: { readonly force: boolean; readonly resume: boolean },
): Promise<void> {
  const refused: Diagnostic[] = []
  for (const one of paths.filter(({ evaluated }) => evaluated)) {
    if (one.remote) {
      await one.remote.refuse(plan, { force, resume })
      continue
    }
    const own = await summaryIn(one)
    const mayReplace = force || (resume && own?.step === one.step && own.plan.digest === plan.digest)
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

/** Removes the summaries of the paths that these outputs are points of. `force`: those of other runs may be there. */
export async function dropSummaries(
  paths: readonly PlannedPath[],
  outputs: readonly number[],
  force: boolean,
): Promise<void> {
  for (const one of paths) {
    if (!one.outputs.some((output) => outputs.includes(output))) continue
    if (one.remote) {
      if (force || one.evaluated) await one.remote.drop()
    } else if (await summaryIn(one)) for (const file of files(one)) await rm(file, { force: true })
  }
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
      file: lineageIn(one, plan.outputs[index]!, lineagePathOf(plan, bindings, index)),
    }))
    const summary = points.some(({ lineage }) => lineage.evaluations) ? summaryOf(points) : undefined
    if (!summary) continue
    const [json, csv] = [summaryJson(summary), summaryCsv(summary)]
    if (one.remote) {
      await one.remote.write(plan, json, csv)
      written.push(...Object.values(SUMMARY).map((name) => addressBelow(outputAddress(one.folder)!, name)))
      continue
    }
    const texts = [json, csv]
    for (const [index, file] of files(one).entries()) {
      const before = await readText(file, MAX_SUMMARY).catch(() => undefined)
      if (before !== texts[index]) await replaceFile(file, texts[index]!, sync)
      written.push(file)
    }
  }
  return written
}

/** The name of a point's lineage, relative to the folder of the path. */
const lineageIn = ({ folder, remote }: PlannedPath, { layout, point }: PlanOutput, file: string): string => {
  if (!remote) return withSlashes(path.relative(folder, file))
  return layout === 'folder' ? `${point!.name}/${path.basename(file)}` : path.basename(file)
}

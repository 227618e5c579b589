/** `SHA256SUMS` and `NAME.sha256`: the SHA-256 of all files of outputs, for `sha256sum -c`. */
import { rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { type Diagnostic, Fault, fault } from '../../core/diagnostics.js'
import { openSums } from '../../execute/hashing/sums.js'
import { checksumsName } from '../../execute/outputs.js'
import type { Bindings } from '../../execute/types.js'
import { readText } from '../../lineage/disk.js'
import type { Lineage } from '../../lineage/types.js'
import type { Plan } from '../../plan/types.js'
import { replaceFile } from '../../storage/local/replaceFile.js'
import { addressOf } from '../destinations/places.js'
import type { Prepared } from '../plan.js'
import { lineagePathOf } from '../proof/finished.js'
import { checksumsText } from './checksumsText.js'

/** The plan with checksums for all outputs, if they are wanted whatever the recipe says. */
export const withChecksums = (prepared: Prepared, wanted: boolean): Prepared => {
  if (!wanted) return prepared
  const outputs = prepared.plan.outputs.map((output) => ({ ...output, checksums: true as const }))
  return { ...prepared, plan: { ...prepared.plan, outputs } }
}

/** In characters: a line per file. */
const MOST = 2 ** 24
const LINE = /^\\?[0-9a-f]{64} [ *]./

/** The local path of the file of an output; undefined if it has none there. */
function checksumsPath({ outputs }: Plan, places: Bindings['outputs'], index: number): string | undefined {
  const { layout, keep } = outputs[index]!
  if (!keep || addressOf(outputs[index]!)) return undefined
  const place = places[index]!
  return path.join(layout === 'folder' ? place : path.dirname(place), checksumsName(layout, place))
}

/** Whether terge wrote the file at this path for the file of an output. */
async function isOurs(file: string, place: string): Promise<boolean> {
  const text = await readText(file, MOST).catch(() => undefined)
  const lines = text?.split('\n').filter((line) => line !== '') ?? []
  const first = checksumsText([{ name: path.basename(place), sha256: '' }]).replace(/^\\? {2}|\n$/g, '')
  return lines.length > 0 && lines.every((line) => LINE.test(line)) && lines[0]!.endsWith(`  ${first}`)
}

/** The wanted files beside outputs that are a single file. */
const besideFiles = (plan: Plan, places: Bindings['outputs']) =>
  [...plan.outputs.entries()].flatMap(([index, { layout, checksums }]) => {
    const file = layout === 'file' ? checksumsPath(plan, places, index) : undefined
    return file === undefined ? [] : [{ index, file, place: places[index]!, wanted: checksums === true }]
  })

/** Refuses to replace another file beside an output without `force`. Error: `output-exists`. */
export async function refuseChecksums(
  plan: Plan,
  places: Bindings['outputs'],
  { force, resume }: { readonly force: boolean; readonly resume: boolean },
): Promise<void> {
  const refused: Diagnostic[] = []
  for (const { file, place, wanted } of besideFiles(plan, places)) {
    const entry = wanted ? await stat(file).catch(() => undefined) : undefined
    if (!entry || (entry.isFile() && (force || (resume && (await isOurs(file, place)))))) continue
    const [what, hint] = entry.isFile()
      ? ['exists already', 'use --force to replace it']
      : ['is not a file', 'choose another path']
    refused.push(...fault('output-exists', `${file}: ${what}, but the checksums need this name`, hint).diagnostics)
  }
  if (refused.length > 0) throw new Fault(refused)
}

/** Removes the checksums of a single file that is about to be replaced, so that they never lie beside another one. */
export async function dropChecksums(
  plan: Plan,
  places: Bindings['outputs'],
  outputs: readonly number[],
): Promise<void> {
  for (const { index, file, place } of besideFiles(plan, places))
    if (outputs.includes(index) && (await isOurs(file, place))) await rm(file, { force: true })
}

/**
 * Writes the files of published outputs, where they are missing or differ: beside single files, and in folders that an earlier run has
 * finished. Errors: `cannot-write`, `cannot-read`.
 */
export async function writeChecksums(
  plan: Plan,
  bindings: Bindings,
  lineages: ReadonlyMap<number, Lineage>,
  { sync, signal }: { readonly sync: boolean; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const sums = openSums({ threads: 1, signal })
  try {
    for (const [index, { layout, checksums }] of plan.outputs.entries()) {
      const file = checksums ? checksumsPath(plan, bindings.outputs, index) : undefined
      if (file === undefined) continue
      const place = bindings.outputs[index]!
      const lineage = lineagePathOf(plan, bindings, index)
      const listed = lineages.get(index)!.output.files.map(({ name, sha256 }) => ({
        name: layout === 'file' ? path.basename(place) : name,
        sha256: sha256!,
      }))
      const card = path.join(place, 'README.md')
      const others = [lineage, ...(layout === 'folder' ? [card] : [])]
      for (const other of others) listed.push({ name: path.basename(other), sha256: await sums.of(other) })
      const text = checksumsText(listed)
      if ((await readText(file, MOST).catch(() => undefined)) !== text) await replaceFile(file, text, sync)
    }
  } finally {
    await sums.close()
  }
}

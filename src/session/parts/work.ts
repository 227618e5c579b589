/** The work folder of a run in parts: where it is, what it is for, and who works in it. */
import { lstat } from 'node:fs/promises'
import path from 'node:path'
import { Fault, fault } from '../../core/diagnostics.js'
import { VERSION } from '../../core/version.js'
import { addressText, type OutputAddress } from '../../language/addresses.js'
import { storedTensors } from '../../plan/stored.js'
import type { Plan } from '../../plan/types.js'
import { planUnits } from '../../plan/units.js'
import { bind, boundTo, isShared, openShared, readRecord } from '../../storage/local/shared/folder.js'
import { addressOf, workPath } from '../destinations/places.js'
import type { OpenedModel } from '../opened/models.js'
import type { Prepared } from '../plan.js'
import { type PartRecord, parsePartRecord } from './records.js'

/** The name of the analyses' record, and of the part that makes it. */
export const ANALYSE = 'analyse'
export const MOST_PARTS = 10_000

/** The names of what a folder is bound to. */
const [PLAN, PARTS] = ['plan', 'parts']

export const partName = (index: number, of: number): string => `part-${index}-of-${of}`
export const partText = (index: number, of: number): string => `${index}/${of}`

/** The work folder: the given one, or one beside the first output. Errors: `bad-value` for a store, `missing-flag`. */
export function workFolderOf({ plan, bindings }: Prepared, work: string | undefined): string {
  const [first] = bindings.outputs
  refuseWithoutWork(addressOf(plan.outputs[0]!), work)
  if (work === undefined) return path.join(path.dirname(first!), `.terge.parts-${path.basename(first!)}`)
  return workPath(work)
}

/** Machines must know where to meet. Error: `missing-flag`, if the first output is elsewhere. */
export function refuseWithoutWork(address: OutputAddress | undefined, work: string | undefined): void {
  if (work !== undefined || !address) return
  throw fault(
    'missing-flag',
    `parts of an output at ${addressText(address)} need --work`,
    'write --work with a folder that all machines share',
  )
}

/** Opens or makes the work folder of a plan. Errors: `other-work`, `foreign-work-folder`, `cannot-write`. */
export async function openWork(folder: string, plan: Plan, of?: number): Promise<void> {
  await openShared(folder)
  const text = boundPlan(plan)
  refuseOther(folder, await bind(folder, PLAN, text), text)
  if (of === undefined) return
  refuseOtherCount(folder, await bind(folder, PARTS, String(of)), of)
}

/** Error: `other-work` if a work folder has another number of parts. */
export function refuseOtherCount(folder: string, bound: string | number, of: number): void {
  if (String(bound) === String(of)) return
  throw fault(
    'other-work',
    `${folder}: has work in ${bound} parts, not in ${of}`,
    `use ${bound} parts, or remove the folder to begin again`,
  )
}

/** The number of parts of a work folder. Undefined if no part has been run. Errors: `other-work`, `foreign-work-folder`. */
export async function partsIn(folder: string, plan: Plan): Promise<number | undefined> {
  if (!(await isShared(folder))) return undefined
  const text = await boundTo(folder, PLAN)
  if (text !== undefined) refuseOther(folder, text, boundPlan(plan))
  const bound = await boundTo(folder, PARTS)
  if (bound === undefined) return undefined
  const count = /^\d{1,5}$/.test(bound.trim()) ? Number(bound) : 0
  if (count >= 1 && count <= MOST_PARTS) return count
  throw fault(
    'foreign-work-folder',
    `${folder}: its record of the number of parts is damaged`,
    'remove the folder and run the parts again',
  )
}

const boundPlan = ({ digest }: Plan): string => JSON.stringify({ terge: VERSION, plan: digest })

function refuseOther(folder: string, bound: string, wanted: string): void {
  if (bound === wanted) return
  const { terge, plan } = readBound(bound)
  const differs = plan === readBound(wanted).plan && terge !== VERSION
  throw fault(
    'other-work',
    differs
      ? `${folder}: has the work of terge ${terge}, and this is terge ${VERSION}`
      : `${folder}: has parts of another plan: the recipe, its options or the models’ tensors have changed since`,
    'remove the folder to begin again, or choose another with --work',
  )
}

function readBound(text: string): { terge?: unknown; plan?: unknown } {
  try {
    return JSON.parse(text) as object
  } catch {
    return {}
  }
}

/** Whether tensors of a plan need something that is found first. */
export const needsAnalyses = ({ plan, withRanks }: Prepared): boolean =>
  withRanks !== undefined || planUnits(plan).shared().length > 0

/** The complete record of a part; undefined if there is none, or it is damaged. */
export async function recordIn(
  folder: string,
  { digest }: Plan,
  name: string,
  part: string,
): Promise<PartRecord | undefined> {
  const text = await readRecord(folder, name)
  return text === undefined ? undefined : parsePartRecord(text, { plan: digest, part })
}

/** The plan with the ranks that an analysis found. */
export async function rankedBy(given: Prepared, record: PartRecord | undefined): Promise<Prepared> {
  if (!given.withRanks || !record) return given
  const ranks = new Map(record.ranks.map(([step, tensor, rank]) => [JSON.stringify([step, tensor]), rank]))
  const { withRanks: _, ...ranked } = await given.withRanks((step, tensor) => ranks.get(JSON.stringify([step, tensor])))
  return ranked
}

/**
 * The digests of a record that are still certain: of files with the same state as when they were read, and of files whose content
 * is pinned by a commit or an ETag of the plan.
 */
export function certainDigests({ plan, bindings }: Prepared, { digests, states }: PartRecord): Map<number, string> {
  const stored = storedTensors(plan)
  const certain = plan.files.map(({ model, etag }, file) => {
    const state = bindings.inputs[file]?.state
    const isPinned = etag !== undefined || /^[0-9a-f]{40}$/.test(plan.models[model]!.revision ?? '')
    return isPinned || (state !== undefined && states[file] === state)
  })
  return new Map(digests.filter(([number]) => certain[stored.placeOf(number).file]))
}

/** The models with only the downloads of these files of the plan. Models without such a file are not there. */
export function modelsWith(
  { plan, bindings, models }: Prepared,
  files: Iterable<number>,
): ReadonlyMap<string, OpenedModel> {
  const wanted = new Set([...files].map((file) => bindings.files[file]!))
  const used = new Set([...files].map((file) => plan.models[plan.files[file]!.model]!.name))
  return new Map(
    [...models].flatMap(([name, model]) =>
      used.has(name)
        ? [[name, { ...model, fetches: model.fetches.filter(({ place }) => wanted.has(place)) }] as const]
        : [],
    ),
  )
}

/** A part does not begin if its output exists on this machine. Error: `output-exists`. */
export async function refuseOutputs({ plan, bindings }: Prepared, force: boolean): Promise<void> {
  if (force) return
  const found: string[] = []
  for (const [index, output] of bindings.outputs.entries())
    if (!addressOf(plan.outputs[index]!) && (await lstat(output).catch(() => undefined))) found.push(output)
  if (found.length > 0)
    throw new Fault(
      found.flatMap(
        (output) => fault('output-exists', `${output}: exists already`, 'use --force to replace it').diagnostics,
      ),
    )
}

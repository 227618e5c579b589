/** What a place where parts meet is for, and what it has. */
import { lstat } from 'node:fs/promises'
import { Fault, fault } from '../../core/diagnostics.js'
import { VERSION } from '../../core/version.js'
import { storedTensors } from '../../plan/stored.js'
import type { Plan } from '../../plan/types.js'
import { planUnits } from '../../plan/units.js'
import { bind, boundTo, readRecord } from '../../storage/meeting/records.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import { addressOf } from '../destinations/places.js'
import type { OpenedModel } from '../opened/models.js'
import type { Prepared } from '../plan.js'
import type { Digests } from '../sums/digests.js'
import { type PartRecord, parsePartRecord, type RecordOf } from './records.js'

/** The name of the analyses' record, and of the part that makes it. */
export const ANALYSE = 'analyse'
export const MOST_PARTS = 10_000

/** The names of what a folder is bound to. */
const PLAN = 'plan'
export const PARTS = 'parts'

export const partName = (index: number, of: number): string => `part-${index}-of-${of}`
export const partText = (index: number, of: number): string => `${index}/${of}`

/** Binds the place to a plan, and to a number of parts. Errors: `other-work`, `foreign-work-folder`, `cannot-write`. */
export async function openWork(place: MeetingPlace, plan: Plan, of?: number): Promise<void> {
  await place.open()
  const text = boundPlan(plan)
  refuseOther(place, await bind(place, PLAN, text), text)
  if (of !== undefined) refuseOtherCount(place, await bind(place, PARTS, String(of)), of)
}

/**
 * The same for a place that is open: two processes with different plans can open it at the same moment. Errors: `other-work`;
 * `work-in-use` if somebody has finished the parts, or removed the place.
 */
export async function refuseOtherWork(place: MeetingPlace, plan: Plan, of?: number): Promise<void> {
  const [text, count] = [await boundTo(place, PLAN), of === undefined ? undefined : await boundTo(place, PARTS)]
  if (text === undefined || (of !== undefined && count === undefined))
    throw fault(
      'work-in-use',
      `${place.reference}: the parts were finished, or the work folder was removed, while this part ran`,
      'run --finish again: if something is missing, it says so',
    )
  refuseOther(place, text, boundPlan(plan))
  if (of !== undefined) refuseOtherCount(place, count!, of)
}

/** Error: `other-work` if a place has another number of parts. */
export function refuseOtherCount({ reference }: MeetingPlace, bound: string | number, of: number): void {
  if (String(bound) === String(of)) return
  const count = countIn(String(bound))
  throw fault(
    'other-work',
    `${reference}: has work in ${count ?? 'another number of'} parts, not in ${of}`,
    `${count === undefined ? '' : `use ${count} parts, or `}remove the work folder to begin again`,
  )
}

/** The number of parts of a place. Undefined if no part has been run. Errors: `other-work`, `foreign-work-folder`. */
export async function partsIn(place: MeetingPlace, plan: Plan): Promise<number | undefined> {
  if (!(await place.isThere())) return undefined
  const text = await boundTo(place, PLAN)
  if (text !== undefined) refuseOther(place, text, boundPlan(plan))
  const bound = await boundTo(place, PARTS)
  if (bound === undefined) return undefined
  const count = countIn(bound)
  if (count !== undefined) return count
  throw fault(
    'foreign-work-folder',
    `${place.reference}: its record of the number of parts is damaged`,
    'remove the work folder and run the parts again',
  )
}

function countIn(bound: string): number | undefined {
  const count = /^\d{1,5}$/.test(bound.trim()) ? Number(bound) : 0
  return count >= 1 && count <= MOST_PARTS ? count : undefined
}

const boundPlan = ({ digest }: Plan): string => JSON.stringify({ terge: VERSION, plan: digest })

/** Whether somebody still has to finish the parts of a place. */
export const isOpen = async (place: MeetingPlace): Promise<boolean> => (await boundTo(place, PARTS)) !== undefined

function refuseOther({ reference }: MeetingPlace, bound: string, wanted: string): void {
  if (bound === wanted) return
  const { terge, plan } = readBound(bound)
  const differs = plan === readBound(wanted).plan && terge !== VERSION && isVersion(terge)
  throw fault(
    'other-work',
    differs
      ? `${reference}: has the work of terge ${terge}, and this is terge ${VERSION}`
      : `${reference}: has parts of another plan: the recipe, its options or the models’ tensors have changed since`,
    'remove the work folder to begin again, or choose another with --work',
  )
}

const isVersion = (text: unknown): text is string => typeof text === 'string' && /^[\w.+-]{1,50}$/.test(text)

function readBound(text: string): { terge?: unknown; plan?: unknown } {
  try {
    const found: unknown = JSON.parse(text)
    return typeof found === 'object' && found !== null ? found : {}
  } catch {
    return {}
  }
}

/** Whether tensors of a plan need something that is found first. */
export const needsAnalyses = ({ plan, withRanks }: Prepared): boolean =>
  withRanks !== undefined || planUnits(plan).shared().length > 0

/** The complete record of a part; undefined if there is none, or it is damaged. */
export async function recordIn(place: MeetingPlace, name: string, of: RecordOf): Promise<PartRecord | undefined> {
  const text = await readRecord(place, name)
  return text === undefined ? undefined : parsePartRecord(text, of)
}

/** The plan with the ranks that an analysis found. */
export async function rankedBy(given: Prepared, record: PartRecord | undefined): Promise<Prepared> {
  if (!given.withRanks || !record) return given
  const ranks = new Map(record.ranks.map(([step, tensor, rank]) => [JSON.stringify([step, tensor]), rank]))
  const { withRanks: _, ...ranked } = await given.withRanks((step, tensor) => ranks.get(JSON.stringify([step, tensor])))
  return ranked
}

/**
 * What a record says of files is still certain if they have the same state as when they were read, or if their content is pinned by a
 * commit or an ETag of the plan. By `Plan.files`.
 */
const certainFiles = ({ plan, bindings }: Prepared, { states }: PartRecord): boolean[] =>
  plan.files.map(({ model, etag }, file) => {
    const state = bindings.inputs[file]?.state
    const isPinned = etag !== undefined || /^[0-9a-f]{40}$/.test(plan.models[model]!.revision ?? '')
    return isPinned || (state !== undefined && states[file] === state)
  })

/** The digests of stored tensors of a record that are still certain. */
export function certainDigests(prepared: Prepared, record: PartRecord): Map<number, string> {
  const stored = storedTensors(prepared.plan)
  const certain = certainFiles(prepared, record)
  return new Map(record.digests.filter(([number]) => certain[stored.placeOf(number).file]))
}

/** The SHA-256 of files that are still certain. */
export function certainSums(prepared: Prepared, record: PartRecord): Map<number, string> {
  const certain = certainFiles(prepared, record)
  return new Map(record.sums.filter(([file]) => certain[file]))
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

/** Parts are recognized by digests. Error: `contradiction`. */
export function refuseWithout(digests: Digests): void {
  if (digests === 'none')
    throw fault('contradiction', 'parts are recognized by digests, which --digests none skips', 'remove --digests none')
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

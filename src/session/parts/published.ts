/**
 * What `finishParts` has published elsewhere. The work folder of an uploaded output goes with everything else, so a small record stays
 * where parts meet: then the same command can be run again, on any machine.
 */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { VERSION } from '../../core/version.js'
import { readOwn, writeNew } from '../../storage/local/workFolder.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import { addressOf, withWork } from '../destinations/places.js'
import { publishedFiles } from '../destinations/published.js'
import type { Prepared } from '../plan.js'
import { plannedPaths } from '../summaries.js'
import { PARTS } from './work.js'

/** In bytes. The lineage of a million tensors is smaller. */
const MOST = 2 ** 30

const nameOf = (place: number, file: number): string => `published-${place}-${file}.record`

const isPublishedRecord = (name: string): boolean => /^published-\d+-\d+\.record$/.test(name)

/** The first line of a record. */
const headOf = ({ plan }: Prepared): string => JSON.stringify({ terge: VERSION, plan: plan.digest })

/** The files on this machine that say what was published, of outputs and of summaries, with their numbers. `work`: where outputs are made that are uploaded. */
function filesHere({ plan, bindings, recipe }: Prepared, work: string | undefined) {
  const places = withWork(plan, bindings.outputs, work)
  const outputs = places.filter((_, output) => addressOf(plan.outputs[output]!))
  const paths = plannedPaths(plan, places, recipe, { heads: new Map(), notice: () => {} })
  const summaries = paths.flatMap(({ remote }) => remote?.local ?? [])
  return [...outputs, ...summaries].flatMap((local, place) =>
    publishedFiles(local).map((file, index) => [place, index, file] as const),
  )
}

/** Records what was published, and ends the work in parts. */
export async function keepPublished(given: Prepared, place: MeetingPlace, work: string | undefined): Promise<void> {
  for (const [at, index, file] of filesHere(given, work)) {
    const text = await readOwn(file, MOST)
    if (text !== undefined) await place.write(nameOf(at, index), `${headOf(given)}\n${text}`)
  }
  // First: without it, nothing else counts.
  await place.remove(`${PARTS}.bound`)
  await place.clear(isPublishedRecord)
}

/** Lets this machine know what was published, whichever machine did it. */
export async function bringPublished(given: Prepared, place: MeetingPlace, work: string | undefined): Promise<void> {
  const files = filesHere(given, work)
  if (files.length === 0 || !(await place.isThere())) return
  for (const [at, index, file] of files) {
    const text = await place.read(nameOf(at, index), MOST)
    const head = `${headOf(given)}\n`
    if (!text?.startsWith(head)) continue
    await mkdir(path.dirname(file), { recursive: true })
    await writeNew(file, text.slice(head.length))
  }
}

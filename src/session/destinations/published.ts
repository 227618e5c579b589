/** What runs have published elsewhere, so that a resumed run recognizes it: a record in the folder of work, with a copy of the lineage. */
import path from 'node:path'
import { move } from '../../core/system/disk.js'
import { VERSION } from '../../core/version.js'
import type { Plan } from '../../plan/types.js'
import { makeFolder } from '../../storage/local/makeFolder.js'
import { readOwn, writeNew } from '../../storage/local/workFolder.js'
import { readReceipts } from '../../storage/remote/receipts.js'
import { type Destination, markOf, type Receipt, type SmallFile, type SmallMark } from '../../storage/remote/upload.js'
import { openDestination, smallNames, weightNames } from './open.js'
import { addressOf } from './places.js'

interface PublishedRecord {
  /** The form of receipts. */
  readonly uploads: 1
  readonly plan: string
  readonly terge: string
  readonly receipts: readonly Receipt[]
  readonly small: readonly SmallMark[]
}

/** In bytes. */
const MOST_RECORD = 256 * 2 ** 20

const recordOf = (local: string): string => path.join(path.dirname(local), 'published')
const lineageOf = (local: string): string => path.join(path.dirname(local), 'lineage.json')

/** The files that say what was published, the lineage first. */
export const publishedFiles = (local: string): readonly string[] => [lineageOf(local), recordOf(local)]

/** Notes that an output with this local path is published. The last small file is its lineage. */
export async function notePublished(
  local: string,
  plan: string,
  receipts: readonly Receipt[],
  small: readonly SmallFile[],
): Promise<void> {
  const record: PublishedRecord = { uploads: 1, plan, terge: VERSION, receipts, small: small.map(markOf) }
  const files = [
    [lineageOf(local), small.at(-1)!.content],
    [recordOf(local), `${JSON.stringify(record)}\n`],
  ] as const
  await makeFolder(path.dirname(local))
  for (const [file, content] of files) {
    await writeNew(`${file}.new`, content)
    await move(`${file}.new`, file)
  }
}

/** The copy of the lineage of an output that is published and unchanged; undefined for others. Asks the place. */
export async function publishedLineage(
  plan: Plan,
  index: number,
  local: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const output = plan.outputs[index]!
  const address = addressOf(output)
  const record = address && (await readRecord(recordOf(local)))
  if (!record || record.plan !== plan.digest || record.terge !== VERSION) return undefined
  if (record.receipts.length !== weightNames(output, address).length) return undefined
  // What this run would write may be more.
  if (smallNames(output, address).some((name) => !record.small.some((one) => one.name === name))) return undefined
  const destination = await openDestination(output, address, { force: true, notice: () => {} })
  return (await destination.has(record.receipts, record.small, signal)) ? lineageOf(local) : undefined
}

/** Whether exactly the small files that a run of this plan has published are there. */
export async function hasPublished(
  { digest }: Plan,
  local: string,
  destination: Destination,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const record = await readRecord(recordOf(local))
  return record?.plan === digest && (await destination.has([], record.small, signal))
}

async function readRecord(file: string): Promise<PublishedRecord | undefined> {
  try {
    const found = JSON.parse((await readOwn(file, MOST_RECORD)) ?? '') as Partial<PublishedRecord>
    const { plan, terge, small } = found
    const { receipts } = await readReceipts(file)
    const whole = typeof plan === 'string' && typeof terge === 'string' && Array.isArray(small)
    return whole && small.every(isMark) ? { uploads: 1, plan, terge, receipts, small } : undefined
  } catch {
    return undefined
  }
}

const isMark = ({ name, size, md5, sha256, git }: Partial<SmallMark>): boolean =>
  [name, md5, sha256, git].every((text) => typeof text === 'string') && Number.isSafeInteger(size)

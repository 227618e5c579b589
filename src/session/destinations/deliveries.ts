/** Uploads the outputs of a run that are not on this machine, and keeps a record of that for a resume. */
import path from 'node:path'
import { eachOf } from '../../core/collections/eachOf.js'
import type { Fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import type { Listener } from '../../execute/events.js'
import type { Bindings, Delivery, ExecuteOptions } from '../../execute/types.js'
import { addressText, type OutputAddress } from '../../language/addresses.js'
import type { Plan, PlanOutput } from '../../plan/types.js'
import { exists, placeOf } from '../../storage/local/recover.js'
import { readRegular } from '../../storage/local/regular.js'
import { readReceipts, writeReceipts } from '../../storage/remote/receipts.js'
import {
  type Destination,
  type Earlier,
  isWhole,
  type Published,
  type Receipt,
  type SmallFile,
  withoutDigests,
} from '../../storage/remote/upload.js'
import type { UploadSums } from '../sums/runSums.js'
import { type HubHeads, openDestination, smallNames, weightNames } from './open.js'
import { addressOf } from './places.js'
import { notePublished } from './published.js'

/** Questions at the same time. */
const PARALLEL = 4
/** Milliseconds between records of parts. A file's upload is recorded at once. */
const PAUSE = 2000
/** In bytes. The largest tokenizers have about 40 MB, and lineages of many tensors some hundred. */
const MOST_SMALL = 2 ** 31

/** What the parts of a run have uploaded. */
export interface Received {
  /** By output. */
  readonly of: (output: number) => Earlier | undefined
  /** The error for uploads that are no longer there. */
  readonly lost: (output: number, receipts: readonly Receipt[]) => Fault
  /** Called when files can become visible. */
  readonly publishing: () => Promise<void>
}

export interface DeliveryOptions {
  /** Outputs whose files leave as soon as they are complete. */
  readonly early: ReadonlySet<number>
  /** What parts have uploaded. */
  readonly received: Received | undefined
  readonly heads: HubHeads
  /** Hashes files before they leave. Absent: the lineage has no SHA-256. */
  readonly sums: UploadSums | undefined
}

/**
 * Executes a plan whose outputs can be elsewhere: checks their places before anything is read, and removes uploads whose work is not
 * kept after a failure. Returns what was published, by output.
 */
export async function withDeliveries(
  { outputs, digest }: Plan,
  bindings: Bindings,
  execution: ExecuteOptions,
  { early, received, heads, sums }: DeliveryOptions,
  work: (options: ExecuteOptions) => Promise<void>,
): Promise<ReadonlyMap<number, Published>> {
  const { finished = () => false, force, listen } = execution
  const notice = (message: string): void => listen({ kind: 'notice', message })
  const opened: Opened[] = []
  for (const [index, output] of outputs.entries()) {
    const address = addressOf(output)
    if (!address || finished(index)) continue
    const destination = await openDestination(output, address, { force, notice, heads })
    const local = bindings.outputs[index]!
    const ofParts = received?.of(index)
    const earlier = ofParts ?? (await readReceipts(placeOf(local, output.layout).uploads))
    const ofRun = { index, output, address, destination, local, plan: digest, earlier, early: early.has(index), sums }
    const one = ofParts ? { ...ofRun, received } : ofRun
    opened.push(openOne(one, execution))
  }
  if (opened.length > 0) await executeOpened(opened, execution, work)
  else await work(execution)
  return new Map(opened.flatMap(({ index, published }) => (published() ? [[index, published()!] as const] : [])))
}

async function executeOpened(
  opened: readonly Opened[],
  execution: ExecuteOptions,
  work: (options: ExecuteOptions) => Promise<void>,
): Promise<void> {
  for (const one of opened) await one.begin()
  try {
    await work({
      ...execution,
      deliveries: new Map(opened.map(({ index, delivery }) => [index, delivery])),
      // What was computed is not lost because of a network or somebody else's commit.
      keeps: () => opened.some(({ broken }) => broken()) && execution.signal?.aborted !== true,
      async before() {
        for (const one of opened) await one.dropEarlier()
        await execution.before?.()
      },
    })
  } catch (error) {
    for (const one of opened) await one.failed()
    throw error
  }
}

interface Opening {
  /** By `Plan.outputs`. */
  readonly index: number
  readonly output: PlanOutput
  readonly address: OutputAddress
  readonly destination: Destination
  /** Its local path. */
  readonly local: string
  /** The digest of the plan. */
  readonly plan: string
  readonly earlier: Earlier
  /** Whether files are uploaded as soon as they are complete. */
  readonly early: boolean
  /** Absent: the lineage has no SHA-256. */
  readonly sums: UploadSums | undefined
  /** If its files come from parts. */
  readonly received?: Received | undefined
}

interface Opened {
  readonly index: number
  readonly delivery: Delivery
  /** Whether an upload or the publication has failed. */
  readonly broken: () => boolean
  readonly published: () => Published | undefined
  /** Checks the place, before anything is read. */
  readonly begin: () => Promise<void>
  /** Without a resume, removes what an earlier run uploaded. Called when the local path is claimed. */
  readonly dropEarlier: () => Promise<void>
  /** Called after a failure. Removes uploads whose work is not kept. */
  readonly failed: () => Promise<void>
}

/** The receipts of an output, saved as they change. */
interface Receipts {
  readonly held: Map<string, Receipt>
  readonly note: (receipt: Receipt) => Promise<void>
  /** Notes that some files can be visible from now on. */
  readonly publish: () => Promise<void>
  readonly earlier: () => Earlier
}

function receiptsIn(record: string, { receipts, publishing: before }: Earlier): Receipts {
  const held = new Map(receipts.map((receipt) => [receipt.name, receipt]))
  let [publishing, saved] = [before, 0]
  const earlier = (): Earlier => ({ receipts: [...held.values()], publishing })
  // Saved one after another, so that an older state does not replace a newer one.
  let saving = Promise.resolve()
  const save = (): Promise<void> => {
    saving = saving.then(() => writeReceipts(record, earlier()))
    saved = performance.now()
    return saving
  }
  return {
    held,
    earlier,
    async note(receipt) {
      const isNew = held.get(receipt.name)?.upload?.id !== receipt.upload?.id
      held.set(receipt.name, receipt)
      if (isNew || isWhole(receipt) || performance.now() - saved > PAUSE) await save()
    },
    publish() {
      publishing = true
      return save()
    },
  }
}

function openOne(opening: Opening, { resume, listen, signal }: ExecuteOptions): Opened {
  const { index, output, address, destination, local, plan, earlier, early, received, sums } = opening
  const record = placeOf(local, output.layout).uploads
  const { held, note, ...receipts } = receiptsIn(record, resume ? earlier : { receipts: [], publishing: false })
  const names = weightNames(output, address)
  const progress = uploadProgress(listen, output.keep ? sum(output.files) : 0)
  const done = new Set<number>()
  let [broken, published]: [boolean, Published | undefined] = [false, undefined]
  /** An upload that is stopped because other work failed is not broken itself. */
  const noting = async <T>(work: () => Promise<T>, stop?: AbortSignal): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      broken ||= stop?.aborted !== true
      throw error
    }
  }
  const upload = async (
    file: number,
    place: string,
    digests?: readonly string[],
    stop: AbortSignal | undefined = signal,
  ): Promise<void> => {
    const options = { signal: stop, note, progress: progress.add, earlier: held.get(names[file]!) }
    const sum = sums ? { sha256: await sums.of(index, file, place) } : {}
    const one = { name: names[file]!, size: output.files[file]!.size, path: place, ...sum }
    await note({ ...(await destination.upload(one, options)), ...(digests ? { digests } : {}), ...sum })
    done.add(file)
  }
  const stagedAt = (folder: string, name: string): string => path.join(folder, ...name.split('/'))
  const publish = async (folder: string): Promise<void> => {
    for (const [file, name] of names.entries()) if (!done.has(file)) await upload(file, stagedAt(folder, name))
    progress.end()
    const small: SmallFile[] = []
    for (const name of smallNames(output, address))
      small.push({ name, content: await readRegular(stagedAt(folder, name), { most: MOST_SMALL }) })
    await receipts.publish()
    await received?.publishing()
    const whole = names.map((name) => held.get(name)!)
    published = await destination.publish(whole, small, signal)
    await notePublished(local, plan, whole, small)
  }
  const delivery: Delivery = {
    ...{ address: addressText(address), early },
    isDone: (file) => done.has(file),
    delivered(file) {
      const receipt = held.get(names[file]!)
      const isKnown = receipt && isWhole(receipt) && (!sums || receipt.sha256 !== undefined)
      return isKnown ? receipt.digests : undefined
    },
    take(file) {
      done.add(file)
      sums?.know(index, file, held.get(names[file]!)!.sha256!)
      progress.add(output.files[file]!.size)
    },
    deliver: (file, place, digests, stop) => noting(() => upload(file, place, digests, stop), stop),
    publish: (folder) => noting(() => publish(folder)),
  }
  return {
    ...{ index, delivery, broken: () => broken, published: () => published },
    async begin() {
      await destination.begin(receipts.earlier(), signal)
      const lost: Receipt[] = []
      await eachOf([...held.values()], PARALLEL, async (receipt) => {
        if (receipt.digests && !(early && (await destination.holds(receipt, signal)))) lost.push(receipt)
      })
      if (lost.length > 0 && received) throw received.lost(index, lost)
      for (const receipt of lost) held.set(receipt.name, withoutDigests(receipt))
    },
    dropEarlier: async () => {
      if (!resume) await destination.abort(earlier.receipts)
    },
    failed: async () => {
      // What parts have uploaded is theirs.
      if (held.size > 0 && !published && !received && !(await exists(record)))
        await destination.abort([...held.values()])
    },
  }
}

const sum = (files: PlanOutput['files']): number => files.reduce((bytes, { size }) => bytes + size, 0)

/** Reports how much of an output is uploaded. */
export function uploadProgress(listen: Listener, total: number): { add(bytes: number): void; end(): void } {
  let [sent, most] = [0, 0]
  const say = (done: number): void =>
    listen({
      ...{ kind: 'step', step: 'upload', text: `uploaded ${formatSize(done)} of ${formatSize(total)}` },
      ...{ fraction: total > 0 ? done / total : 1, bytes: { done, total } },
    })
  return {
    add(bytes) {
      sent += bytes
      // What is sent again is not counted twice.
      const done = Math.min(total - 1, Math.max(most, sent))
      if (done > most) say(done)
      most = done
    },
    end() {
      if (total > 0) say(total)
    },
  }
}

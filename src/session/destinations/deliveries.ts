/** Uploads the outputs of a run that are not on this machine, and keeps a record of that for a resume. */
import path from 'node:path'
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
} from '../../storage/remote/upload.js'
import { openDestination, smallNames, weightNames } from './open.js'
import { addressOf } from './places.js'

/** Milliseconds between records of parts. A file's upload is recorded at once. */
const PAUSE = 2000
/** In bytes. The largest tokenizers have about 40 MB, and lineages of many tensors some hundred. */
const MOST_SMALL = 2 ** 31

/**
 * Executes a plan whose outputs can be elsewhere: checks their places before anything is read, and removes uploads whose work is not
 * kept after a failure. Returns what was published, by output.
 */
export async function withDeliveries(
  { outputs }: Plan,
  bindings: Bindings,
  execution: ExecuteOptions,
  work: (options: ExecuteOptions) => Promise<void>,
): Promise<ReadonlyMap<number, Published>> {
  const { finished = () => false, force, listen } = execution
  const notice = (message: string): void => listen({ kind: 'notice', message })
  const opened: Opened[] = []
  for (const [index, output] of outputs.entries()) {
    const address = addressOf(output)
    if (!address || finished(index)) continue
    const destination = await openDestination(output, address, { force, notice })
    const record = placeOf(bindings.outputs[index]!, output.layout).uploads
    opened.push(
      openOne({ index, output, address, destination, record, earlier: await readReceipts(record) }, execution),
    )
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
      keeps: () => opened.some(({ begun }) => begun()) && execution.signal?.aborted !== true,
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
  /** The path of the record. */
  readonly record: string
  readonly earlier: Earlier
}

interface Opened {
  readonly index: number
  readonly delivery: Delivery
  /** Whether it has uploaded something and has not published it. */
  readonly begun: () => boolean
  readonly published: () => Published | undefined
  /** Checks the place, before anything is read. */
  readonly begin: () => Promise<void>
  /** Without a resume, removes what an earlier run uploaded. Called when the local path is claimed. */
  readonly dropEarlier: () => Promise<void>
  /** Called after a failure. Removes uploads whose work is not kept. */
  readonly failed: () => Promise<void>
}

function openOne(opening: Opening, { resume, listen, signal }: ExecuteOptions): Opened {
  const { index, output, address, destination, record, earlier } = opening
  const held = new Map<string, Receipt>(resume ? earlier.receipts.map((receipt) => [receipt.name, receipt]) : [])
  let [publishing, saved] = [resume && earlier.publishing, 0]
  let published: Published | undefined
  // Saved one after another, so that an older state does not replace a newer one.
  let saving = Promise.resolve()
  const save = (): Promise<void> => {
    saving = saving.then(() => writeReceipts(record, { receipts: [...held.values()], publishing }))
    saved = performance.now()
    return saving
  }
  const note = async (receipt: Receipt): Promise<void> => {
    const isNew = held.get(receipt.name)?.upload?.id !== receipt.upload?.id
    held.set(receipt.name, receipt)
    if (isNew || isWhole(receipt) || performance.now() - saved > PAUSE) await save()
  }
  async function publish(folder: string): Promise<void> {
    const names = weightNames(output, address)
    const total = output.files.reduce((sum, { size }) => sum + size, 0)
    const progress = uploadProgress(listen, total)
    const receipts: Receipt[] = []
    for (const [file, name] of names.entries()) {
      const { size } = output.files[file]!
      const options = { signal, note, progress: progress.add, earlier: held.get(name) }
      receipts.push(await destination.upload({ name, size, path: path.join(folder, ...name.split('/')) }, options))
    }
    progress.end()
    const small: SmallFile[] = []
    for (const name of smallNames(output, address))
      small.push({ name, content: await readRegular(path.join(folder, ...name.split('/')), { most: MOST_SMALL }) })
    publishing = true
    await save()
    published = await destination.publish(receipts, small, signal)
  }
  return {
    index,
    begun: () => held.size > 0 && !published,
    published: () => published,
    begin: () => destination.begin({ receipts: [...held.values()], publishing }, signal),
    dropEarlier: async () => {
      if (!resume) await destination.abort(earlier.receipts)
    },
    failed: async () => {
      if (held.size > 0 && !published && !(await exists(record))) await destination.abort([...held.values()])
    },
    delivery: { address: addressText(address), publish },
  }
}

/** Reports how much of an output is uploaded. */
function uploadProgress(listen: Listener, total: number): { add(bytes: number): void; end(): void } {
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
    end: () => say(total),
  }
}

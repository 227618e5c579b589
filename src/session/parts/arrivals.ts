/** Pieces of outputs that parts have left in a place without a shared file system, on their way to this machine. */
import { mkdir, open, rm } from 'node:fs/promises'
import path from 'node:path'
import { OUTPUT } from '../../checkpoints/containers/index.js'
import { eachStopping } from '../../core/collections/eachOf.js'
import type { Fault } from '../../core/diagnostics.js'
import { formatSize } from '../../core/sizes.js'
import { attempt } from '../../core/system/attempt.js'
import { flushHandle } from '../../core/system/disk.js'
import type { Listener } from '../../execute/events.js'
import { partsIn } from '../../plan/placements.js'
import type { Plan } from '../../plan/types.js'
import { openCommon, openShared, outputFolder, removeShared } from '../../storage/local/shared/folder.js'
import { statusOf } from '../../storage/local/workFolder.js'
import type { MeetingPlace } from '../../storage/meeting/types.js'
import type { ArrivedFile } from './arrived.js'
import type { Leaving } from './place.js'

export interface Arrivals {
  /** The folder of an output's files; undefined if they do not come from parts. */
  readonly folder: (output: number) => string | undefined
  /** Makes the folders. */
  readonly open: () => Promise<void>
  /** Brings all pieces. */
  readonly bring: () => Promise<void>
  readonly remove: () => Promise<void>
}

export interface ArrivalOptions {
  readonly plan: Plan
  /** Local paths, by output. */
  readonly outputs: readonly string[]
  readonly place: MeetingPlace
  readonly leaving: Leaving
  readonly arrived: readonly ArrivedFile[]
  readonly sync: boolean
  readonly listen: Listener
  readonly signal?: AbortSignal | undefined
  readonly lost: (files: readonly ArrivedFile[]) => Fault
}

/** In the name of the folder beside an output. */
const BESIDE = '.terge.arriving-'
/** A folder that may be in a work folder. */
const COMING = 'try-0000000000000000'
const PARALLEL = 4
const BUFFER = 2 ** 22

export function arrivals(options: ArrivalOptions): Arrivals {
  const { plan, outputs, place, leaving, arrived, listen } = options
  const left = [...leaving.all].filter((output) => !leaving.uploaded.has(output))
  const folderOf = (output: number): string =>
    path.join(path.dirname(outputs[output]!), `${BESIDE}${path.basename(outputs[output]!)}`)
  const own = arrived.filter(({ output }) => left.includes(output))
  const total = own.reduce((sum, { receipt }) => sum + receipt.size, 0)
  let done = 0

  async function bringOne(one: ArrivedFile, signal: AbortSignal): Promise<void> {
    const { output, file, receipt } = one
    const { layout, files } = plan.outputs[output]!
    const name = layout === 'file' ? path.basename(outputs[output]!) : files[file]!.name
    const target = path.join(outputFolder(folderOf(output), output), name)
    const coming = path.join(folderOf(output), COMING)
    await attempt(target, 1, () => bringPiece({ ...options, signal }, one, { target, coming }))
    done += receipt.size
    const text = `downloaded ${formatSize(done)} of ${formatSize(total)}`
    const fraction = total > 0 ? done / total : 1
    listen({ kind: 'step', step: 'fetch', text, fraction, bytes: { done, total } })
  }

  return {
    folder: (output) => (left.includes(output) ? outputFolder(folderOf(output), output) : undefined),
    async open() {
      if (place.shelf) for (const output of left) await openShared(folderOf(output))
    },
    // No piece may arrive after a failure: the folders go.
    bring: () => eachStopping(own, PARALLEL, bringOne, options.signal),
    async remove() {
      for (const output of left) await removeShared(folderOf(output))
    },
  }
}

/** Downloads a piece and writes its tensors to their places. An interrupted run continues with the pieces that are not there. */
async function bringPiece(
  { plan, place, sync, signal, lost }: ArrivalOptions,
  one: ArrivedFile,
  { target, coming }: { readonly target: string; readonly coming: string },
): Promise<void> {
  const { output, file, part, receipt } = one
  const piece = path.join(coming, `${file}-${part.index}`)
  const isThere = `${piece}.${receipt.sha256}`
  const { size, header } = plan.outputs[output]!.files[file]!
  // What an interrupted run brought is read back like everything else.
  if ((await statusOf(isThere)) && (await statusOf(target))?.size === BigInt(size)) return
  if (!(await place.shelf!.holds(receipt))) throw lost([one])
  await place.shelf!.fetch(receipt, piece, { sync, signal })
  await mkdir(path.dirname(target), { recursive: true })
  const [from, to] = [await open(piece, 'r'), await openCommon(target)]
  try {
    if (!to) throw new Error(`internal: ${target} is not a file of this run`)
    if ((await to.stat()).size !== size) await to.truncate(size)
    const head = OUTPUT.write.encode(header)
    await to.write(head, 0, head.length, 0)
    const { offset: start } = part.span(output, file)
    const { tensors } = plan.outputs[output]!
    const buffer = new Uint8Array(Math.min(BUFFER, receipt.size))
    for (const { tensor, placement } of partsIn(tensors, file)) {
      if (!part.owns(output, tensor)) continue
      for (let at = 0; at < placement.bytes; ) {
        signal?.throwIfAborted()
        const want = Math.min(buffer.length, placement.bytes - at)
        const { bytesRead } = await from.read(buffer, 0, want, placement.offset - start + at)
        if (bytesRead === 0) throw new Error('internal: a piece is shorter than its receipt')
        await to.write(buffer, 0, bytesRead, placement.offset + at)
        at += bytesRead
      }
    }
    if (sync) await flushHandle(to)
  } finally {
    await from.close()
    await to?.close()
  }
  await (await open(isThere, 'w')).close()
  await rm(piece, { force: true })
}

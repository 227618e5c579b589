import { CHUNK } from '../../../kernels/types.js'
import type { Slot } from '../../../storage/local/window.js'
import type { Source } from '../../../views/readers.js'
import type { WorkerContext } from '../context.js'

/** What a reader works with. */
export interface Reading {
  readonly worker: WorkerContext
  readonly slot: Slot
  /** Address of `SCRATCH` bytes, which readers within this one do not use. */
  readonly scratch: number
  /** Bytes of this source up to the last one that the task needs, if it is known; otherwise Infinity. */
  readonly end: number
  /** Puts elements of a source within this one, from row-major index `first` on, one after the other to an address. */
  readonly within: (source: Source, first: number, count: number, address: number, end?: number) => void
}

/** Where the second chunk begins. */
export const SECOND_CHUNK = CHUNK * 8

export type Element = Pick<Source, 'dtype' | 'elementBytes'>

/** Puts `count` elements of a source, from its element `first` on, to an address as the wanted element. */
export function copySource(
  { worker, slot, scratch, within }: Reading,
  wanted: Element,
  source: Source,
  first: number,
  count: number,
  to: number,
  end?: number,
): void {
  const { kernels, memory } = worker
  const { reader, dtype, elementBytes } = source
  const decode =
    dtype === wanted.dtype || dtype === 'raw'
      ? undefined
      : kernels.decode(dtype, wanted.elementBytes === 8 ? 'f64' : 'f32')
  const room = Math.max(1, Math.floor(worker.slotRoom / elementBytes))
  const most = decode ? CHUNK : reader.kind === 'contiguous' ? room : count
  for (let done = 0; done < count; done += most) {
    const n = Math.min(most, count - done)
    const target = to + done * wanted.elementBytes
    let from = decode ? scratch : target
    if (reader.kind !== 'contiguous') within(source, first + done, n, from, end)
    else {
      const offset = reader.offset + (first + done) * elementBytes
      from = slot.at(worker.input(reader.file), offset, n * elementBytes)
    }
    if (decode) decode(from, target, n)
    else if (from !== target) new Uint8Array(memory.buffer).copyWithin(target, from, from + n * elementBytes)
  }
}

/** What the headers of one checkpoint may take together, so that many files can't do what one may not. */
import { fault } from '../../core/diagnostics.js'
import type { Budget } from '../../core/json/reader.js'

/** Bytes of memory for names, shapes and metadata of one checkpoint: a million tensors, an index included, and room. */
export const HEADER_MEMORY = 640 * 2 ** 20
/** Bytes of the headers of all of a checkpoint's files. A million tensors take about 130 MB. */
const MAX_HEADERS_BYTES = 1_000_000_000

/** `left`: bytes of memory for what is kept. */
export interface Allowance extends Budget {
  /** Bytes of headers that may still be read. */
  headerBytes: number
}

export const fullAllowance = (): Allowance => ({ left: HEADER_MEMORY, headerBytes: MAX_HEADERS_BYTES })

/** Fault: `header-too-large`. `shown` names the file. */
export function takeHeader(allowance: Allowance, bytes: number, shown: string): void {
  allowance.headerBytes -= bytes
  if (allowance.headerBytes < 0)
    throw fault(
      'header-too-large',
      `${shown}: the checkpoint's headers take more than ${MAX_HEADERS_BYTES} bytes together`,
      'no real model needs that: the file is damaged or made to do harm',
    )
}

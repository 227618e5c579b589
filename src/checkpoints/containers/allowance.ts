/** Limits on all headers of one checkpoint together, so that many files cannot exceed what one file may use. */
import { fault } from '../../core/diagnostics.js'
import type { Budget } from '../../core/json/reader.js'

/** Bytes of memory for names, shapes and metadata of one checkpoint. Enough for a million tensors with an index. */
export const HEADER_MEMORY = 640 * 2 ** 20
/** Bytes of the headers of all files of a checkpoint. A million tensors take about 130 MB. */
const MAX_HEADERS_BYTES = 1_000_000_000

/** `left` is the memory that remains, in bytes. */
export interface Allowance extends Budget {
  /** Bytes of headers that may still be read. */
  headerBytes: number
}

export const fullAllowance = (): Allowance => ({ left: HEADER_MEMORY, headerBytes: MAX_HEADERS_BYTES })

/** Error: `header-too-large`. `shown` names the file. */
export function takeHeader(allowance: Allowance, bytes: number, shown: string): void {
  allowance.headerBytes -= bytes
  if (allowance.headerBytes < 0)
    throw fault(
      'header-too-large',
      `${shown}: the headers of this checkpoint take more than ${MAX_HEADERS_BYTES} bytes in total`,
      'no real model needs this: the file is damaged or malicious',
    )
}

import type { Locate } from './tensors.js'
import type { Value } from './values.js'

/** What either format of `torch.save` comes to. */
export interface Contents {
  /** What the pickle describes. */
  readonly value: Value
  /** Bytes of the file up to the end of the pickle: the header that its digest covers. */
  readonly headerBytes: number
  readonly locate: Locate
}

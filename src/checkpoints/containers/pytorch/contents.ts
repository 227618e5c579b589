import type { Locate } from './tensors.js'
import type { Value } from './values.js'

/** What terge reads from either format of `torch.save`. */
export interface Contents {
  /** What the pickle describes. */
  readonly value: Value
  /** Bytes to the end of the pickle. The header digest covers them. */
  readonly headerBytes: number
  readonly locate: Locate
}

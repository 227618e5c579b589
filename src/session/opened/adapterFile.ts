import { isUpdate } from '../../adapters/index.js'
import type { Checkpoint } from '../../checkpoints/types.js'

/** The bytes of an adapter's configuration; undefined if the checkpoint is not an adapter. */
export const adapterFile = ({ adapterFile, tensors }: Checkpoint): Uint8Array | undefined =>
  [...tensors.keys()].some(isUpdate) ? adapterFile : undefined

import type { Checkpoint } from '../../checkpoints/types.js'
import { isFactor } from '../../plan/adapter/tensors.js'

/** What says how an adapter is applied; undefined of a model that only lies beside one. */
export const adapterFile = ({ adapterFile, tensors }: Checkpoint): Uint8Array | undefined =>
  [...tensors.keys()].some(isFactor) ? adapterFile : undefined

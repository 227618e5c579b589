import type { Checkpoint } from '../../checkpoints/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { AdapterSettings } from './config.js'
import type { CountingReporter } from './counting.js'
import type { AdapterTensors } from './tensors.js'

/** A model and the adapter that is applied to it. */
export interface Application {
  readonly base: Value
  /** The model's `config.json`. */
  readonly config: Checkpoint['config']
  readonly settings: AdapterSettings
  readonly found: AdapterTensors
  readonly loraScale: number
  /** Whether two stored tensors are known to have equal content. */
  readonly sameContent: (a: ValueTensor, b: ValueTensor) => boolean
  readonly reporter: CountingReporter
}

/** The module that a tensor belongs to. */
export const moduleName = (tensor: string): string => tensor.slice(0, Math.max(0, tensor.lastIndexOf('.')))

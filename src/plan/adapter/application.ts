import type { AdapterContent, Network } from '../../adapters/types.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { CountingReporter } from './counting.js'
import type { OtherForm } from './forms/other.js'

/** A model and the adapter that is applied to it. */
export interface Application {
  readonly base: Value
  /** The model's `config.json`. */
  readonly config: Checkpoint['config']
  readonly adapter: AdapterContent
  readonly network: Network
  /** The model in other layouts. */
  readonly others: () => readonly OtherForm[]
  readonly loraScale: number
  /** The adapter's name in the plan. */
  readonly adapterName: string
  /** Whether two stored tensors are known to have equal content. */
  readonly sameContent: (a: ValueTensor, b: ValueTensor) => boolean
  readonly reporter: CountingReporter
}

/** The module that a tensor belongs to. */
export const moduleName = (tensor: string): string => tensor.slice(0, Math.max(0, tensor.lastIndexOf('.')))

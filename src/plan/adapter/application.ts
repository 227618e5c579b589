import type { AdapterContent, AdapterFiles, Network } from '../../adapters/types.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import { mainStored } from '../../views/stored.js'
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

/** An adapter's tensors, and what its files say beside them. */
export const adapterFiles = (tensors: Value['tensors'], { adapter, metadata, alphas }: Checkpoint): AdapterFiles => ({
  ...{ tensors, config: adapter, metadata },
  numberOf: ({ expr }) => (expr.kind === 'read' ? alphas?.get(mainStored(expr.view).tensor) : undefined),
})

/** The module that a tensor belongs to. */
export const moduleName = (tensor: string): string => tensor.slice(0, Math.max(0, tensor.lastIndexOf('.')))

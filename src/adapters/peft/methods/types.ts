import type { Network, Reporter, Update } from '../../types.js'
import type { ModuleParts, Role } from '../names.js'
import type { Settings } from '../settings.js'

/** A method of PEFT, by the `peft_type` in the configuration. */
export interface PeftMethod {
  /** Keys of its configuration that it reads, and those that do not affect the weights. */
  readonly keys: readonly string[]
  /** Tensors of a module that it uses. Others are errors. */
  readonly roles: readonly Role[]
  /** A tensor that every adapter has: an example for errors. */
  readonly example: string
  /** Reads the configuration. The result makes updates of the tensors of a module. */
  readonly read: (settings: Settings, context: Context) => (parts: ModuleParts) => readonly Update[]
}

export interface Context {
  /** Absent if adapters are merged with each other. */
  readonly network: Network | undefined
  readonly reporter: Reporter
  readonly modules: readonly ModuleParts[]
}

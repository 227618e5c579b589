import type { Path, StepCommon } from '../../language/types.js'

export interface StackStep extends StepCommon {
  readonly kind: 'stack'
  /** Which of a model's stacks of layers is meant, by the prefix of its names. */
  readonly of?: { readonly prefix: string; readonly at: Path }
  readonly slices: readonly { readonly model: string; readonly layers: readonly [number, number]; readonly at: Path }[]
}

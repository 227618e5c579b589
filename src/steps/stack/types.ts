import type { Path, StepCommon } from '../../language/types.js'

export interface StackStep extends StepCommon {
  readonly kind: 'stack'
  /** The stack of layers to use, by the prefix of its tensor names. */
  readonly of?: { readonly prefix: string; readonly at: Path }
  readonly slices: readonly { readonly model: string; readonly layers: readonly [number, number]; readonly at: Path }[]
}

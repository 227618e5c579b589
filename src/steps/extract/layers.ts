/** What the tensors of the base are to an adapter: layers, parameters, or neither. */
import type { Value, ValueTensor } from '../../expr/values.js'
import { type AdaptedLayer, adaptedLayer } from '../../networks/modules.js'
import type { Orientations } from '../../networks/orientation.js'
import { type Parameter, parametersOf } from './parameters.js'
import type { ExtractStep } from './types.js'
import { SHARED_EMBEDDING, sharedIn, TIED_HEAD, tiedIn, unfitIn } from './unfit.js'

type Shape = readonly number[]

export interface Layers {
  readonly isShared: (name: string) => boolean
  /** Why a tensor can't be in the adapter in any form. */
  readonly excuse: (name: string, shape: Shape) => string | undefined
  readonly of: (name: string, shape: Shape) => { readonly layer?: AdaptedLayer; readonly parameter?: Parameter }
}

export function layersIn(
  { lokr }: ExtractStep,
  base: Value,
  config: Readonly<Record<string, unknown>> | undefined,
  oriented: Orientations,
): Layers {
  const parameterOf = parametersOf(base, config, !lokr)
  const [isUnfit, isShared, isTied] = [unfitIn(base, config), sharedIn(base, config), tiedIn(base, config)]
  return {
    isShared,
    excuse: (name, shape) => (isShared(name) ? SHARED_EMBEDDING : isTied(name, shape) ? TIED_HEAD : undefined),
    of(name, shape) {
      const parameter = parameterOf(name, shape)
      if (parameter) return { layer: { kind: 'linear', turned: parameter.turned }, parameter }
      if (isUnfit(name, shape)) return {}
      const layer = adaptedLayer(name, shape, (module) => oriented.of(module) === 'turned')
      return layer ? { layer } : {}
    },
  }
}

/** Why a parameter has no factors. */
export function parameterExcuse(
  { lokr }: ExtractStep,
  { experts }: Parameter,
  both: readonly ValueTensor[],
): string | undefined {
  if (lokr) return 'a parameter, not a layer: LoKr has none'
  const isMade = experts !== undefined && both.some(({ expr }) => expr.kind !== 'read')
  return isMade ? 'experts of the result of a step: write it to an output first' : undefined
}

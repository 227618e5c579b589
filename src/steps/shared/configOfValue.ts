import { type Value, withNetwork } from '../../expr/values.js'
import type { PlanContext } from '../types.js'

/** The configuration of a model or step, as earlier steps changed it. */
export function configOfValue({ origin, sizes, network }: Value, { configOf }: Pick<PlanContext, 'configOf'>) {
  const config = configOf(origin)
  return config && withNetwork({ ...config, ...sizes }, network)
}

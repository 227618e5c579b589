import { type DiffOptions, diffCheckpoints, type TensorDifference } from '../execute/diff.js'
import { obtain } from './inspect.js'

/** Compares two models tensor by tensor, in natural order of names: layer 2 before layer 10. Downloads models from the hub, and reads both models once. */
export async function diff(a: string, b: string, options: DiffOptions = {}): Promise<readonly TensorDifference[]> {
  const [one, other] = [await obtain(a, options), await obtain(b, options)]
  return diffCheckpoints(one, other, options)
}

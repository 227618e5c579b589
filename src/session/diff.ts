import { type DiffOptions, diffCheckpoints } from '../execute/diff/compare.js'
import type { ModelDifference } from '../execute/diff/figures.js'
import { withPace } from '../execute/paced.js'
import { readLike } from '../layouts/model.js'
import { obtain } from './inspect.js'

/**
 * Compares two models: as a whole, by layer, and tensor by tensor in natural order of names: layer 2 before layer 10. Models are
 * paths, relative to the working folder, `hf:org/name@revision`, or `s3://bucket/prefix`. Downloads models that are elsewhere, and
 * reads both models once. Figures are computed in float64. If the models certainly have different layouts, the second one is
 * compared in the layout of the first.
 *
 * @throws the errors of `inspect` for each of the models
 * @throws `read-failed` if a file cannot be read
 * @throws `interrupted` after an abort by `signal`
 */
export const diff = (a: string, b: string, { listen, ...rest }: DiffOptions = {}): Promise<ModelDifference> =>
  withPace(listen, async (listen) => {
    const options: DiffOptions = listen ? { ...rest, listen } : rest
    const [one, other] = [await obtain(a, options), await obtain(b, options)]
    const { tensors, readAs } = readLike(other, one)
    const found = await diffCheckpoints(one, { ...other, tensors }, options)
    return readAs.length > 0 ? { ...found, readAs } : found
  })

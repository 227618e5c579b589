import { type DiffOptions, diffCheckpoints } from '../execute/diff/compare.js'
import type { ModelDifference } from '../execute/diff/figures.js'
import { withPace } from '../execute/paced.js'
import { likelyLayouts } from '../layouts/likely.js'
import { certaintyOf, readLike } from '../layouts/model.js'
import type { Family } from '../layouts/types.js'
import { obtain } from './inspect.js'

const UNCERTAIN = 'no configuration says that the models have these layouts'

/**
 * Compares two models: as a whole, by layer, and tensor by tensor in natural order of names: layer 2 before layer 10. Models are
 * paths, relative to the working folder, `hf:org/name@revision`, or `s3://bucket/prefix`. Downloads models that are elsewhere, and
 * reads both models once. Figures are computed in float64. If the models certainly have different layouts, the second one is
 * compared in the layout of the first. Tensors that can't be read so are compared as they are stored, and `notRead` says why.
 *
 * @throws the errors of `inspect` for each of the models
 * @throws `read-failed` if a file cannot be read
 * @throws `interrupted` after an abort by `signal`
 */
export const diff = (a: string, b: string, { listen, ...rest }: DiffOptions = {}): Promise<ModelDifference> =>
  withPace(listen, async (listen) => {
    const options: DiffOptions = listen ? { ...rest, listen } : rest
    const [one, other] = [await obtain(a, options), await obtain(b, options)]
    const { tensors, readAs, unread } = readLike(other, one)
    const found = await diffCheckpoints(one, { ...other, tensors }, options)
    const known = (family: Family): boolean => certaintyOf(family, other.config, one.config) !== undefined
    const [likely] = likelyLayouts({ ...other, tensors }, one, known)
    const notRead = [
      ...unread.map(({ layout, as, problem: { tensor, message } }) => ({ layout, as, why: `${tensor} ${message}` })),
      ...(likely ? [{ layout: likely.from, as: likely.to, why: UNCERTAIN }] : []),
    ]
    return {
      ...found,
      ...(readAs.length > 0 ? { readAs } : {}),
      ...(notRead.length > 0 ? { notRead } : {}),
    }
  })

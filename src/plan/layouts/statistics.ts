/** Statistics of models that are read in another layout than the one in which they were measured. */
import type { Checkpoint } from '../../checkpoints/types.js'
import type { Reading } from './convert.js'

/**
 * Error `layout-misfit` if statistics are those of tensors that the model, as it is read, has no longer, or has in another
 * order. Without it, `regmean` would merge them by the mean.
 */
export function refuseStatistics(
  { recipe, name, at, faults }: Reading,
  stored: Checkpoint,
  read: Checkpoint,
  statistics: Checkpoint | undefined,
): void {
  if (!statistics || read.tensors === stored.tensors) return
  const changed = [...statistics.tensors.keys()].find((tensor) => {
    const own = stored.tensors.get(tensor)
    return own !== undefined && read.tensors.get(tensor)?.view !== own.view
  })
  if (changed === undefined) return
  faults.error(
    'layout-misfit',
    `${name} is read in the layout of its base, but its statistics have ${changed}, as ${name} is stored`,
    recipe.placeOf([...at, 'statistics']),
    `write the model in the layout of the base first (terge convert), and measure it there; or use it as the base`,
  )
}

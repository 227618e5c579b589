import { findLineage } from '../../lineage/disk.js'
import { compareSides } from '../../review/compare.js'
import { commonDigests, lineageSide } from '../../review/sides/lineage.js'
import type { Difference } from '../../review/types.js'
import { recipeChanges } from './recipeChanges.js'

/**
 * Compares what was done for two outputs, from `a` to `b`, by their lineages: lineage files, output folders or checkpoint files. Models are
 * not read. Tensors with the same digest have the same bytes, also where they were made in another way.
 *
 * @throws `missing-lineage` if there is no lineage
 * @throws `bad-lineage` or `lineage-version` if a file is not a lineage that this version reads
 */
export async function compareLineages(a: string, b: string): Promise<Difference> {
  const [before, after] = [await findLineage(a), await findLineage(b)]
  const notes = [before, after].flatMap(({ file, lineage }) =>
    lineage.output.digest === null ? [`${file} has no digests: its run skipped them`] : [],
  )
  const common = commonDigests(before.lineage, after.lineage)
  const [one, other] = [before, after].map(({ lineage, digest }, index) =>
    lineageSide(lineage, { name: index === 0 ? a : b, digest }, common),
  )
  return compareSides(one!, other!, {
    ...{ kind: 'lineage', certain: true, notes },
    recipe: recipeChanges(before.lineage.recipe.text, after.lineage.recipe.text),
  })
}

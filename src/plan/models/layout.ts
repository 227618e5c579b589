/** Reads models in the layout of the base. */
import type { Checkpoint } from '../../checkpoints/types.js'
import type { Faults } from '../../language/faults.js'
import type { ModelSource } from '../../language/types.js'
import { convertTensors } from '../../layouts/convert.js'
import { FAMILIES, layoutName } from '../../layouts/index.js'
import { formIn, isDeclared } from '../../layouts/recognise.js'
import type { Facts } from '../../layouts/types.js'
import type { Recipe } from '../../recipe/types.js'

/** The parts of a checkpoint that are needed here. */
export type Laid = Pick<Checkpoint, 'tensors' | 'config'>

/** A model's tensors as the base stores them, if its configuration or the base's says what network it is. */
export function inLayoutOf(
  base: Laid & { readonly name: string },
  recipe: Recipe,
  source: ModelSource,
  { tensors, config = base.config }: Laid,
  faults: Faults,
): Checkpoint['tensors'] {
  let read = tensors
  for (const family of FAMILIES) {
    if (!isDeclared(family, config) && !isDeclared(family, base.config)) continue
    const facts: Facts = { config, shapes: read }
    const [own, wanted] = [formIn(family, facts), formIn(family, { config: base.config, shapes: base.tensors })]
    if (typeof own === 'string' || typeof wanted === 'string' || own === wanted) continue
    const { tensors: converted, problems } = convertTensors(read, own, wanted, facts)
    const [first] = problems
    if (first) {
      const [from, to] = [own, wanted].map((form) => layoutName({ family, form }))
      faults.error(
        'layout-misfit',
        `${source.name} has the layout ${from} and ${base.name} has ${to}, but ${first.tensor} ${first.message}`,
        recipe.placeOf(source.at, 'key'),
        'use a complete model, or convert it with the library that wrote it',
      )
      return tensors
    }
    read = converted
  }
  return read
}

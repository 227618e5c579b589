/** Models whose tensors differ as two layouts do, although nothing says that they have these layouts. */
import { plural } from '../../core/words.js'
import { FAMILIES } from '../../layouts/index.js'
import { likelyLayouts } from '../../layouts/likely.js'
import { formName, type Laid, type OwnForm, ownForm } from '../../layouts/model.js'
import { indexOf } from '../../layouts/names.js'
import { undecidedIn } from '../../layouts/recognise.js'
import type { Family } from '../../layouts/types.js'
import type { Reading } from './convert.js'

/**
 * Error `layout-unclear`, with both layouts. Without it, the tensors would be copied from the base. `isKnown`: families
 * whose form is certain.
 */
export function refuseUnclear(
  reading: Reading,
  model: Laid,
  base: Laid & { readonly name: string },
  isKnown: (family: Family) => boolean,
): void {
  const { recipe, name, at, faults } = reading
  // What a layout that is certain says of a tensor is not in question: another network can have its name.
  const index = indexOf(model.tensors)
  const known = FAMILIES.filter(isKnown).flatMap(({ forms }) => forms.flatMap(({ rules }) => rules))
  const sure = new Set(known.flatMap(({ tensor }) => [...index.find(tensor)].map(({ name }) => name)))
  const open = { ...model, tensors: new Map([...model.tensors].filter(([name]) => !sure.has(name))) }
  for (const family of FAMILIES) {
    const target = ownForm(family, base)
    if (!target || isKnown(family) || ownForm(family, model)) continue
    refuseUndecided(reading, family, open, target, base)
  }
  const [first, ...others] = likelyLayouts(model, base, isKnown)
  if (!first) return
  const also = others.length > 0 ? `, or as ${others.map(({ from, to }) => `${from} and ${to}`).join(', or as ')}` : ''
  faults.error(
    'layout-unclear',
    `the tensors of ${name} and ${base.name} differ as the layouts ${first.from} and ${first.to} do${also}, but no configuration says that they have these layouts`,
    recipe.placeOf(at, 'key'),
    first.from.endsWith('/mixed')
      ? `write the layout of ${base.name}: {path: …, layout: ${first.to}}`
      : `write the layout: ${name}: {path: …, layout: ${first.from}}; or its configuration: config: FILE`,
  )
}

/**
 * Error `layout-unclear` for square matrices that the base has too: the base's form is known, but nothing shows whether the
 * model has it. Other matrices fit the base only if they have its form.
 */
export function refuseUndecided(
  { recipe, name, at, faults }: Reading,
  family: Family,
  model: Laid,
  target: OwnForm,
  base: Laid & { readonly name: string },
): void {
  const [first, ...more] = undecidedIn(family, model.tensors).filter((tensor) => base.tensors.has(tensor))
  if (first === undefined) return
  const forms = family.forms.map((form) => formName(family, form))
  faults.error(
    'layout-unclear',
    `${base.name} has the layout ${formName(family, target)}, but nothing shows whether ${name} has it: ${first}${more.length > 0 ? ` and ${plural(more.length, 'more tensor')}` : ''} would have the same shape in ${forms.join(' and ')}`,
    recipe.placeOf(at, 'key'),
    `write the layout: ${name}: {path: …, layout: ${formName(family, target)}}`,
    family.name,
  )
}

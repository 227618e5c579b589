/** Models whose tensors differ as two layouts do, although nothing says that they have these layouts. */
import type { LogicalTensor } from '../../checkpoints/types.js'
import { sameShape } from '../../core/dtypes.js'
import { plural } from '../../core/words.js'
import { FAMILIES } from '../../layouts/index.js'
import { formName, type Laid, type OwnForm, ownForm, readAs } from '../../layouts/model.js'
import { undecidedIn } from '../../layouts/recognise.js'
import type { Converted, Family, Tensors } from '../../layouts/types.js'
import type { Reading } from './convert.js'

/**
 * Error `layout-unclear`, with both layouts. Without it, the tensors would be copied from the base. `isKnown`: families
 * whose form is certain.
 */
export function refuseUnclear(
  { recipe, name, at, faults }: Reading,
  model: Laid,
  base: Laid & { readonly name: string },
  isKnown: (family: Family) => boolean,
): void {
  const candidates = FAMILIES.flatMap((family) => {
    if (isKnown(family)) return []
    const [own, target] = [ownForm(family, model), ownForm(family, base)]
    if (own === undefined && target) refuseUndecided({ recipe, name, at, faults }, family, model, target, base)
    if (!own || !target || own === target) return []
    const made = readAs(family, own, target, { ...model, config: model.config ?? base.config }, base.tensors)
    const matching = gained(made, model.tensors, base.tensors)
    // Where layers of one model differ from each other, only names that meet the base's show a difference of layouts.
    if (matching === 0 && (own === 'mixed' || target === 'mixed' || made.problems.length === 0)) return []
    if (made.problems.length === 0 && isOtherPrefix(made, model.tensors)) return []
    const [from, to] = [formName(family, own), formName(family, target)]
    return [{ from, to, problems: made.problems.length, matching, result: resultOf(made) }]
  })
  const fitting = candidates
    .filter(({ problems, matching }) => problems === 0 && matching > 0)
    .sort((a, b) => b.matching - a.matching)
  const some = fitting.length > 0 ? fitting : candidates
  // Networks whose layers would have several forms are less likely.
  const pure = some.filter(({ from, to }) => !from.endsWith('/mixed') && !to.endsWith('/mixed'))
  const all = pure.length > 0 ? pure : some
  // Families can have the same rules for the tensors that are there.
  const [first, ...others] = all.filter(({ result }, at) => all.findIndex((one) => one.result === result) === at)
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

/** Whether the names differ by one prefix, and nothing else: models are read under the base's prefix anyway. */
function isOtherPrefix({ tensors, from }: Converted, own: Tensors): boolean {
  const changes = new Set<string>()
  for (const [name, of] of from) {
    const [old] = of
    if (of.length !== 1 || tensors.get(name)?.view !== own.get(old!)?.view) return false
    const [before, after] = [old!.split('.'), name.split('.')]
    while (before.length > 0 && after.length > 0 && before.at(-1) === after.at(-1)) {
      before.pop()
      after.pop()
    }
    changes.add(`${before.join('.')} ${after.join('.')}`)
  }
  return changes.size === 1
}

/** As many changed tensors as show that two readings differ. */
const SHOWN = 64

const resultOf = ({ tensors, from }: Converted): string =>
  JSON.stringify([...from.keys()].slice(0, SHOWN).map((name) => [name, tensors.get(name)?.view]))

/** The number of tensors that only the other form gives a name and shape of the base. */
function gained({ tensors, from }: Converted, own: Tensors, base: Tensors): number {
  const fits = (one: LogicalTensor | undefined, name: string): boolean => {
    const wanted = base.get(name)
    return one !== undefined && wanted !== undefined && sameShape(one.shape, wanted.shape)
  }
  // Stored tensors have other names than the base's, or only other shapes.
  const isOwn = (stored: string, name: string): boolean =>
    stored === name ? fits(own.get(stored), stored) : own.has(stored) && base.has(stored)
  return [...from].filter(([name, of]) => fits(tensors.get(name), name) && !of.some((one) => isOwn(one, name))).length
}

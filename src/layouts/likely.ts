/** Layouts that two models may have, where nothing says it. */
import type { LogicalTensor } from '../checkpoints/types.js'
import { sameShape } from '../core/dtypes.js'
import { FAMILIES } from './index.js'
import { formName, type Laid, ownForm, readAs } from './model.js'
import type { Converted, Family, Tensors } from './types.js'

/** Two layouts of a network. */
export interface Likely {
  /** That of the first model. */
  readonly from: string
  /** That of the second one. */
  readonly to: string
}

/**
 * The layouts by which two models seem to differ, the likeliest first. `isKnown`: families that need no guess, because the
 * layouts of both models are certain.
 */
export function likelyLayouts(model: Laid, base: Laid, isKnown: (family: Family) => boolean): readonly Likely[] {
  const candidates = FAMILIES.flatMap((family) => {
    if (isKnown(family)) return []
    const [own, target] = [ownForm(family, model), ownForm(family, base)]
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
  return all.filter(({ result }, at) => all.findIndex((one) => one.result === result) === at)
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

/** Plans what can turn in an orthogonal alignment. */
import type { Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { keptLines } from '../../rebasin/describe.js'
import type { Layout } from '../../rebasin/orthogonal/layout.js'
import { layoutOf } from '../../rebasin/orthogonal/readLayout.js'
import type { Spec } from '../../rebasin/spec.js'
import { lastFinding } from '../../views/stored.js'
import type { Configs, RebasinStep } from './types.js'

/**
 * Error `no-orthogonal`: names, shapes or the configuration allow no orthogonal maps. Warning `not-rotated`: of parts that stay, or
 * that only have another order, with the reason.
 */
export function planRotation(
  recipe: RecipeHead,
  step: RebasinStep,
  onto: Value,
  moving: readonly Value[],
  configs: Configs,
  faults: Faults,
): { readonly family: string; readonly kept: Spec['kept'] } | 'refused' {
  const place = recipe.placeOf([...step.at, 'symmetry'])
  const describe = ({ tensors, origin }: Value): Layout | string => {
    const config = configs(origin)
    return layoutOf({ tensors, ...(config ? { config } : {}) })
  }
  const layout = describe(onto)
  const built = moving.find(({ tensors }) =>
    [...tensors.values()].some(({ expr }) => expr.kind !== 'read' || lastFinding(expr.view) !== undefined),
  )
  const refuse = (what: string): 'refused' => {
    faults.error(
      'no-orthogonal',
      `symmetry: orthogonal is not possible here: ${what}`,
      place,
      'write symmetry: permutation',
    )
    return 'refused'
  }
  if (typeof layout === 'string') return refuse(layout)
  if (built) return refuse(`${built.name} is the result of a step: orthogonal symmetry requires stored models`)
  for (const value of moving) {
    // Another set of tensors is reported as such.
    if (value.tensors.size !== onto.tensors.size) continue
    const other = describe(value)
    if (typeof other === 'string') return refuse(`${value.name}: ${other}`)
    if (traitsOf(other) !== traitsOf(layout))
      return refuse(`the configurations of ${onto.name} and ${value.name} do not describe the same network`)
  }
  const reasons = keptLines(layout.kept)
  if (reasons.length > 0)
    faults.warn(
      'not-rotated',
      `${onto.name} cannot be rotated as a whole: ${reasons.join('; ')}`,
      place,
      'everything else is aligned; see Rotations in docs/alignment.md for what allows more',
    )
  return { family: layout.family, kept: layout.kept }
}

const traitsOf = ({ family, kind, basis, shape, rotary }: Layout): string =>
  JSON.stringify({ family, kind, basis, shape, rotary })

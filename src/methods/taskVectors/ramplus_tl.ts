/**
 * RAM+ (tensor level): RAM that scales up changes of a single model, more so if that model shares most of its
 * changes.
 *
 *   as ram; where one model alone changed the element its δ_i is multiplied by 1 + r·clamp(ρ_i, 0, α)
 *   ρ_i = (elements it changed with others) / max(elements it changed alone, ε), counted over the tensor
 *
 * b, δ_i, ε: as in ram; r, α: `r` and `alpha`. One pass counts the changes, and the map merges.
 * Source: arXiv 2601.13572.
 */
import { changedMap, changesPass, EPSILON, sharedOverAlone } from '../shared/changed.js'
import { resultOf } from '../shared/gram.js'
import { ON_TASK_VECTORS } from '../shared/taskVectors.js'
import type { Method, PassInput } from '../types.js'

function factors(input: PassInput): number[] {
  const { r, alpha, epsilon } = input.parameters
  return sharedOverAlone(resultOf(input), Number(epsilon)).map(
    (ratio) => 1 + Number(r) * Math.min(Math.max(ratio, 0), Number(alpha)),
  )
}

export const ramplusTl: Method = {
  ...ON_TASK_VECTORS,
  name: 'ramplus_tl',
  summary: 'ram, with changes made by a single model scaled up',
  formula: 'ram; a change of one model alone times 1 + r·clamp(shared_i/max(alone_i, ε), 0, α)',
  paper: '2601.13572',
  weights: false,
  parameters: [
    { name: 'r', type: 'number', default: 0.1, describe: 'Scale of the bonus for changes of a single model.' },
    { name: 'alpha', type: 'number', default: 0.2, minimum: 0, describe: 'Upper bound of the ratio.' },
    EPSILON,
  ],
  effective: ({ weights }) => weights.map(() => null),
  passes: ({ models }) => ({ reduces: [changesPass(models.length)], map: changedMap(factors) }),
}

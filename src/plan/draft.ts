import type { Checkpoint } from '../checkpoints/types.js'
import type { Diagnostic } from '../core/diagnostics.js'
import { isFloat } from '../core/dtypes.js'
import type { Recipe } from '../recipe/types.js'
import { patternBook } from './patterns.js'
import { renamedTensors } from './rename.js'
import { faults as newFaults } from './report.js'

/**
 * What headers tell of a recipe whose text has faults: patterns that match no tensor of a model that is the base of a merge.
 * Nothing else is judged, since it may only follow from those faults.
 */
export function checkDraft(draft: Recipe, checkpoints: ReadonlyMap<string, Checkpoint>): readonly Diagnostic[] {
  const faults = newFaults()
  for (const step of draft.steps) {
    if (step.kind !== 'merge') continue
    const base = checkpoints.get(step.base)
    if (!base) continue
    const book = patternBook(step)
    const named = renamedTensors(draft, draft.models.get(step.base)!, base, faults)
    for (const [name, { dtype }] of named) book.decide(name, isFloat(dtype))
    book.close(
      draft,
      named.map(([name]) => name),
      faults,
    )
  }
  return faults.list.filter(({ severity }) => severity === 'error')
}

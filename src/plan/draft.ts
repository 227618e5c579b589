import type { Checkpoint } from '../checkpoints/types.js'
import type { Diagnostic } from '../core/diagnostics.js'
import { isFloat } from '../encodings/index.js'
import { type Faults, faults as newFaults } from '../language/faults.js'
import type { ModelSource, Path } from '../language/types.js'
import type { Recipe } from '../recipe/types.js'
import { usesOf } from '../recipe/uses.js'
import { kindOf, type Step } from '../steps/index.js'
import { patternBook } from '../steps/shared/patterns.js'
import type { StepPatterns } from '../steps/types.js'
import { readLayouts } from './layouts/read.js'
import { renamedTensors } from './models/rename.js'
import { donorsOf, originOf } from './origins.js'
import { planRecipe } from './plan.js'

/**
 * Errors that the headers show in a recipe that already has errors in its text or models. terge plans the steps and
 * outputs whose text is correct and whose models are all open. For the other steps, it only checks that each pattern
 * matches a tensor of the base, if the base is open. Errors that may only follow from another error are not reported.
 * `isWrong`: whether the text has an error at a path.
 */
export function checkDraft(
  draft: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  isWrong: (at: Path) => boolean,
): readonly Diagnostic[] {
  const faults = newFaults()
  const laid = draft.outputs.length > 0 ? readLayouts(draft, draft, checkpoints, newFaults()).checkpoints : checkpoints
  for (const step of draft.steps) {
    const patterns = kindOf(step).patterns?.(step)
    if (patterns) checkPatterns(draft, patterns, laid, faults)
  }
  const { right, whole } = rightPart(draft, checkpoints, isWrong) ?? {}
  const planned = right ? planRecipe(right, checkpoints, { whole }).diagnostics : []
  const reported = new Set(faults.list.map((fault) => JSON.stringify(fault)))
  const all = [...faults.list, ...planned.filter((fault) => !reported.has(JSON.stringify(fault)))]
  return all.filter(({ severity }) => severity === 'error')
}

function checkPatterns(
  draft: Recipe,
  step: StepPatterns,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  faults: Faults,
): void {
  const base = checkpoints.get(step.base)
  if (!base) return
  const book = patternBook(step)
  const named = renamedTensors(draft, draft.models.get(step.base)!, base.tensors, faults)
  for (const [name, { dtype }] of named) book.decide(name, isFloat(dtype))
  book.close(
    draft,
    named.map(([name]) => name),
    faults,
  )
}

/**
 * `right`: the recipe without the parts that have errors or depend on them. `whole`: the recipe with all outputs whose
 * origin is a known model. Undefined if nothing can be planned.
 */
function rightPart(
  draft: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  isWrong: (at: Path) => boolean,
): { readonly right: Recipe; readonly whole: Recipe } | undefined {
  // The vocabulary decides the number of embedding rows and depends on all models.
  if (draft.tokenizer || donorsOf(draft).length > 0 || isWrong(['tokenizer'])) return undefined
  const isOpen = (name: string | undefined): boolean => name === undefined || checkpoints.has(name)
  const isRight = ({ name, at, lora, statistics }: ModelSource): boolean =>
    [name, lora, statistics].every(isOpen) && !isWrong(at)
  const known = new Set([...draft.models.values()].filter(isRight).map(({ name }) => name))
  const steps = draft.steps.filter((step) => {
    const needs = [...usesOf(step), ...(kindOf(step).files?.(step, draft.models) ?? [])]
    const right = needs.length > 0 && needs.every((name) => known.has(name)) && !placesOf(step).some(isWrong)
    if (right) known.add(step.name)
    return right
  })
  const whole = { ...draft, outputs: draft.outputs.filter(({ from }) => known.has(originOf(draft, from))) }
  if (steps.length === 0 || whole.outputs.length === 0) return undefined
  const outputs = draft.outputs.filter(({ from, at }) => known.has(from) && !isWrong(at))
  return { right: { ...draft, steps, outputs, chatTemplate: undefined }, whole }
}

/** The paths of a step's text: in the short form also keys beside the step. */
function placesOf(step: Step): readonly Path[] {
  const { at } = step
  if (at[0] === 'steps') return [at.slice(0, 2)]
  return [at, ...(kindOf(step).short?.beside ?? []).map((key) => [key])]
}

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
import { renamedTensors } from './models/rename.js'
import { originOf } from './origins.js'
import { planRecipe } from './plan.js'

/**
 * What headers tell of a recipe whose text or models have faults: the faults of planning those steps and outputs whose
 * text is right and whose models are all open, and of the others' patterns those that match no tensor of an open base.
 * What may only follow from another fault is not judged. `isWrong`: whether the text has errors at a path.
 */
export function checkDraft(
  draft: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  isWrong: (at: Path) => boolean,
): readonly Diagnostic[] {
  const faults = newFaults()
  for (const step of draft.steps) {
    const patterns = kindOf(step).patterns?.(step)
    if (patterns) checkPatterns(draft, patterns, checkpoints, faults)
  }
  const { right, whole } = rightPart(draft, checkpoints, isWrong) ?? {}
  const planned = right ? planRecipe(right, checkpoints, new Map(), whole).diagnostics : []
  const told = new Set(faults.list.map((fault) => JSON.stringify(fault)))
  const all = [...faults.list, ...planned.filter((fault) => !told.has(JSON.stringify(fault)))]
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
  const named = renamedTensors(draft, draft.models.get(step.base)!, base, faults)
  for (const [name, { dtype }] of named) book.decide(name, isFloat(dtype))
  book.close(
    draft,
    named.map(([name]) => name),
    faults,
  )
}

/**
 * The recipe without what has faults and what is built on that, and what it is a part of: all whose outputs are like a known
 * model. Undefined where nothing can be planned.
 */
function rightPart(
  draft: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  isWrong: (at: Path) => boolean,
): { readonly right: Recipe; readonly whole: Recipe } | undefined {
  // Vocabularies decide how many rows embeddings have, and are made of all models.
  if (draft.tokenizer || isWrong(['tokenizer'])) return undefined
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

/** Where a step's text stands: in the short form also beside it. */
function placesOf(step: Step): readonly Path[] {
  const { at } = step
  if (at[0] === 'steps') return [at.slice(0, 2)]
  return [at, ...(kindOf(step).short?.beside ?? []).map((key) => [key])]
}

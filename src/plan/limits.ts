/** The cost of a plan, and errors for plans that exceed a limit. */
import type { Place } from '../core/diagnostics.js'
import { formatSize } from '../core/sizes.js'
import { alike } from '../expr/alike.js'
import {
  bytesRead,
  computeOf,
  digestedOf,
  EXTRACT,
  factoringBytes,
  factoringCost,
  heldCost,
  scopeBytes,
} from '../expr/cost.js'
import { scratchFault } from '../expr/scratch.js'
import type { AnalysisTensor, Expr, MergeExpr, PlanFactoring } from '../expr/types.js'
import { partsOf } from '../expr/walk.js'
import { MOST_BYTES } from '../kernels/dense/team.js'
import type { Faults } from '../language/faults.js'
import type { Recipe } from '../recipe/types.js'
import { type Analysis, analysisKindOf, kindOf } from '../steps/index.js'
import { analysisCost, tensorsOf } from './analysisCost.js'
import { kindsOfTensors } from './kinds.js'
import { writtenBytes } from './placements.js'
import { storedTensors } from './stored.js'
import type { Plan, PlanTensor } from './types.js'

/** A tensor of an output or of an analysis. */
type Priced = Pick<AnalysisTensor, 'name' | 'shape' | 'expr'>

/** The parts of a plan that cost time and memory. */
type Work = Pick<Plan, 'compute' | 'files' | 'outputs' | 'analyses' | 'scopes' | 'factorings'>

/**
 * Bytes of tensor data. Every pass over the outputs' tensors counts, and each stored tensor that no output digests
 * counts once, for the digest of its file.
 */
export function costOf({ outputs, files, scopes, factorings, analyses, compute }: Work): Plan['cost'] {
  const kinds = kindsOfTensors(outputs)
  const stored = storedTensors({ files })
  // By number of a stored tensor: a plan may have a million.
  const digested = new Float64Array(stored.count)
  for (const { tensors } of outputs)
    for (const { expr } of tensors) for (const leaf of digestedOf(expr)) digested[stored.numberOf(leaf)] = leaf.bytes
  const held = heldByPlan([...kinds, ...alike(analyses.flatMap(tensorsOf))], factorings, compute)
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)
  const others =
    sum(files.map((file) => file.size - file.headerBytes)) - digested.reduce((total, bytes) => total + bytes, 0)
  const made = costOfKinds(kinds, compute)
  return {
    read:
      made.read + sum(scopes.map(scopeBytes)) + sum(factorings.map((factoring) => factoringBytes(factoring))) + others,
    write: made.write,
    ...(held ? { held } : {}),
    ...(analyses.length > 0 ? { analyses: analyses.map((analysis) => analysisCost(analysis, compute)) } : {}),
  }
}

/** Bytes of tensor data that making tensors reads and writes. Every pass over them counts. */
export const makingCost = (tensors: readonly PlanTensor[], compute: Plan['compute']) =>
  costOfKinds(alike(tensors), compute)

function costOfKinds(
  kinds: readonly (readonly PlanTensor[])[],
  compute: Plan['compute'],
): { readonly read: number; readonly write: number } {
  let [read, write] = [0, 0]
  for (const group of kinds) {
    const { expr, name, shape } = group[0]!
    const bytes = bytesRead(expr, name, shape, computeOf(compute, expr))
    for (const tensor of group) {
      read += bytes
      write += writtenBytes(tensor)
    }
  }
  return { read, write }
}

/** The maximum number of expressions in a plan: each takes some hundred bytes of memory. */
const MOST_EXPRESSIONS = 5_000_000

/** Counts the tensors of all steps and points before they are planned. Undefined if they are within the limit. */
export function largePlan(recipe: Recipe, tensorsOf: (step: string) => number) {
  const counts = recipe.steps.map((step) => ({
    step,
    count: tensorsOf(step.name) * (kindOf(step).count?.(step) ?? 1),
  }))
  const total = counts.reduce((sum, { count }) => sum + count, 0)
  // One step over a model's tensors is always accepted: the model itself is as large.
  const fits = total <= MOST_EXPRESSIONS || (counts.length === 1 && !kindOf(counts[0]!.step).count)
  return fits ? undefined : { counts, total }
}

/** Reports `plan-too-large` if a recipe's steps make too many tensors. Returns whether it did. */
export function refuseLargePlans(recipe: Recipe, tensorsOf: (step: string) => number, faults: Faults): boolean {
  const large = largePlan(recipe, tensorsOf)
  if (!large) return false
  const { counts, total } = large
  const most = counts.reduce((top, one) => (one.count > top.count ? one : top))
  faults.error(
    'plan-too-large',
    `the steps of this recipe make ${total} tensors, counting each point of an interpolation; terge can plan at most ${MOST_EXPRESSIONS}`,
    recipe.placeOf(most.step.at, 'key'),
    'move some of the steps to a separate recipe, and use its output as a model in this one',
  )
  return true
}

/** Reports an error for each analysis that exceeds a limit. */
export function refuseAnalyses(recipe: Recipe, analyses: readonly Analysis[], faults: Faults): void {
  for (const analysis of analyses) {
    const refusal = analysisKindOf(analysis).refuse?.(analysis)
    if (!refusal) continue
    faults.error(refusal.code, refusal.message, placeOfStep(recipe, analysis.steps[0]), refusal.hint)
  }
}

const placeOfStep = (recipe: Recipe, name: string | undefined): Place =>
  recipe.placeOf(recipe.steps.find((step) => step.name === name)?.at ?? [], 'key')

/** The first merge in an expression; with `methods`, the first that uses one of them. */
const mergeIn = (expr: Expr, methods?: readonly string[]): MergeExpr | undefined =>
  partsOf([expr]).find((part): part is MergeExpr => part.kind === 'merge' && (methods?.includes(part.method) ?? true))

/** Errors: `matrices-too-large`, `too-many-inputs` and the other errors of `scratchFault`. */
export function refuseTooLarge(recipe: Recipe, work: Work, cost: Plan['cost'], faults: Faults): void {
  refuseLargeMatrices(recipe, cost, faults)
  refuseCrowds(recipe, work, faults)
}

/** The inputs of a tensor must fit into a worker's memory. */
function refuseCrowds(recipe: Recipe, { outputs, analyses }: Work, faults: Faults): void {
  const faultOf = ({ name, shape, expr }: Priced) => scratchFault(expr, name, shape, computeOf(recipe.compute, expr))
  for (const group of [...kindsOfTensors(outputs), ...alike<Priced>(analyses.flatMap(tensorsOf))]) {
    if (!faultOf(group[0]!)) continue
    for (const tensor of group) {
      const { code, message, hint } = faultOf(tensor)!
      faults.error(code, message, placeOfStep(recipe, mergeIn(tensor.expr)?.step), hint)
    }
  }
}

/** Matrices are held in WebAssembly memory, which has 32-bit addresses. */
function refuseLargeMatrices(recipe: Recipe, { held }: Plan['cost'], faults: Faults): void {
  if (!held || held.bytes <= MOST_BYTES) return
  const extract = held.method.startsWith(EXTRACT)
  faults.error(
    'matrices-too-large',
    `${held.method} needs ${formatSize(held.bytes)} of memory for the matrices of ${held.tensor}; terge can use at most ${formatSize(MOST_BYTES)}`,
    placeOfStep(recipe, held.step),
    extract
      ? 'write method: randomised, which needs less memory, or exclude the tensor'
      : 'use another method for this tensor in a rule, or exclude it with filters',
  )
}

/** The tensor whose matrices take the most memory, and the work on all of them. */
function heldByPlan(
  kinds: readonly (readonly Priced[])[],
  factorings: readonly PlanFactoring[],
  compute: Plan['compute'],
): Plan['cost']['held'] {
  const merges = kinds.flatMap((group) => {
    const { expr, name, shape } = group[0]!
    const cost = heldCost(expr, name, shape, computeOf(compute, expr))
    return cost ? [{ step: mergeIn(expr, cost.methods)?.step ?? '', tensor: name, cost, count: group.length }] : []
  })
  const extractions = factorings.map((factoring) => {
    const { step, tensor } = factoring
    return { step, tensor, cost: factoringCost(factoring), count: 1 }
  })
  const costs = [...merges, ...extractions]
  if (costs.length === 0) return undefined
  const { step, tensor, cost } = costs.reduce((most, one) => (one.cost.bytes > most.cost.bytes ? one : most))
  const operations = costs.reduce((sum, { cost, count }) => sum + count * cost.operations, 0)
  return { step, tensor, method: cost.methods.join(', '), bytes: cost.bytes, operations }
}

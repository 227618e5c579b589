import type { Checkpoint } from '../checkpoints/types.js'
import { deepFreeze } from '../core/collections/freeze.js'
import { type Diagnostic, hasErrors } from '../core/diagnostics.js'
import type { Value } from '../expr/values.js'
import { faults as newFaults } from '../language/faults.js'
import type { Recipe } from '../recipe/types.js'
import { checkStatisticsFiles } from '../steps/merge/statistics.js'
import type { PlanContext } from '../steps/types.js'
import { CLOSED, type Tokenizers } from '../tokenizers/opened.js'
import { adaptersAmong } from './adapter/among.js'
import { applyAdapters } from './adapter/apply.js'
import { planDigest } from './digest.js'
import { readLayouts } from './layouts/read.js'
import { costOf, refuseAnalyses, refuseLargePlans, refuseTooLarge } from './limits.js'
import { readModels } from './models/read.js'
import type { Twins } from './models/tied.js'
import { mergedModels, originOf } from './origins.js'
import { planChecks } from './outputs/checks.js'
import { type OutputContext, planOutputs } from './outputs/output.js'
import { ownHead } from './outputs/ownHead.js'
import { refuseSelections } from './selections.js'
import { planSteps } from './steps.js'
import { warnOfOtherTokens } from './tokens/otherTokens.js'
import { chatTemplate } from './tokens/template.js'
import { followTokens } from './tokens/tokenRows.js'
import { planVocabulary } from './tokens/vocabulary.js'
import type { Plan } from './types.js'

/** Warnings that terge skips for mergekit configurations: their authors rely on this behaviour. */
const UNSAID = ['list-is-gradient', 'never-applies', 'tied-head']

/** What a plan needs besides the recipe and the headers, where the recipe asks for it. */
export interface PlanInputs {
  /** From the `TOKENIZER_FILES` of every model in `tokenizersNeeded`. */
  readonly tokenizers?: Tokenizers
  /** The recipe that this one is a part of; it decides which model's tensor names are used. */
  readonly whole?: Recipe | undefined
  readonly twins?: Twins
  /** Ranks that a survey of the tensors found. Without it, ranks by energy are upper bounds. */
  readonly rankOf?: PlanContext['rankOf'] | undefined
}

/**
 * Compiles a recipe into a plan: a pure function of the recipe and the models' headers.
 *
 * `stored` has every model in `modelsOf(recipe)`. The plan is absent if there are errors.
 */
export function planRecipe(
  recipe: Recipe,
  stored: ReadonlyMap<string, Checkpoint>,
  given: PlanInputs = {},
): { plan?: Plan; diagnostics: readonly Diagnostic[] } {
  const { tokenizers = CLOSED, whole = recipe, twins = new Map(), rankOf = () => undefined } = given
  const { files } = tokenizers
  const faults = newFaults(recipe.converted ? UNSAID : [])
  const failed = () => ({ diagnostics: faults.list })
  const laid = readLayouts(recipe, whole, stored, faults)
  if (hasErrors(faults.list)) return failed()
  const { checkpoints } = laid
  const { base, values, models, files: read } = readModels(recipe, whole, laid, twins, faults)
  checkStatisticsFiles(recipe, checkpoints, values, faults)
  const modelOf = (file: number): string => models[read[file]!.model]!.name
  const amendments = applyAdapters(recipe, values, checkpoints, modelOf, twins, faults)
  const split = new Set([...amendments].flatMap(([name, amendment]) => (amendment.split ? [name] : [])))
  const { adapters, wrong } = adaptersAmong(recipe, values, checkpoints, faults)
  const merged = mergedModels(recipe)
  const vocabulary = planVocabulary(recipe, base, merged, values, checkpoints, tokenizers, faults)
  const followed = vocabulary && followTokens(recipe, vocabulary, faults)
  for (const [name, value] of followed?.values ?? []) values.set(name, value)
  const template = chatTemplate(recipe, merged, files, faults)
  if (refuseLargePlans(recipe, (name) => values.get(originOf(recipe, name))?.tensors.size ?? 0, faults)) return failed()
  const configOf = (name: string) => checkpoints.get(name)?.config
  const known = {
    ...{ adapters, wrong, rankOf, tokenizers },
    ownHead: (tensors: Value['tensors']) => ownHead(tensors, { recipe, checkpoints, modelOf }),
    tokenizerOf: (origin: string) => amendments.get(origin)?.tokenizer ?? origin,
  }
  const planned = planSteps(recipe, values, known, configOf, { twins, split }, faults)
  const context: OutputContext = {
    recipe,
    checkpoints,
    modelIndex: (name) => models.findIndex((model) => model.name === name),
    modelOf,
    amendments,
    lexicon: { vocabulary, template, tokenizers, checkpoints },
    faults,
  }
  const outputs = planOutputs(context, values, planned)
  const checks = planChecks(context, values, planned.lost)
  if (hasErrors(faults.list)) return failed()
  if (!vocabulary) warnOfOtherTokens(recipe, outputs, modelOf, (from) => originOf(recipe, from), tokenizers, faults)
  const { steps, analyses, scopes, factorings } = planned
  refuseAnalyses(recipe, analyses, faults)
  refuseSelections(recipe, analyses, outputs, faults)
  if (hasErrors(faults.list)) return failed()
  const work = { compute: recipe.compute, files: read, outputs, analyses, scopes, factorings }
  const cost = costOf(work)
  refuseTooLarge(recipe, work, cost, faults)
  if (hasErrors(faults.list)) return failed()
  const draft: Omit<Plan, 'digest'> = {
    plan: 2,
    seed: recipe.seed,
    models,
    ...work,
    ...(checks.length > 0 ? { checks } : {}),
    steps,
    cost,
    ...(followed ? { tokenizer: followed.record, tokenSources: followed.sources } : {}),
    warnings: [...recipe.warnings, ...faults.list],
  }
  return { plan: deepFreeze({ ...draft, digest: planDigest(draft) }), diagnostics: faults.list }
}

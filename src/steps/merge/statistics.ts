/** Checks statistics files by their headers: the model they belong to, and their tensors. */

import type { Checkpoint } from '../../checkpoints/types.js'
import { sameShape } from '../../core/dtypes.js'
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { Expr, MergeExpr } from '../../expr/types.js'
import type { Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { ModelSource, RecipeHead } from '../../language/types.js'
import { lookupMethod } from '../../methods/registry.js'
import type { Method } from '../../methods/types.js'
import type { MergeSettings, MergeStep } from './types.js'

type Kind = NonNullable<Method['statistics']>

/** By model with Gram matrices: whether its file has one for any merged matrix, of any shape. */
export type Grams = Map<string, boolean>

interface Context {
  readonly recipe: RecipeHead
  readonly base: Value
  readonly values: ReadonlyMap<string, Value>
  readonly grams: Grams
  readonly faults: Faults
}

/** The statistics of all models for a tensor. For Gram matrices: none if one model lacks its matrix. */
export function statisticsFor(
  context: Context,
  settings: MergeSettings,
  kind: Kind | undefined,
  models: readonly string[],
  name: string,
): Pick<MergeExpr, 'statistics'> {
  const { shape } = context.base.tensors.get(name)!
  if (!kind || (kind === 'gram' && shape.length !== 2)) return {}
  const found = models.map((model) => statisticsOf(context, settings, kind, model, name))
  const lacks = kind === 'gram' && found.some(({ length }) => length === 0)
  return lacks ? {} : { statistics: found.flat() }
}

/** The statistics of one model for a tensor. None after an error, or without a Gram matrix. */
function statisticsOf(
  { recipe, faults, values, grams }: Context,
  { method, at }: MergeSettings,
  kind: Kind,
  model: string,
  name: string,
): Expr[] {
  const source = recipe.models.get(model)
  const refuse = (message: string, hint: string) => {
    faults.error('missing-statistics', message, recipe.placeOf(source?.at ?? at, 'key'), hint)
    return []
  }
  if (!source)
    return refuse(
      `${method} needs statistics, but the step ${model} has none`,
      'merge models of the recipe instead of steps',
    )
  const { statistics } = source
  if (statistics === undefined)
    return refuse(`${method} needs statistics of ${model}`, `write ${model}: {path: …, statistics: FILE.safetensors}`)
  const found = values.get(statistics)!.tensors.get(name)
  if (kind === 'gram') grams.set(model, grams.get(model) === true || found !== undefined)
  const own = values.get(model)!.tensors.get(name)!.shape
  const shape = kind === 'gram' ? [own[1]!, own[1]!] : own
  const wanted = `exclude ${name} with filters, or use another method for it in a rule`
  if (!found && kind === 'gram') return []
  if (!found) return refuse(`the statistics of ${model} have no tensor ${name}`, wanted)
  if (!isFloat(found.dtype) || !sameShape(found.shape, shape))
    return refuse(
      `${name} is ${found.dtype}[${found.shape.join(', ')}] in the statistics of ${model} but ${kind === 'gram' ? `its Gram matrix is [${shape.join(', ')}]` : `[${shape.join(', ')}] in the model`}`,
      wanted,
    )
  return [found.expr]
}

/** A file without a Gram matrix for any tensor does not belong to the model. All of the merge would be a plain mean. */
export function refuseForeignGrams(recipe: RecipeHead, step: MergeStep, grams: Grams, faults: Faults): void {
  for (const [model, any] of grams) {
    const source = recipe.models.get(model)
    if (any || source?.statistics === undefined) continue
    faults.error(
      'bad-statistics',
      `the statistics of ${model} have no Gram matrix for any merged tensor`,
      recipe.placeOf(source.at ?? step.at, 'key'),
      'store XᵀX of the inputs of a layer under the name of its weight, such as model.layers.0.mlp.up_proj.weight',
    )
  }
}

/**
 * Errors: `bad-statistics` for a file that is one of the models. Warnings: `foreign-statistics` for one file that
 * several models share, and for tensors that the model lacks, because the file may belong to another model.
 */
export function checkStatisticsFiles(
  recipe: RecipeHead,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  values: ReadonlyMap<string, Value>,
  faults: Faults,
): void {
  const owners = new Map<string, string>()
  for (const [name, { companion }] of recipe.models)
    if (!companion) for (const { path } of checkpoints.get(name)?.files ?? []) owners.set(path, name)
  const users = new Map<string, string>()
  for (const [model, { statistics, at }] of recipe.models) {
    const checkpoint = statistics === undefined ? undefined : checkpoints.get(statistics)
    const [own, found] = [values.get(model), values.get(statistics ?? '')]
    if (!checkpoint || !own || !found) continue
    const place = recipe.placeOf([...at, 'statistics'], 'key')
    const twin = checkpoint.files.map(({ path }) => owners.get(path)).find((name) => name !== undefined)
    if (twin !== undefined) {
      const hint = 'name a file with mean squared gradients (fisher), or with XᵀX of the inputs of each layer (regmean)'
      faults.error('bad-statistics', `the statistics of ${model} are the weights of ${twin}`, place, hint)
      continue
    }
    const other = checkpoint.files.map(({ path }) => users.get(path)).find((name) => name !== undefined)
    for (const { path } of checkpoint.files) users.set(path, model)
    if (other !== undefined)
      faults.warn(
        'foreign-statistics',
        `${quote(model)} and ${quote(other)} have the same statistics file`,
        place,
        'give each model its own statistics; with equal statistics, the merge is an average',
      )
    const more = [...found.tensors].flatMap(([name, { dtype }]) =>
      isFloat(dtype) && !own.tensors.has(name) ? [name] : [],
    )
    if (more.length > 0)
      faults.warn(
        'foreign-statistics',
        `the statistics of ${model} have ${plural(more.length, 'tensor')} that the model lacks, such as ${more[0]}`,
        place,
        'terge ignores them; make sure that the file belongs to this model',
        model,
      )
  }
}

/** The statistics files that the methods of a merge need, as names of models in the recipe. */
export const statisticsFiles = (
  { settings, rules }: MergeStep,
  models: ReadonlyMap<string, ModelSource>,
): readonly string[] =>
  [settings, ...rules.map((rule) => rule.settings)]
    .filter(({ method }) => lookupMethod(method)?.statistics)
    .flatMap((own) => own.models.flatMap((model) => models.get(model)?.statistics ?? []))

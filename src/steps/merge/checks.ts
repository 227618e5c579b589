/** Checks of a merge's weights and parameters at one tensor. */
import type { MergeExpr } from '../../expr/types.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { ranged } from '../../methods/shared/weights.js'
import type { Method } from '../../methods/types.js'
import type { MergeSettings } from './types.js'

interface Context {
  readonly recipe: RecipeHead
  readonly faults: Faults
}

/** Error: `zero-weights` if the method divides by a sum of 0. */
export function checkWeightSum(
  { recipe, faults }: Context,
  settings: MergeSettings,
  method: Method,
  name: string,
  models: readonly string[],
  weights: readonly number[],
  parameters: MergeExpr['parameters'],
) {
  if (!method.weights || !method.divides(parameters)) return
  // Only the ratios of the weights matter, and the sum of large weights can overflow.
  const ratios = ranged(weights)
  const sum = ratios.reduce((total, weight) => total + weight, 0)
  // Weights such as 0.1, 0.2 and -0.3 cancel up to rounding errors. Dividing by that sum is not an average either.
  if (Math.abs(sum) > 1e-12 * ratios.reduce((total, weight) => total + Math.abs(weight), 0)) return
  const list = models.map((model, index) => `${model}: ${weights[index]}`).join(', ')
  faults.error(
    'zero-weights',
    `the weights of ${name} add up to 0 (${list}), but ${method.name} divides by their sum`,
    recipe.placeOf(settings.weightsAt, 'key'),
    method.parameters.some(({ name }) => name === 'normalize')
      ? 'change the weights, or write parameters: {normalize: false}'
      : 'change the weights',
  )
}

/** Reports parameter values that exclude each other, at the layer of this tensor. */
export function checkParameters(
  { recipe, faults }: Context,
  settings: MergeSettings,
  method: Method,
  { models, weights, parameters }: Pick<MergeExpr, 'models' | 'weights' | 'parameters'>,
) {
  const refusal = method.refuse?.({ parameters, weights, models }, new Set(settings.parameters.keys()))
  if (!refusal) return
  const { parameter, code = 'bad-parameter', message, hint, within } = refusal
  const at = settings.parameters.get(parameter)?.at ?? settings.at
  faults.error(code, message, recipe.placeOf(at, within ? 'value' : 'key', within), hint)
}

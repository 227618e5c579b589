import { Fault } from '../../core/diagnostics.js'
import type { Evaluate } from '../../language/types.js'
import type { Recipe } from '../../recipe/types.js'
import { kindOf } from '../../steps/index.js'

/** The user must agree to commands, because the recipe can be from someone else. `also`: commands that other steps of the work run. Error: `needs-commands`. */
export function refuseCommands(recipe: Recipe, also: readonly (Evaluate | undefined)[] = []): void {
  const written = [
    ...also,
    ...recipe.outputs.map(({ evaluate }) => evaluate),
    ...recipe.steps.flatMap((step) => [kindOf(step).evaluate?.(step), kindOf(step).check?.(step)?.evaluate]),
  ]
  const places = new Map(
    written.flatMap((evaluate) => (evaluate ? [[JSON.stringify(evaluate.at), evaluate] as const] : [])),
  )
  if (places.size === 0) return
  throw new Fault(
    [...places.values()].map(({ command, env = [], at }) => ({
      severity: 'error',
      code: 'needs-commands',
      message: `the recipe runs a command: ${command.join(' ')}${env.length > 0 ? ` (with access to ${env.join(', ')})` : ''}`,
      place: recipe.placeOf(at, 'key'),
      hint: 'check what the command does, then give --allow-commands',
    })),
  )
}

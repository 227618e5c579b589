/** Errors of `terge merge`: its recipe is in no file, so they name flags. */
import type { Diagnostic } from '../../core/diagnostics.js'

/** The flag that each line of the recipe comes from. Other lines are models. */
const FLAGS = ['output', 'method', 'weights', 'base', 'include', 'exclude'] as const

/** What recipes write, as the command line writes it. */
const IN_FLAGS: readonly (readonly [RegExp, string])[] = [
  [/\bwrite parameters: \{(\w+): (…|\w+)\}/, 'give --param $1=$2'],
  [/^write base: NAME, (.*?)( \(such as .*\))?$/, 'add --base MODEL: $1'],
  [
    /^write models: \[NAME, …\] next to method$/,
    'change the number of models before the flags; --base is not one of them',
  ],
  [/, or a mapping by name$/, ''],
]

/** The end of a message about a recipe. */
const ON_RECIPES = /, but the recipe does not name one$/

/** What only a recipe can say. */
const IN_RECIPES = /\b(write|add|set|give|use) \S+: /

function hintOf(hint: string): string {
  const found = IN_FLAGS.find(([recipe]) => recipe.test(hint))
  if (found) return hint.replace(...found)
  return IN_RECIPES.test(hint) ? `${hint}, in a recipe: terge init writes one` : hint
}

/** The diagnostic with the flag instead of the place, and with a hint that the command line can follow. */
export function onFlag({ place, hint, message, ...rest }: Diagnostic): Diagnostic {
  const key = place ? /^\s*(\w+):/.exec(place.text)?.[1] : undefined
  const flag = key === 'parameters' ? 'param' : FLAGS.find((flag) => flag === key)
  return {
    ...rest,
    message: flag === undefined ? message : `--${flag}: ${message.replace(ON_RECIPES, '')}`,
    ...(hint === undefined ? {} : { hint: hintOf(hint) }),
  }
}

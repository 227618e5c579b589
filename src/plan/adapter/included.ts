import type { AdapterContent, Reporter } from '../../adapters/types.js'
import { nearNamesHint } from '../../core/names/nearNames.js'
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import type { Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { Recipe } from '../../recipe/types.js'

/** The tensors of a model's adapter that `lora_include` names: all without it. Undefined after the error `no-match`. */
export function includedTensors(
  recipe: Recipe,
  model: string,
  tensors: Value['tensors'],
  faults: Faults,
): Value['tensors'] | undefined {
  const { loraInclude } = recipe.models.get(model)!
  if (!loraInclude) return tensors
  const names = [...tensors.keys()]
  const idle = loraInclude.filter(({ pattern }) => !names.some((name) => pattern.matches(name)))
  for (const { pattern, at } of idle)
    faults.error(
      'no-match',
      `the pattern ${quote(pattern.text)} matches no tensor of the adapter`,
      recipe.placeOf(at, 'value'),
      nearNamesHint(pattern.text, names),
    )
  if (idle.length > 0) return undefined
  return new Map([...tensors].filter(([name]) => loraInclude.some(({ pattern }) => pattern.matches(name))))
}

/** Error `adapter-unused` for tensors of an adapter that nothing uses. */
export function refuseUnused({ unused = [] }: AdapterContent, reporter: Reporter): void {
  const [first] = unused
  if (first === undefined) return
  const shown = `${unused.slice(0, 3).join(', ')}${unused.length > 3 ? ', …' : ''}`
  reporter.error(
    'adapter-unused',
    `nothing in the model uses ${plural(unused.length, 'tensor')} of it: ${shown}`,
    'check that it is an adapter of this model, or name the tensors to apply: lora_include: [PATTERN]',
  )
}

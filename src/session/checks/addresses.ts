/** Checks outputs in stores: they must not replace their inputs. Commits on the hub keep what they replace. */

import { isOutputFile } from '../../checkpoints/containers/index.js'
import type { Diagnostic } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { addressText, outputAddress } from '../../language/addresses.js'
import type { Plan } from '../../plan/types.js'
import type { Recipe } from '../../recipe/types.js'

/** Errors for outputs in a store that are an input, or in the same folder as one (`output-is-input`). */
export function overlappingAddresses(recipe: Recipe, plan: Plan): Diagnostic[] {
  const inputs = [...recipe.models.values()].flatMap(({ reference, origin, subfolder = '' }) => {
    const address = origin === 's3' ? outputAddress(`${reference}/${subfolder}`) : undefined
    return address ? [{ reference, place: addressText(address) }] : []
  })
  return plan.outputs.flatMap(({ path, spec }) => {
    const address = outputAddress(path)
    if (address?.kind !== 's3') return []
    const resolved = addressText(address)
    const { at } = recipe.outputs[spec]!
    // A single file takes its name, and a folder all names directly in it.
    const taken = (place: string): boolean =>
      place === resolved || (!isOutputFile(path) && place.slice(0, place.lastIndexOf('/')) === resolved)
    const input = inputs.find(({ place }) => taken(place))
    if (!input) return []
    return [
      {
        severity: 'error' as const,
        code: 'output-is-input' as const,
        message: `the output ${quote(path)} would replace its input model ${quote(input.reference)}`,
        place: recipe.placeOf([...at, 'path']),
        hint: 'write to another place: the lineage needs its inputs unchanged',
      },
    ]
  })
}

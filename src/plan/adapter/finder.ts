import type { ValueTensor } from '../../expr/values.js'
import { mainStored } from '../../views/stored.js'

/**
 * Finds the model's tensor for a name in the network: by its stored name, then by the name in the recipe. Libraries add
 * a prefix to all names or remove it, so one leading part more or less still matches.
 */
export function finder(tensors: ReadonlyMap<string, ValueTensor | undefined>): (name: string) => string | undefined {
  const names = new Map<string, string>()
  const bare = new Map<string, string | undefined>()
  for (const given of tensors.keys()) names.set(given, given)
  const stored = new Map<string, string>()
  for (const [given, tensor] of tensors) {
    if (tensor?.expr.kind !== 'read') continue
    const { tensor: name } = mainStored(tensor.expr.view)
    // A tied head has another name for the same stored tensor.
    if (!stored.has(name) || given === name) stored.set(name, given)
  }
  for (const [name, given] of stored) names.set(name, given)
  for (const [name, given] of names) {
    const short = name.slice(name.indexOf('.') + 1)
    bare.set(short, bare.has(short) && bare.get(short) !== given ? undefined : given)
  }
  return (name) => names.get(name) ?? names.get(name.slice(name.indexOf('.') + 1)) ?? bare.get(name)
}

import type { ValueTensor } from '../../../expr/values.js'
import { kindOf } from '../../kinds/index.js'
import type { KindName, Parts, Reporter } from '../../types.js'
import type { ModuleParts, Role } from '../names.js'

/**
 * A module's tensors as the parts of a kind: by part, the role that PEFT gives it. Undefined if a part is missing. Error:
 * `adapter-factor`.
 */
export function partsOf(
  { module, roles }: ModuleParts,
  kind: KindName,
  names: Readonly<Record<string, Role>>,
  reporter: Reporter,
): Parts | undefined {
  const found = new Map<string, ValueTensor>()
  for (const [part, role] of Object.entries(names)) {
    const tensor = roles.get(role)
    if (tensor) found.set(part, tensor)
  }
  if (found.size === 0) return undefined
  const lacking = kindOf(kind).parts.find((part) => !part.endsWith('?') && !found.has(part))
  if (lacking !== undefined) {
    reporter.error(
      'adapter-factor',
      `${module} has ${[...found.keys()].map((part) => names[part]).join(', ')} but not ${names[lacking]}`,
      'the adapter is incomplete: download it again',
    )
    return undefined
  }
  return Object.fromEntries(found)
}

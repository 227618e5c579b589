/**
 * Adapters of sd-scripts that are merged with each other: `lora_unet_….lora_down.weight`, `.lora_up.weight`, and `.alpha` as
 * tensors. A module without alpha has the scale 1. The names of modules need no model for that.
 */
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { ValueTensor } from '../../expr/values.js'
import type { AdapterContent, AdapterFiles, Reporter, Update } from '../types.js'

const PART = /^([^.]+)\.(lora_down\.weight|lora_up\.weight|alpha)$/

type Part = 'lora_down.weight' | 'lora_up.weight' | 'alpha'

/** Errors: `adapter-arithmetic` for tensors of other kinds of updates, `adapter-factor`. */
export function readAmong({ tensors }: AdapterFiles, reporter: Reporter): AdapterContent | undefined {
  const modules = new Map<string, Partial<Record<Part, ValueTensor>>>()
  const others: string[] = []
  for (const [stored, tensor] of tensors) {
    const [, module, part] = PART.exec(stored) ?? []
    if (module === undefined) others.push(stored)
    else modules.set(module, { ...modules.get(module), [part as Part]: tensor })
  }
  if (others.length > 0) {
    reporter.error(
      'adapter-arithmetic',
      `the adapter has ${plural(others.length, 'tensor')} such as ${quote(others[0]!)}: without a base, terge merges plain LoRA files of sd-scripts with each other, and nothing else of them`,
      'apply each adapter to its base ({path: BASE, lora: ADAPTER}), and merge the models',
    )
    return undefined
  }
  const updates = [...modules].flatMap(([module, parts]) => updateOf(module, parts, reporter))
  return updates.length === modules.size ? { ...TRAITS, updates, replaced: new Map(), beneath: new Set() } : undefined
}

export const TRAITS = { fanInFanOut: false, tiesHead: () => false, isSaved: () => false, task: undefined } as const

function updateOf(
  module: string,
  { 'lora_down.weight': a, 'lora_up.weight': b, alpha }: Partial<Record<Part, ValueTensor>>,
  reporter: Reporter,
): Update[] {
  if (!a || !b || (alpha && !isFloat(alpha.dtype))) {
    const lacks = !a ? 'no lora_down' : !b ? 'no lora_up' : `an alpha in ${alpha!.dtype}`
    reporter.error('adapter-factor', `${module} has ${lacks}`, 'the adapter is incomplete: download it again')
    return []
  }
  const rank = a.shape[0] ?? 0
  return [
    {
      ...{ kind: 'lora', module, target: { name: module }, rank },
      parts: { a, b, ...(alpha ? { alpha } : {}) },
      // The value of alpha is known only when the tensor is read.
      scale: alpha ? 1 / rank : 1,
    },
  ]
}

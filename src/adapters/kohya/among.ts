/**
 * Files of sd-scripts and LyCORIS that are merged with each other. The names of modules need no model for that, and the shapes of
 * weights are those that the tensors make.
 */
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { AdapterContent, AdapterFiles, Reporter, Update } from '../types.js'
import { REFUSED_HINT, refuseKinds } from './refused.js'
import { type ModuleTensors, sorted } from './roles.js'
import { ownShape, updatesOf } from './updates.js'

export const TRAITS = { fanInFanOut: false, tiesHead: () => false, isSaved: () => false, task: undefined } as const

/** Errors: `adapter-arithmetic` for tensors of other kinds of updates, `adapter-unused`, and those of `updatesOf`. */
export function readAmong(files: AdapterFiles, reporter: Reporter): AdapterContent | undefined {
  const { modules, refused, unknown } = sorted(files.tensors)
  if (refuseKinds(refused, reporter)) return undefined
  if (unknown.length > 0) {
    reporter.error(
      'adapter-unused',
      `terge does not know ${plural(unknown.length, 'tensor')} of it, such as ${quote(unknown[0]!)}`,
      'check that it is an adapter, or apply each adapter to its base ({path: BASE, lora: ADAPTER}) and merge the models',
    )
    return undefined
  }
  const dotted = modules.find(({ flat }) => !flat)
  if (dotted) {
    reporter.error(
      'adapter-arithmetic',
      `it has the names of diffusers or ComfyUI, such as ${quote(dotted.name)}: without a base, terge merges files with the names of sd-scripts (lora_unet_…) and adapters of PEFT`,
      REFUSED_HINT,
    )
    return undefined
  }
  const read = modules.map((module) => updatesIn(module, files, reporter))
  if (read.some((updates) => updates.length === 0)) return undefined
  return { ...TRAITS, updates: read.flat(), replaced: new Map(), beneath: new Set() }
}

/** The names of the targets are the stored ones. Empty after an error. */
function updatesIn(module: ModuleTensors, files: AdapterFiles, reporter: Reporter): Update[] {
  const { name, tensors, stored } = module
  const shape = ownShape(tensors)
  const target = { kind: 'one', module: name, shapeOf: () => shape } as const
  return updatesOf(module, target, files, reporter).flatMap((update): Update[] => {
    const { kind, parts, scale } = update
    const role = (['diff_b', 'w_norm', 'b_norm'] as const).find((one) => parts.diff && tensors.get(one) === parts.diff)
    if (role !== undefined) return [{ ...update, target: { name: stored.get(role)! } }]
    if (scale < 0) {
      const shown = stored.get('alpha') ?? name
      reporter.error('bad-adapter', `${shown} is negative`, 'the adapter is damaged: download it again')
      return []
    }
    const own: Update = { ...update, target: { name } }
    const alpha = tensors.get('alpha')
    const rank = parts.a?.shape[0] ?? 0
    if (kind !== 'lora' || !alpha || !isFloat(alpha.dtype)) return [own]
    // As the tensor that it is: its product with B is rounded once.
    return [{ ...own, parts: { ...parts, alpha }, scale: 1 / rank, rank }]
  })
}

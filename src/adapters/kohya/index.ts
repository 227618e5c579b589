/**
 * Files of sd-scripts (kohya), LyCORIS, diffusers and ComfyUI: one file without a configuration. Scales are tensors (`….alpha`) or
 * in the header (`lora_adapter_metadata`). Names of modules have `_` for dots, or begin with the part of a pipeline.
 */
import { quote } from '../../core/suggest.js'
import type { AdapterContent, AdapterFiles, AdapterFormat, Network, Reporter, Update } from '../types.js'
import { readAmong, TRAITS } from './among.js'
import { headerScales } from './header.js'
import { refuseKinds } from './refused.js'
import { isFactor, isOurs, type ModuleTensors, sorted } from './roles.js'
import { resolver } from './targets.js'
import { updatesOf } from './updates.js'

/**
 * Errors: `bad-adapter`, `adapter-arithmetic` for tensors of unsupported kinds, `adapter-factor`, `adapter-shape`,
 * `adapter-names`, and those of the header's configuration.
 */
function read(files: AdapterFiles, network: Network | undefined, reporter: Reporter): AdapterContent | undefined {
  if (!network) return readAmong(files, reporter)
  const { modules, refused, unknown } = sorted(files.tensors)
  if (refuseKinds(refused, reporter)) return undefined
  const scales = headerScales(files, network, reporter)
  if (!scales) return undefined
  const targetOf = resolver(network)
  const unused = [...unknown]
  const updates: Update[] = []
  for (const module of modules) {
    const target = targetOf(module)
    if (!target) unused.push(...namesOf(module))
    else if (target.kind === 'several')
      reporter.error(
        'adapter-names',
        `${quote(module.name)} is the name of several modules of the model: ${target.modules.map(quote).join(' and ')}`,
        'rename the tensors of the adapter to full names with dots, such as diffusion_model.MODULE.lora_A.weight',
      )
    else updates.push(...(scales(module, target) ?? updatesOf(module, target, files, reporter)))
  }
  return { ...TRAITS, straight: true, updates, replaced: new Map(), beneath: new Set(), unused: unused.sort() }
}

const namesOf = ({ stored }: ModuleTensors): readonly string[] => [...stored.values()]

export const kohya: AdapterFormat = {
  name: 'kohya',
  detect: ({ tensors, config, metadata }) => {
    const names = [...tensors.keys()]
    if (names.some(isOurs)) return true
    return config === undefined && (names.some(isFactor) || metadata?.lora_adapter_metadata !== undefined)
  },
  read,
  isUpdate: (stored) => isOurs(stored) || isFactor(stored),
  nameOf: (stored) => stored,
}

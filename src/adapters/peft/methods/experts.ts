/** LoRA on parameters (`target_parameters`): stacks of experts, whose factors are those of all experts in one. */
import { quote } from '../../../core/suggest.js'
import { moduleOf } from '../../../networks/modules.js'
import { expertsType } from '../../kinds/experts.js'
import type { Update } from '../../types.js'
import type { ModuleParts } from '../names.js'
import type { Settings } from '../settings.js'
import type { Context } from './types.js'

/** A parameter that the configuration names: its own name, and how its module's name ends. */
interface TargetParameter {
  readonly module: string
  readonly parameter: string
}

export interface Experts {
  readonly targets: readonly TargetParameter[]
  readonly rank: (parameter: string) => number
  readonly scale: (parameter: string) => number
  /** `peft_version`. */
  readonly version: string
  readonly context: Context
}

/**
 * Parameters in the order in which networks have them. With several updates of one module, PEFT nests that of the first one
 * innermost.
 */
const ORDER = ['gate_up_proj', 'gate_up_proj_bias', 'up_proj', 'down_proj', 'down_proj_bias']

/**
 * The module under whose name the factors of a parameter are stored. With several updates of one module, PEFT wraps the module
 * several times.
 */
export function nestedModule(parameter: string, all: readonly string[]): string {
  const { module, part: own } = moduleOf(parameter)
  const beside = all.map(moduleOf).filter((one) => one.module === module)
  const outer = beside.filter(({ part }) => ORDER.indexOf(part) > ORDER.indexOf(own)).length
  return `${module}${'.base_layer'.repeat(outer)}`
}

/** The parameters that the configuration names. Error: `bad-adapter`. */
export function targetParameters({ config, bad }: Settings): readonly TargetParameter[] {
  const { target_parameters: written } = config
  if (written === undefined || written === null) return []
  if (!Array.isArray(written) || !written.every((name) => typeof name === 'string')) {
    bad('target_parameters is not a list of names')
    return []
  }
  return written.map((name: string) => {
    const { module, part } = moduleOf(name)
    return { module, parameter: part }
  })
}

const isBelow = (module: string, { module: end }: TargetParameter): boolean =>
  end === '' || module === end || module.endsWith(`.${end}`)

/**
 * The update of a parameter, if the module has parameters that the configuration names; undefined otherwise. Errors:
 * `adapter-experts`, `adapter-factor`.
 */
export function expertUpdates(own: ModuleParts, experts: Experts): readonly Update[] | undefined {
  const { module, depth, roles } = own
  const { targets, rank, scale, version, context } = experts
  const { network, modules, reporter } = context
  const below = targets.filter((target) => isBelow(module, target))
  // Without a network: a matrix that is named with its module, such as that of a router.
  const isMatrix = !network && below.some((target) => target.module !== '' && target.parameter === 'weight')
  const named = isMatrix ? ['weight'] : [...new Set(below.map(({ parameter }) => parameter))]
  const parameters = named.filter((parameter) => !network || network.has(`${module}.${parameter}`))
  const levels = modules.filter((other) => other.module === module && other.roles.has('lora_A')).length
  const [a, b] = [roles.get('lora_A'), roles.get('lora_B')]
  if ((!a && !b) || named.length === 0) return undefined
  // A target without a module's name can mean a parameter of any module.
  const isLayer = network ? network.has(`${module}.weight`) : !isMatrix && !/experts$/.test(module)
  if (levels === 1 && isLayer && (parameters.length === 0 || !network)) return undefined
  const refuse = (message: string, hint = 'merge the adapter into its base with PEFT, and use the result'): [] => {
    reporter.error('adapter-experts', message, hint)
    return []
  }
  if (!a || !b) {
    const [has, lacks] = a ? ['A', 'B'] : ['B', 'A']
    const hint = 'the adapter is incomplete: download it again'
    reporter.error('adapter-factor', `${module} has factor ${has} but not factor ${lacks}`, hint)
    return []
  }
  if (parameters.length !== levels)
    return refuse(
      `${module} has updates of ${levels} parameters, but target_parameters names ${parameters.length} that the model has`,
      'use the base model that the adapter was trained on',
    )
  if (parameters.length > 1 && parameters.some((name) => !ORDER.includes(name)))
    return refuse(
      `${module} has updates of several parameters, and nothing shows which belongs to ${parameters.map(quote).join(' and which to ')}`,
    )
  const parameter = parameters.toSorted((one, other) => ORDER.indexOf(one) - ORDER.indexOf(other))[levels - 1 - depth]!
  // PEFT matches its patterns with the name of the parameter, not with that of the module.
  const name = `${module}.${parameter}`
  return [
    {
      ...{ kind: 'experts', module: name, target: { name } },
      ...{ parts: { a, b }, scale: scale(name), rank: rank(name) },
      settings: { version, modelType: expertsType(network?.config) },
    },
  ]
}

/** VeRA and AdaLoRA of PEFT: products of two factors, with a number for each rank, and in VeRA for each output. */
import { elements } from '../../../core/dtypes.js'
import type { ValueTensor } from '../../../expr/values.js'
import type { View } from '../../../views/types.js'
import type { Network } from '../../types.js'
import { viewOf } from '../../views.js'
import type { PeftMethod } from './types.js'

/** The first places of a matrix along an axis. */
function cut(tensor: ValueTensor, axis: number, count: number): ValueTensor {
  const of: View = { kind: 'slice', of: viewOf(tensor), axis, start: 0, count }
  return { ...tensor, shape: tensor.shape.with(axis, count), expr: { kind: 'read', view: of } }
}

const shapeOf = (network: Network | undefined, name: string): readonly number[] | undefined => {
  const own = network?.find(name)
  return own === undefined ? undefined : network?.tensors.get(own)?.shape
}

/** All modules share A and B, of which each uses the first columns and rows. */
export const vera: PeftMethod = {
  keys: ['r', 'projection_prng_key', 'save_projection', 'vera_dropout', 'd_initial'],
  roles: ['vera_lambda_b', 'vera_lambda_d', 'vera_A', 'vera_B'],
  example: '…q_proj.vera_lambda_b',
  read({ refuse }, { network, modules, reporter }) {
    const shared = modules.find(({ roles }) => roles.has('vera_A'))?.roles
    const [a, b] = [shared?.get('vera_A'), shared?.get('vera_B')]
    if (!a || !b)
      refuse('VeRA without its projections (save_projection: false)', 'save it with PEFT and save_projection: true')
    return ({ module, roles }) => {
      const [outputs, ranks] = [roles.get('vera_lambda_b'), roles.get('vera_lambda_d')]
      if (!a || !b || (!outputs && !ranks)) return []
      if (!outputs || !ranks) {
        const [has, lacks] = outputs ? ['vera_lambda_b', 'vera_lambda_d'] : ['vera_lambda_d', 'vera_lambda_b']
        const hint = 'the adapter is incomplete: download it again'
        reporter.error('adapter-factor', `${module} has ${has} but not ${lacks}`, hint)
        return []
      }
      const name = `${module}.weight`
      const rows = elements(outputs.shape)
      const columns = elements(shapeOf(network, name) ?? []) / rows
      const fits = Number.isInteger(columns) && columns <= a.shape[1]! && rows <= b.shape[0]!
      const parts = fits ? { a: cut(a, 1, columns), b: cut(b, 0, rows) } : { a, b }
      return [
        {
          ...{ kind: 'lora', module, target: { name }, scale: 1 },
          parts: { ...parts, aScale: ranks, bScale: outputs },
        },
      ]
    }
  },
}

/** PEFT divides by the initial rank, whatever rank is left. */
export const adalora: PeftMethod = {
  keys: `init_r target_r lora_alpha tinit tfinal deltaT beta1 beta2 orth_reg_weight total_step rank_pattern
    lora_dropout init_lora_weights r loftq_config use_rslora use_dora alpha_pattern lora_bias eva_config corda_config
    lora_ga_config qalora_group_size`.split(/\s+/),
  roles: ['lora_A', 'lora_B', 'lora_E'],
  example: '…q_proj.lora_E',
  read(settings, { reporter }) {
    const rank = settings.positive('init_r', 12)
    const written = settings.number('lora_alpha', 8)
    for (const key of ['use_dora', 'use_rslora'] as const)
      if (settings.flag(key)) settings.refuse(`AdaLoRA with ${key}`)
    const scale = (written > 0 ? written : rank) / Math.fround(Math.fround(rank) + 1e-5)
    return ({ module, roles }) => {
      const [a, b, aScale] = [roles.get('lora_A'), roles.get('lora_B'), roles.get('lora_E')]
      if (!a && !b && !aScale) return []
      if (!a || !b || !aScale) {
        reporter.error(
          'adapter-factor',
          `${module} lacks one of lora_A, lora_B and lora_E`,
          'the adapter is incomplete: download it again',
        )
        return []
      }
      return [{ kind: 'lora', module, target: { name: `${module}.weight` }, parts: { a, b, aScale }, scale }]
    }
  },
}

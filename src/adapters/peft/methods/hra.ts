/** HRA of PEFT. */
import { partsOf } from './parts.js'
import type { PeftMethod } from './types.js'

export const hra: PeftMethod = {
  keys: ['r', 'apply_GS'],
  roles: ['hra_u'],
  example: '…q_proj.hra_u',
  read(settings, { reporter }) {
    const orthonormal = settings.flag('apply_GS')
    return (own) => {
      const { module } = own
      const parts = partsOf(own, 'hra', { u: 'hra_u' }, reporter)
      if (!parts) return []
      return [{ kind: 'hra', module, target: { name: `${module}.weight` }, parts, scale: 1, settings: { orthonormal } }]
    }
  },
}

/** OFT of PEFT 0.18 and later. Earlier versions computed other rotations from the same tensors. */
import { partsOf } from './parts.js'
import type { PeftMethod } from './types.js'

const HINT = 'merge the adapter into its base with the version of PEFT that trained it, and use the result'

export const oft: PeftMethod = {
  keys: `r oft_block_size coft eps block_share use_cayley_neumann num_cayley_neumann_terms module_dropout`.split(' '),
  roles: ['oft_R'],
  example: '…q_proj.oft_R.weight',
  read(settings, { reporter }) {
    const { config, refuse } = settings
    if (settings.flag('coft')) refuse('OFT with coft', HINT)
    const [, minor = '0'] = /^0\.(\d+)\./.exec(String(config.peft_version)) ?? []
    if (Number(minor) < 18) refuse('OFT of a version of PEFT before 0.18 (peft_version)', HINT)
    else if (typeof config.use_cayley_neumann !== 'boolean') refuse('OFT without use_cayley_neumann', HINT)
    const [shared, series] = [settings.flag('block_share'), settings.flag('use_cayley_neumann')]
    const terms = series ? settings.positive('num_cayley_neumann_terms', 5) : 0
    return (own) => {
      const { module } = own
      const parts = partsOf(own, 'oft', { r: 'oft_R' }, reporter)
      if (!parts) return []
      return [
        { kind: 'oft', module, target: { name: `${module}.weight` }, parts, scale: 1, settings: { shared, terms } },
      ]
    }
  },
}

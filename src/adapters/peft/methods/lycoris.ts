/** LoHa and LoKr of PEFT. Both scale by alpha / rank, also where both factors of a LoKr are whole. */
import type { KindName } from '../../types.js'
import type { Role } from '../names.js'
import { partsOf } from './parts.js'
import type { PeftMethod } from './types.js'

const method = (kind: KindName, parts: Readonly<Record<string, Role>>, example: string): PeftMethod => ({
  keys: `r alpha rank_pattern alpha_pattern rank_dropout module_dropout use_effective_conv2d decompose_both
    decompose_factor rank_dropout_scale`.split(/\s+/),
  roles: Object.values(parts),
  example,
  read(settings, { reporter }) {
    const [r, alpha] = [settings.positive('r', 8), settings.number('alpha', 8)]
    const [ranks, alphas] = [settings.ranks('rank_pattern'), settings.numbers('alpha_pattern')]
    return (own) => {
      const { module } = own
      const found = partsOf(own, kind, parts, reporter)
      const scale = (alphas(module) ?? alpha) / (ranks(module) ?? r)
      return found ? [{ kind, module, target: { name: `${module}.weight` }, parts: found, scale }] : []
    }
  },
})

const LOHA = {
  w1_a: 'hada_w1_a',
  w1_b: 'hada_w1_b',
  w2_a: 'hada_w2_a',
  w2_b: 'hada_w2_b',
  t1: 'hada_t1',
  t2: 'hada_t2',
} as const

const LOKR: Readonly<Record<string, Role>> = {
  ...({ w1: 'lokr_w1', w1_a: 'lokr_w1_a', w1_b: 'lokr_w1_b' } as const),
  ...({ w2: 'lokr_w2', w2_a: 'lokr_w2_a', w2_b: 'lokr_w2_b', t2: 'lokr_t2' } as const),
}

export const loha = method('loha', LOHA, '…q_proj.hada_w1_a')
export const lokr = method('lokr', LOKR, '…q_proj.lokr_w1')

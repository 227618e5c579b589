import type { Family, LayoutRule } from '../../types.js'
import { LAYER, NUMBERED, orientedAs, rows } from './shared.js'

const OWN = `${LAYER}.block_sparse_moe`
const FUSED = `${LAYER}.mlp`
const EXPERTS = rows(`${OWN}.experts`, `${FUSED}.experts`, NUMBERED)

/** `router`: the name of the router's weight in transformers 5. */
const family = (name: string, title: string, types: readonly string[], router: string, more: LayoutRule[]): Family => ({
  name,
  title,
  types,
  forms: [
    { name: 'released', says: 'one tensor per expert and matrix: block_sparse_moe.experts.0.w1', rules: [] },
    {
      name: 'transformers-5',
      says: 'all experts in one tensor: mlp.experts.gate_up_proj [experts, 2 · intermediate, hidden]',
      rules: [...EXPERTS, { tensor: `${FUSED}.${router}.weight`, is: `${OWN}.gate.weight` }, ...more],
      fits: orientedAs(`${FUSED}.experts`, 'rows'),
    },
  ],
})

export const mixtral = family('mixtral', 'Mixtral, MiniMax', ['mixtral', 'minimax', 'minimax_m2'], 'gate', [
  { tensor: `${FUSED}.e_score_correction_bias`, is: `${OWN}.e_score_correction_bias` },
])

export const phimoe = family('phimoe', 'Phi-3.5 MoE', ['phimoe'], 'router', [])

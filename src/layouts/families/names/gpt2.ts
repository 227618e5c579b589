import type { Facts, Family, LayoutRule } from '../../types.js'

const LAYER = '{prefix}h.{layer}'
const MATRICES = [
  ...['attn.c_attn', 'attn.c_proj', 'mlp.c_fc', 'mlp.c_fc2', 'mlp.c_proj'],
  ...['crossattention.c_attn', 'crossattention.q_attn', 'crossattention.c_proj'],
]
const rules = MATRICES.map(
  (name): LayoutRule => ({ tensor: `${LAYER}.${name}.weight`, is: { transpose: `${LAYER}.${name}.weight` } }),
)

const MATRIX = /^((?:.*\.)?h\.\d+\.)((?:attn|crossattention|mlp)\.(?:c_attn|c_fc2?|c_proj))\.weight$/

/**
 * The orientations that a model's shapes show: the bias is as long as the output. Where there is none, the input of
 * `c_attn` and `c_fc` and the output of the projections are as wide as the network.
 */
function orientationsIn({ shapes }: Facts): ReadonlySet<'turned' | 'straight'> {
  const found = new Set<'turned' | 'straight'>()
  for (const [name, { shape }] of shapes) {
    const [, layer, matrix] = MATRIX.exec(name) ?? []
    const [rows, columns] = shape
    if (layer === undefined || matrix === undefined || shape.length !== 2 || rows === columns) continue
    const bias = shapes.get(`${layer}${matrix}.bias`)?.shape[0]
    const width = shapes.get(`${layer}ln_1.weight`)?.shape[0] ?? shapes.get(`${layer}attn.c_proj.weight`)?.shape[0]
    const isOutput = (size: number | undefined): boolean =>
      bias !== undefined ? size === bias : matrix.endsWith('c_proj') === (size === width)
    if (bias === undefined && width !== rows && width !== columns) continue
    if (isOutput(columns) !== isOutput(rows)) found.add(isOutput(columns) ? 'turned' : 'straight')
  }
  return found
}

/** Whether all shapes that tell an orientation tell this one. */
function shows(facts: Facts, orientation: 'turned' | 'straight'): boolean | undefined {
  const found = orientationsIn(facts)
  return found.size === 0 ? undefined : found.size === 1 && found.has(orientation)
}

/** GPT-2 of transformers multiplies by matrices of [inputs, outputs]. The square `attn.c_proj` turns with the others. */
export const gpt2: Family = {
  name: 'gpt2',
  title: 'GPT-2 and models with its layers',
  types: ['gpt2', 'openai-gpt', 'imagegpt', 'decision_transformer', 'jais'],
  byNames: true,
  forms: [
    {
      name: 'conv1d',
      says: 'weights as in Conv1D: [inputs, outputs]',
      rules,
      fits: (facts) => shows(facts, 'turned'),
    },
    {
      name: 'linear',
      says: 'weights as in nn.Linear: [outputs, inputs]',
      rules: [],
      fits: (facts) => shows(facts, 'straight'),
    },
  ],
}

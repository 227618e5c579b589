/** Weights whose names and shapes are those of layers that adapters know, but that PEFT can't change as such. */
import type { Value } from '../../expr/values.js'
import { isShared } from '../../networks/heads.js'
import { moduleOf } from '../../networks/modules.js'
import { EMBEDDING, isHead, SHARED, saysTied } from '../../networks/tied.js'

type Config = Readonly<Record<string, unknown>> | undefined

/** Layers that PEFT refuses in these networks. */
const STATE_SPACE = /^(falcon_h1|mamba|mamba2|falcon_mamba|nemotron_h)$/
const REFUSED = /(^|\.)(out_proj|conv1d)$/

/** Modules that read the weights of layers inside of them without calling these: by a tensor beside, which they have too. */
const READERS: readonly (readonly [beside: string, layers: RegExp])[] = [
  // State spaces.
  ['A_log', /^(dt_proj|out_proj)$/],
  // The attention of torch itself.
  ['in_proj_weight', /^out_proj$/],
  // WavLM.
  ['gru_rel_pos_linear.weight', /^(q|k|v|out)_proj$/],
]

/** Why an embedding is neither changed nor saved. */
export const SHARED_EMBEDDING = 'an embedding of encoder and decoder at once: PEFT would change one of them'

/** Whether PEFT has no layer for a weight that looks like one. */
export function unfitIn({ tensors }: Value, config: Config): (name: string, shape: readonly number[]) => boolean {
  const isStateSpace = STATE_SPACE.test(String(config?.model_type))
  const isRead = (module: string): boolean => {
    const dot = module.lastIndexOf('.') + 1
    const [owner, own] = [module.slice(0, dot), module.slice(dot)]
    return READERS.some(([beside, layers]) => layers.test(own) && tensors.has(`${owner}${beside}`))
  }
  const width = config?.groups_width
  return (name, shape) => {
    const { module } = moduleOf(name)
    if (isRead(module) || (isStateSpace && REFUSED.test(module))) return true
    if (shape.length !== 4) return false
    const [outputs, inputs, height] = shape
    // A transposed convolution is stored as [inputs, outputs, ...].
    const bias = tensors.get(`${module}.bias`)?.shape[0]
    if (bias !== undefined && bias !== outputs && bias === inputs) return true
    // RegNet: the number of groups is only in the configuration. Convolutions of 1 × 1 have none.
    return width === inputs && height !== 1 && outputs !== inputs
  }
}

/** Whether a tensor is an embedding that encoder and decoder have in common, in modules of their own. */
export function sharedIn({ tensors }: Value, config: Config): (name: string) => boolean {
  const shared = isShared(tensors, config)
  return (name) => shared && SHARED.test(name)
}

/** Why a head is neither changed nor saved by itself. */
export const TIED_HEAD = 'a head that is the embedding (tie_word_embeddings): PEFT would change both twice'

/** Whether a tensor is a stored head that is the embedding in memory. */
export function tiedIn({ tensors }: Value, config: Config): (name: string, shape: readonly number[]) => boolean {
  const entries = [...tensors]
  const hasEmbedding = entries.some(([name]) => EMBEDDING.test(name))
  return (name, shape) => hasEmbedding && saysTied(config, name) && isHead(name, shape, entries)
}

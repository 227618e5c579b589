/**
 * How the weights of linear layers are stored: [out, in] as in nn.Linear, or [in, out] as in the Conv1D of
 * transformers.
 */
import { moduleOf } from './modules.js'

type Shape = readonly number[]
/** By tensor name. */
export type Shapes = ReadonlyMap<string, { readonly shape: Shape }>
type Config = Readonly<Record<string, unknown>> | undefined

/** Layers with these names are Conv1D in some architectures and nn.Linear in others. */
const CONV1D = /(^|\.)(c_attn|c_fc\d*|c_proj|q_attn)$/
/** Architectures, by `model_type`, whose layers with these names are Conv1D. Their other layers are nn.Linear. */
const CONV1D_TYPES = new Set(['gpt2', 'openai-gpt', 'imagegpt', 'decision_transformer', 'clvp', 'clvp_decoder', 'jais'])
/** Architectures with only nn.Linear layers: by `model_type`, or by its beginning. */
const LINEAR_TYPES =
  /^(opt|qwen|siglip)$|^(albert|bart|bert|bloom|camembert|clip|codegen|cohere|deberta|deepseek|deit|dinov|distilbert|electra|falcon|gemma|glm|gpt_(bigcode|neo|oss)|gptj|granite|internlm|llama$|longformer|m2m_100|mamba|marian|mbart|mistral|mixtral|mpnet|mpt|mt5|nemotron|olmo|pegasus|phi|qwen\d|roberta|siglip\d|smollm|stablelm|starcoder|swin|t5|umt5|vit|wav2vec2|whisper|xglm|xlm-roberta)/

export const isConv1dName = (module: string): boolean => CONV1D.test(module)

export type Orientation = 'straight' | 'turned'
export type Decision = Orientation | 'unknown' | 'contradiction'

export interface Orientations {
  /** Records the orientation of a module's layer, which its shapes show. */
  note(module: string, orientation: Orientation): void
  /** The orientation of a layer whose shapes do not show it, from its neighbours and the architecture. */
  of(module: string): Decision
  /**
   * The same. If these do not decide, an adapter's `fan_in_fan_out` does, as far as that is certain. `updated`: the
   * adapter's modules.
   */
  byFlag(module: string, flag: boolean, updated: readonly string[]): Decision
}

/** Known orientations of layers: by the part of the network, and by their own name in it. */
export function orientations(shapes: Shapes, config: Config): Orientations {
  const found = new Map<string, Set<Orientation>>()
  let turned = false
  const add = (key: string, orientation: Orientation): void => {
    const known = found.get(key)
    if (known) known.add(orientation)
    else found.set(key, new Set([orientation]))
  }
  const note = (module: string, orientation: Orientation): void => {
    const tower = towerOf(module)
    add(`${tower} ${tailOf(module)}`, orientation)
    add(`${tower} ${isConv1dName(module) ? '(conv1d)' : '(other)'}`, orientation)
    turned ||= orientation === 'turned'
  }
  for (const [name, { shape }] of shapes) {
    const { module, part } = moduleOf(name)
    if (part !== 'weight' || shape.length !== 2 || shape[0] === shape[1]) continue
    const bias = shapes.get(`${module}.bias`)?.shape
    if (bias?.length !== 1 || (bias[0] !== shape[0] && bias[0] !== shape[1])) continue
    note(module, bias[0] === shape[1] ? 'turned' : 'straight')
  }
  const ofKind = (module: string): ReadonlySet<Orientation> =>
    found.get(`${towerOf(module)} ${isConv1dName(module) ? '(conv1d)' : '(other)'}`) ?? new Set()
  const of = (module: string): Decision => {
    const ownName = found.get(`${towerOf(module)} ${tailOf(module)}`)
    // All layers with the same name have the same class, and so do all Conv1D names in one part of a network.
    const said = ownName ?? (isConv1dName(module) ? ofKind(module) : [])
    const declared = declaredOf(module, config)
    const [first, second] = new Set([...said, ...(declared ? [declared] : [])])
    return second !== undefined ? 'contradiction' : (first ?? 'unknown')
  }
  return {
    note,
    of,
    byFlag(module, flag, updated) {
      const decision = of(module)
      if (decision !== 'unknown') return decision
      if (isConv1dName(module)) {
        if (flag) return 'turned'
        // PEFT stores the flag of the last layer that it met, which may have another class.
        return updated.every(isConv1dName) ? 'straight' : 'unknown'
      }
      if (!flag) return 'straight'
      const [first, second] = ofKind(module)
      if (first !== undefined && second === undefined) return first
      return turned || updated.some(isConv1dName) ? 'straight' : 'unknown'
    },
  }
}

/** The orientation by the architecture. */
function declaredOf(module: string, config: Config): Orientation | undefined {
  const type = modelTypeOf(module, config)
  if (type === undefined) return undefined
  if (CONV1D_TYPES.has(type)) return isConv1dName(module) ? 'turned' : 'straight'
  return LINEAR_TYPES.test(type) ? 'straight' : undefined
}

/** The `model_type` of the part of the network that a module belongs to, if the configuration has one. */
function modelTypeOf(module: string, config: Config): string | undefined {
  for (const part of module.split('.').slice(0, 3)) {
    const own = config?.[part] ?? config?.[`${part}_config`] ?? config?.[`${part.replace(/_model$/, '')}_config`]
    const type = typeof own === 'object' && own !== null ? (own as Record<string, unknown>).model_type : undefined
    if (typeof type === 'string') return type
  }
  return typeof config?.model_type === 'string' ? config.model_type : undefined
}

/** The part of the network that a module belongs to: the name before its layer number. */
function towerOf(module: string): string {
  const parts = module.split('.')
  const number = parts.findIndex((part) => /^\d+$/.test(part))
  return parts.slice(0, number < 0 ? Math.max(0, parts.length - 1) : number).join('.')
}

const tailOf = (module: string): string => module.slice(module.lastIndexOf('.') + 1)

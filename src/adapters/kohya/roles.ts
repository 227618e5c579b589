/** Names of tensors in files of sd-scripts, LyCORIS, diffusers and ComfyUI: a part of a pipeline, a module, and a role. */
import type { ValueTensor } from '../../expr/values.js'

/** Roles by what follows the module's name. Diffusers and ComfyUI have their own words for factors. */
const ROLES = {
  'lora_down.weight': 'down',
  'lora_up.weight': 'up',
  'lora_mid.weight': 'mid',
  'lora_A.weight': 'down',
  'lora_B.weight': 'up',
  'lora_A.default.weight': 'down',
  'lora_B.default.weight': 'up',
  'lora.down.weight': 'down',
  'lora.up.weight': 'up',
  'lora_linear_layer.down.weight': 'down',
  'lora_linear_layer.up.weight': 'up',
  'lora_B.bias': 'up_bias',
  lora_magnitude_vector: 'magnitude',
  'lora_magnitude_vector.weight': 'magnitude',
  'lora_magnitude_vector.default.weight': 'magnitude',
  dora_scale: 'dora_scale',
  hada_w1_a: 'hada_w1_a',
  hada_w1_b: 'hada_w1_b',
  hada_w2_a: 'hada_w2_a',
  hada_w2_b: 'hada_w2_b',
  hada_t1: 'hada_t1',
  hada_t2: 'hada_t2',
  lokr_w1: 'lokr_w1',
  lokr_w1_a: 'lokr_w1_a',
  lokr_w1_b: 'lokr_w1_b',
  lokr_w2: 'lokr_w2',
  lokr_w2_a: 'lokr_w2_a',
  lokr_w2_b: 'lokr_w2_b',
  lokr_t2: 'lokr_t2',
  diff: 'diff',
  diff_b: 'diff_b',
  w_norm: 'w_norm',
  b_norm: 'b_norm',
  alpha: 'alpha',
} as const

export type Role = (typeof ROLES)[keyof typeof ROLES]

/** Tensors of kinds that terge does not apply: OFT, BOFT, GLoRA, IA³, DyLoRA, and sparse biases. */
const REFUSED =
  /\.(oft_blocks|oft_diag|rescale|on_input|[ab][12]\.weight|bm\.weight|bias_(indices|values|size)|set_weight|reshape_weight|lora_(up|down)\.\d+|lokr_t1|scalar)$/

const FIRST = new Set(Object.keys(ROLES).map((role) => role.charCodeAt(0)))
const LONGEST = Math.max(...Object.keys(ROLES).map(({ length }) => length))
/** Attention processors of diffusers before 0.20: the layer is part of the factor's name. */
const PROCESSOR =
  /^(.+?)(\.processor)?\.(to_q|to_k|to_v|to_out|add_k_proj|add_v_proj|q_proj|k_proj|v_proj|out_proj)_lora\.(down|up)\.weight$/
/** Names with `_` for dots. */
const FLAT = /^(lora_unet|lora_transformer|lora_te|lora_te1|lora_te2|lora_te3|lycoris)_([^.]+)$/
const DOTTED =
  /^(unet|transformer|diffusion_model|model\.diffusion_model|text_encoder|text_encoder_2|text_encoder_3|text_encoders\.\w+\.transformer)\.(.+)$/

/** The part of a pipeline that a module belongs to. `any`: names of the whole model. */
export type Part = 'network' | 'te1' | 'te2' | 'te3' | 'any'

const PARTS: Readonly<Record<string, Part>> = {
  lora_unet: 'network',
  lora_transformer: 'network',
  unet: 'network',
  transformer: 'network',
  diffusion_model: 'network',
  'model.diffusion_model': 'network',
  lora_te: 'te1',
  lora_te1: 'te1',
  lora_te2: 'te2',
  lora_te3: 'te3',
  text_encoder: 'te1',
  text_encoder_2: 'te2',
  text_encoder_3: 'te3',
  'text_encoders.clip_l.transformer': 'te1',
  'text_encoders.clip_g.transformer': 'te2',
  'text_encoders.t5xxl.transformer': 'te3',
  lycoris: 'any',
}

/** The tensors of one module of an adapter. */
export interface ModuleTensors {
  /** As it is stored. */
  readonly name: string
  /** What stands before the module's own name: `lora_unet`, `text_encoder`. */
  readonly prefix: string
  readonly part: Part
  /** The module's own name. */
  readonly own: string
  /** Whether it has `_` for each dot. */
  readonly flat: boolean
  readonly tensors: ReadonlyMap<Role, ValueTensor>
  /** By role, the stored name. */
  readonly stored: ReadonlyMap<Role, string>
}

interface Named {
  readonly module: string
  readonly role: Role
}

function parse(stored: string): Named | undefined {
  const [, outer, , layer, side] = stored.includes('_lora.') ? (PROCESSOR.exec(stored) ?? []) : []
  if (outer !== undefined && layer !== undefined)
    return { module: `${outer}.${layerOf(outer, layer)}`, role: side === 'down' ? 'down' : 'up' }
  // The shortest module that leaves a role over. Models have tens of thousands of names: an expression would be slow.
  for (
    let dot = stored.indexOf('.', Math.max(1, stored.length - LONGEST - 1));
    dot > 0;
    dot = stored.indexOf('.', dot + 1)
  ) {
    if (!FIRST.has(stored.charCodeAt(dot + 1))) continue
    const role = stored.slice(dot + 1)
    if (Object.hasOwn(ROLES, role)) return { module: stored.slice(0, dot), role: ROLES[role as keyof typeof ROLES] }
  }
  return undefined
}

/** Text encoders name the layers of attention in their own way. */
function layerOf(outer: string, layer: string): string {
  if (!outer.endsWith('self_attn')) return layer === 'to_out' ? 'to_out.0' : layer
  return layer.replace(/^to_out$/, 'out_proj').replace(/^to_([qkv])$/, '$1_proj')
}

function placeOf(module: string): Pick<ModuleTensors, 'prefix' | 'part' | 'own' | 'flat'> {
  const [, flat, rest] = FLAT.exec(module) ?? []
  if (flat !== undefined) return { prefix: flat, part: PARTS[flat]!, own: rest!, flat: true }
  const [, dotted, inside] = DOTTED.exec(module) ?? []
  const part = dotted === undefined ? undefined : PARTS[dotted]
  return part
    ? { prefix: dotted!, part, own: inside!, flat: false }
    : { prefix: '', part: 'any', own: module, flat: false }
}

/** Whether a name can only be one of sd-scripts or LyCORIS. */
export const isOurs = (stored: string): boolean => {
  const dot = stored.indexOf('.')
  return dot > 0 && FLAT.test(stored.slice(0, dot)) && (parse(stored) !== undefined || REFUSED.test(stored))
}

const FACTORS: ReadonlySet<Role> = new Set(['down', 'up', 'hada_w1_a', 'lokr_w1', 'lokr_w1_a', 'lokr_w2', 'lokr_w2_a'])
/** PEFT's names of factors, which need its configuration if nothing says which part of a pipeline they belong to. */
const OF_PEFT = /\.(lora_[AB](\.default)?\.weight|hada_[wt]\w+|lokr_[wt]\w+)$/

/** Whether a name is one of a factor, in a file that has no configuration. */
export function isFactor(stored: string): boolean {
  const named = parse(stored)
  if (!named || !FACTORS.has(named.role)) return false
  return !OF_PEFT.test(stored) || placeOf(named.module).part !== 'any'
}

interface Growing extends ModuleTensors {
  readonly tensors: Map<Role, ValueTensor>
  readonly stored: Map<Role, string>
}

export interface Sorted {
  readonly modules: readonly ModuleTensors[]
  /** Names of tensors of other kinds. */
  readonly refused: readonly string[]
  readonly unknown: readonly string[]
}

/** Sorts a file's tensors by module. A second tensor of one role is unknown. */
export function sorted(tensors: ReadonlyMap<string, ValueTensor>): Sorted {
  const modules = new Map<string, Growing>()
  const refused: string[] = []
  const unknown: string[] = []
  for (const [stored, tensor] of tensors) {
    const named = parse(stored)
    const own = named && (modules.get(named.module) ?? { ...placeOf(named.module), ...empty(named.module) })
    if (!named || !own || own.tensors.has(named.role)) {
      ;(REFUSED.test(stored) ? refused : unknown).push(stored)
      continue
    }
    modules.set(named.module, own)
    own.tensors.set(named.role, tensor)
    own.stored.set(named.role, stored)
  }
  return { modules: [...modules.values()], refused, unknown }
}

const empty = (name: string) => ({ name, tensors: new Map<Role, ValueTensor>(), stored: new Map<Role, string>() })

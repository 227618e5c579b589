import type { Checkpoint, QuantizationRefusal } from '../checkpoints/types.js'
import type { Dtype } from '../core/dtypes.js'
import { plural } from '../core/words.js'
import { isFloat } from '../encodings/index.js'
import type { Value } from '../expr/values.js'
import type { Faults } from '../language/faults.js'
import type { RecipeHead } from '../language/types.js'

/** The form of packed weights in a checkpoint: a tensor of packed numbers, and tensors next to it for unpacking. */
interface Scheme {
  readonly name: string
  /** The end of the names of the tensors for unpacking, and what replaces it in the name of the packed numbers. */
  readonly beside: RegExp
  readonly payload: string
  readonly dtypes: ReadonlySet<Dtype> | 'any'
  /** What replaces `payload` in the name of the unpacked weight. Default: the payload's. */
  readonly weight?: string
}

/** Dtypes with at most 8 bits. */
const SMALL: ReadonlySet<Dtype> = new Set([
  ...(['U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0', 'F4', 'F6_E2M3', 'F6_E3M2'] as const),
])
const WORDS: ReadonlySet<Dtype> = new Set(['U8', 'I8', 'I16', 'U16', 'I32', 'U32', 'I64'])

const SCHEMES: readonly Scheme[] = [
  { name: 'GPTQ or AWQ', beside: /\.(qzeros|scales|g_idx)$/, payload: '.qweight', dtypes: WORDS, weight: '.weight' },
  {
    name: 'bitsandbytes',
    // The packed numbers can have any dtype.
    beside: /\.weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+)$/,
    payload: '.weight',
    dtypes: 'any',
  },
  { name: 'bitsandbytes', beside: /\.(SCB|weight_format)$/, payload: '.weight', dtypes: new Set(['I8']) },
  {
    name: 'compressed-tensors',
    beside: /\.weight_(scale|shape|zero_point|g_idx|global_scale)$/,
    payload: '.weight_packed',
    dtypes: 'any',
    weight: '.weight',
  },
  { name: 'HQQ', beside: /\.(scale|zero|meta|nbits|shape)$/, payload: '.W_q', dtypes: 'any', weight: '.weight' },
  { name: 'AQLM', beside: /\.(codebooks|scales)$/, payload: '.codes', dtypes: WORDS, weight: '.weight' },
  {
    name: 'quanto',
    beside: /\.weight\.(_scale|_shift)$/,
    payload: '.weight._data',
    dtypes: SMALL,
    weight: '.weight',
  },
  { name: 'MXFP4', beside: /_scales$/, payload: '_blocks', dtypes: new Set(['U8']), weight: '' },
  { name: '', beside: /(_scale_inv|_scales?|_scale_2|_zero_point)$/, payload: '', dtypes: SMALL },
  {
    name: '',
    beside: /\.(input_scale|output_scale|scale_weight|scale_input|scale|scale_inv)$/,
    payload: '.weight',
    dtypes: SMALL,
  },
]

/** The parts of a model that are needed here. */
interface Described {
  readonly tensors: ReadonlyMap<string, { readonly dtype: Dtype; readonly shape: readonly number[] }>
  readonly quantization?: string
  readonly refusal?: QuantizationRefusal
}

/** The quantization method in a model's configuration. */
export function quantizationOf(config: Checkpoint['config']): { readonly quantization?: string } {
  const settings = config?.quantization_config as { readonly quant_method?: unknown } | null | undefined
  return typeof settings?.quant_method === 'string' ? { quantization: settings.quant_method } : {}
}

/** Dtypes that no scheme uses. A model with only these needs no search. */
const PLAIN: ReadonlySet<Dtype> = new Set(['F64', 'F32', 'F16', 'BF16', 'I64', 'BOOL'])

/**
 * By tensor name, the scheme of packed tensors: the packed numbers, the tensors for unpacking, and the names that the
 * weights have in an unpacked model. Names and dtypes decide. The configuration only gives the scheme's name. Plain
 * integers, and FP8 without scales, do not count as packed.
 */
export function packedOf({ tensors, quantization, refusal }: Described): ReadonlyMap<string, string> {
  const packed = new Map<string, string>()
  if (refusal?.tensor !== undefined && tensors.has(refusal.tensor))
    packed.set(refusal.tensor, quantization ?? 'quantized')
  if (!refusal && [...tensors.values()].every(({ dtype }) => PLAIN.has(dtype))) return packed
  for (const [name, { dtype, shape }] of tensors) {
    for (const { name: scheme, beside, payload, dtypes, weight = payload } of SCHEMES) {
      const end = beside.exec(name)?.[0]
      if (end === undefined) continue
      const stem = name.slice(0, -end.length)
      const numbers = tensors.get(`${stem}${payload}`)
      if (!numbers || (dtypes !== 'any' && !dtypes.has(numbers.dtype))) continue
      const by = quantization ?? (scheme || `${numbers.dtype} with scales`)
      for (const one of [name, `${stem}${payload}`, `${stem}${weight}`]) packed.set(one, by)
      break
    }
    if (quantization !== undefined && shape.length === 2 && SMALL.has(dtype) && name.endsWith('.weight'))
      packed.set(name, quantization)
  }
  return packed
}

/** Whether a tensor, written as `dtype`, may hold packed numbers. Its reader then needs to know the scheme. */
export const mayBePacked = (dtype: Dtype | undefined, tensor: { readonly dtype: Dtype }): boolean =>
  !PLAIN.has(isFloat(tensor.dtype) ? (dtype ?? tensor.dtype) : tensor.dtype)

/**
 * Reports packed weights, which can't be merged, once per model at its place in the recipe. Error: `packed-weights`.
 */
export function refusePacked(
  recipe: RecipeHead,
  value: Value,
  packed: ReadonlyMap<string, string>,
  name: string,
  at: RecipeHead['steps'][number]['at'],
  faults: Faults,
): void {
  const by = packed.get(name)!
  const count = [...packed.keys()].filter((one) => value.tensors.has(one)).length
  const place = recipe.placeOf(recipe.models.get(value.name)?.at ?? at, 'key')
  const { refusal } = value
  if (refusal?.code === 'damaged-weights') {
    faults.error(refusal.code, `${value.name}: ${refusal.message}`, place, refusal.hint)
    return
  }
  const all = `${by}; ${plural(count, 'tensor')}, such as ${name}`
  faults.error(
    'packed-weights',
    `the weights of ${value.name} are packed (${all}): ${refusal?.message ?? "packed weights can't be merged"}`,
    place,
    refusal?.hint ??
      'unpack the model to float16 or bfloat16 first (transformers: model.dequantize(), then save_pretrained), or exclude these tensors with filters',
  )
}

/** The same for models that are needed as a whole. True if one is packed. */
export function refuseAnyPacked(
  recipe: RecipeHead,
  values: readonly Value[],
  at: RecipeHead['steps'][number]['at'],
  faults: Faults,
): boolean {
  const packed = values.filter((value) => {
    const found = packedOf(value)
    const [name] = found.keys()
    if (name !== undefined) refusePacked(recipe, value, found, name, at, faults)
    return name !== undefined
  })
  return packed.length > 0
}

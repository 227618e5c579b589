/** The registry of quantization schemes, and how a model's stored tensors become weights. */
import type { Dtype } from '../core/dtypes.js'
import { plural } from '../core/words.js'
import type { View } from '../views/types.js'
import { damaged, unsupported } from './parts.js'
import { awq } from './schemes/awq.js'
import { bitsandbytes } from './schemes/bitsandbytes.js'
import { compressedTensors } from './schemes/compressedTensors.js'
import { mxfp4Experts } from './schemes/fp4.js'
import { fbgemm, fp8 } from './schemes/fp8.js'
import { gptq } from './schemes/gptq.js'
import { modelopt } from './schemes/modelopt.js'
import { methodOf } from './settings.js'
import type { Layout, Module, QuantizedModel, Scheme, StoredPart } from './types.js'

const SCHEMES: readonly Scheme[] = [fp8, fbgemm, compressedTensors, modelopt, mxfp4Experts, bitsandbytes, awq, gptq]

/** A weight that is computed from stored tensors. */
export interface QuantizedWeight {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly view: View
  readonly format: string
  /** The names of its stored tensors, and of tensors about activations that belong to it. The codes come first. */
  readonly parts: readonly string[]
}

/** The quantized weights of a model. All other tensors are as they are stored. */
export interface Quantized {
  readonly scheme: string
  /** By the name that the weight has in an unquantized model. */
  readonly weights: ReadonlyMap<string, QuantizedWeight>
  /** Stored tensors that are no tensors of an unquantized model. */
  readonly claimed: ReadonlySet<string>
  /** Of these, the tensors about activations and caches, which a result in floating point does not need. */
  readonly dropped: readonly string[]
}

/** Scales of activations and of the KV cache. They do not change weights. */
const ACTIVATIONS =
  /[._](input_scale|input_scale_ub|output_scale|activation_scale|activation_scale_ub|act_scale|input_global_scale|output_global_scale|input_zero_point|output_zero_point|[qkv]_scale|kv_scale|[kv]_zero_point|prob_output_scale)$/
/** Names that only tensors of quantized weights have. */
const PARTS =
  /([._]weight_(scale(_inv|_2)?|global_scale|packed|shape|zero_point|g_idx|format)|_scale_inv|\.(qweight|qzeros|g_idx|SCB|SCBt|CB|absmax|nested_absmax|quant_map|nested_quant_map)|\.quant_state\.\w+|_(blocks|scales)|pre_quant_scale|svdquant_lora_[ab])$/
/** Dtypes in which numbers of a network are stored only with scales. */
const CODES: ReadonlySet<Dtype> = new Set<Dtype>(['F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F4', 'F6_E2M3', 'F6_E3M2'])
const BYTES: ReadonlySet<Dtype> = new Set<Dtype>(['U8', 'I8', 'I32', 'U32'])

/** The scheme for a `quant_method`. */
const schemeOf = (method: string | undefined): Scheme | undefined =>
  SCHEMES.find(({ methods }) => method !== undefined && methods.includes(method))

/**
 * A model's quantized weights; undefined if none of its tensors is quantized. Throws a `Refusal` if the scheme is unknown,
 * or if its tensors do not fit the configuration or each other.
 */
export async function quantizedWeights(model: QuantizedModel): Promise<Quantized | undefined> {
  const method = methodOf(model.settings)
  const scheme = schemeOf(method)
  if (!scheme) throw unsupported(`its quantization method, ${JSON.stringify(method ?? null)}, is unsupported`)
  const layouts = scheme.layouts(model)
  const weights = new Map<string, QuantizedWeight & { parts: string[] }>()
  const claimed = new Set<string>()
  for (const codes of model.stored.values()) {
    const found = layoutOf(model, layouts, codes)
    if (!found) continue
    const { layout, module } = found
    const made = await layout.make(module)
    const name = `${module.stem}${layout.weight}`
    const parts = [codes, ...ends(layout).flatMap((end) => module.part(end) ?? [])].map((part) => part.name)
    if (weights.has(name) || (model.stored.has(name) && !parts.includes(name)))
      throw damaged(model, codes, `gives the weight ${name}, which another tensor gives as well`)
    for (const part of parts) claimed.add(part)
    const dtype = model.dtype ?? made.dtype ?? 'BF16'
    const { shape, format } = made
    weights.set(name, { name, dtype, shape, view: withFormat(made.view, format), format, parts })
  }
  const dropped = [...model.stored.keys()].filter((name) => ACTIVATIONS.test(name) && !claimed.has(name))
  for (const name of dropped) claimed.add(name)
  refuseRest(model, layouts, claimed, weights.size)
  if (weights.size === 0) return undefined
  const ownerOf = owners(weights)
  for (const name of dropped) ownerOf(name).parts.push(name)
  return { scheme: scheme.name, weights, claimed, dropped }
}

/** The view with the format in its decoded numbers. */
function withFormat(view: View, format: string): View {
  if (view.kind === 'decode') return { ...view, format }
  return view.kind === 'permute' || view.kind === 'reshape' ? { ...view, of: withFormat(view.of, format) } : view
}

const ends = ({ required, optional = [] }: Layout): readonly string[] => [...required, ...optional]

/** The first layout whose tensors are all there. Error `damaged-weights` if tensors are missing for every layout that the codes fit. */
function layoutOf(
  model: QuantizedModel,
  layouts: readonly Layout[],
  codes: StoredPart,
): { readonly layout: Layout; readonly module: Module } | undefined {
  let first: { readonly stem: string; readonly layout: Layout } | undefined
  for (const layout of layouts) {
    if (!codes.name.endsWith(layout.codes)) continue
    const stem = codes.name.slice(0, codes.name.length - layout.codes.length)
    if (!layout.fits(codes, stem, model)) continue
    const part = (end: string): StoredPart | undefined => model.stored.get(`${stem}${end}`)
    const need = (end: string): StoredPart => {
      const found = part(end)
      if (!found) throw damaged(model, codes, `has no ${stem}${end}`)
      return found
    }
    if (layout.required.every(part)) return { layout, module: { model, stem, codes, part, need } }
    first ??= { stem, layout }
  }
  const missing = first?.layout.required.find((end) => !model.stored.has(`${first!.stem}${end}`))
  if (first && missing !== undefined)
    throw damaged(model, codes, `is ${codes.dtype} and has no ${first.stem}${missing}`)
  return undefined
}

/** Refuses tensors that look like parts of quantized weights, but belong to none. */
function refuseRest(
  model: QuantizedModel,
  layouts: readonly Layout[],
  claimed: ReadonlySet<string>,
  weights: number,
): void {
  const known = new Set(layouts.flatMap((layout) => [layout.codes, ...ends(layout)]).filter((end) => end.length > 7))
  for (const tensor of model.stored.values()) {
    const { name, dtype, shape } = tensor
    if (claimed.has(name)) continue
    const orphan = PARTS.test(name) || [...known].some((end) => end !== '.weight' && name.endsWith(end))
    if (orphan)
      throw damaged(model, tensor, 'belongs to no weight: the tensor that it describes is missing or has another dtype')
    const packed = shape.length >= 2 && (CODES.has(dtype) || (BYTES.has(dtype) && name.endsWith('.weight')))
    if (packed)
      throw damaged(
        model,
        tensor,
        `is ${dtype} ${weights === 0 ? 'without' : 'but has none of the'} tensors that ${plural(layouts.length, 'layout')} of this format need`,
      )
  }
}

/** For a tensor about activations, the weight whose name has the longest common start with it, in dotted parts. */
function owners<W extends QuantizedWeight>(weights: ReadonlyMap<string, W>): (name: string) => W {
  const byStart = new Map<string, W>()
  const startsOf = (name: string): string[] =>
    [...name.matchAll(/\./g)].map(({ index }) => name.slice(0, index)).reverse()
  for (const weight of weights.values())
    for (const start of [...startsOf(weight.name), '']) if (!byStart.has(start)) byStart.set(start, weight)
  return (name) => byStart.get([...startsOf(name), ''].find((start) => byStart.has(start))!)!
}

/** bitsandbytes: NF4 and FP4 over the flattened weight, and INT8 with one scale per row. */
import type { Dtype } from '../../core/dtypes.js'
import { elements } from '../../core/dtypes.js'
import { isObject, parseJson } from '../../core/json/text.js'
import type { View } from '../../views/types.js'
import {
  damaged,
  decoded,
  expectDtype,
  expectShape,
  groupGrid,
  shown,
  storedView,
  unsupported,
  wholeNumber,
} from '../parts.js'
import type { DecodeForm, Layout, Made, Module, Scheme, Settings, StoredPart } from '../types.js'

const STATES = ['nf4', 'fp4'] as const
const DTYPES: Readonly<Record<string, Dtype>> = { float16: 'F16', bfloat16: 'BF16', float32: 'F32' }

export const bitsandbytes: Scheme = {
  name: 'bitsandbytes',
  methods: ['bitsandbytes'],
  layouts: () => [...STATES.map(fourBits), bytes],
}

/** I8 numbers, each row times its scale / 127. */
const bytes: Layout = {
  codes: '.weight',
  weight: '.weight',
  fits: ({ dtype, shape }) => dtype === 'I8' && shape.length === 2,
  required: ['.SCB'],
  optional: ['.weight_format'],
  make(module) {
    const { codes } = module
    const [scale, format] = [module.need('.SCB'), module.part('.weight_format')]
    expectDtype(module, scale, 'F32')
    expectShape(module, scale, [codes.shape[0]!], [codes.shape[0]!, 1], [1, codes.shape[0]!])
    if (format) {
      expectDtype(module, format, 'U8')
      expectShape(module, format, [], [1])
    }
    const form: DecodeForm = {
      codes: { kind: 'numbers', dtype: 'I8' },
      scale: { part: 1, form: { kind: 'number' }, by: { kind: 'constant', over: 127 } },
      block: [1, Math.max(1, codes.shape[1]!)],
      groups: 1,
      // Others have the numbers in another order.
      ...(format ? { expected: [{ part: 2, values: [0] }] } : {}),
    }
    return format ? checked(module, format, form) : made(module, form, [codes, scale])
  },
}

const made = (module: Module, form: DecodeForm, parts: readonly StoredPart[]): Made => ({
  shape: module.codes.shape,
  view: decoded(module, module.codes.shape, form, parts.map(storedView)),
  format: 'INT8 (bitsandbytes)',
  dtype: 'F16',
})

async function checked(module: Module, format: StoredPart, form: DecodeForm): Promise<Made> {
  const [code] = await module.model.read(format)
  if (code !== 0)
    throw unsupported(
      `${format.name} is ${code}: bitsandbytes stored ${module.codes.name} in another order than by rows`,
    )
  return made(module, form, [module.codes, module.need('.SCB'), format])
}

function fourBits(type: (typeof STATES)[number]): Layout {
  const state = `.quant_state.bitsandbytes__${type}`
  return {
    codes: '',
    weight: '',
    fits: (_, stem, model) => model.stored.has(`${stem}${state}`),
    required: ['.absmax', '.quant_map', state],
    optional: ['.nested_absmax', '.nested_quant_map'],
    make: async (module) => fourBitWeight(module, type, await stateOf(module, module.need(state))),
  }
}

async function stateOf({ model }: Module, part: StoredPart): Promise<Settings> {
  if (part.dtype !== 'U8') throw damaged(model, part, `is ${part.dtype}, not U8`)
  try {
    const state = parseJson(Buffer.from(await model.read(part)).toString('utf8'), { depth: 4, values: 100 })
    if (isObject(state)) return state
  } catch (error) {
    throw damaged(model, part, `is not JSON: ${(error as Error).message}`)
  }
  throw damaged(model, part, 'is not a JSON object')
}

function fourBitWeight(module: Module, type: string, state: Settings): Made {
  const { codes, model } = module
  const about = module.need(`.quant_state.bitsandbytes__${type}`)
  const sizes = Array.isArray(state.shape) ? state.shape.map(wholeNumber) : []
  const shape = sizes.filter((size) => size !== undefined && size > 0) as number[]
  const size = wholeNumber(state.blocksize)
  if (shape.length === 0 || shape.length !== sizes.length || !Number.isSafeInteger(elements(shape)))
    throw damaged(model, about, `has the shape ${JSON.stringify(state.shape)}`)
  if (size === undefined || size < 1)
    throw damaged(model, about, `has the blocksize ${JSON.stringify(state.blocksize)}`)
  if (state.quant_type !== type) throw damaged(model, about, `has the quant_type ${JSON.stringify(state.quant_type)}`)
  const count = elements(shape)
  const spare = 2 * codes.bytes - count
  if (codes.strides || spare < 0 || spare >= 2 * Math.max(1, codes.bytes / Math.max(1, elements(codes.shape))))
    throw damaged(model, codes, `has ${codes.bytes} bytes, but ${shown(shape)} needs ${Math.ceil(count / 2)}`)
  const { groups } = groupGrid(count, size)
  const [scale, map] = [module.need('.absmax'), module.need('.quant_map')]
  expectDtype(module, map, 'F32')
  expectShape(module, map, [16])
  if (elements(scale.shape) !== groups)
    throw damaged(model, scale, `is ${shown(scale.shape)}, but ${shown(shape)} has ${groups} blocks of ${size}`)
  const of: View[] = [storedView(codes), storedView(scale), storedView(map)]
  const form: DecodeForm = {
    codes: { kind: 'nibbles', first: 'high', table: 2 },
    scale: { part: 1, form: scaleForm(module, scale, state, groups, of) },
    block: [1, size],
    groups,
  }
  const flat = decoded(module, [count], form, of)
  const dtype = DTYPES[String(state.dtype).replace(/^torch\./, '')]
  const view: View = { kind: 'reshape', of: flat, shape }
  return { shape, view, format: `${type.toUpperCase()} (bitsandbytes)`, ...(dtype ? { dtype } : {}) }
}

/** Absmax as float32, or as bytes with scales of their own. */
function scaleForm(
  module: Module,
  scale: StoredPart,
  state: Settings,
  groups: number,
  of: View[],
): DecodeForm['scale']['form'] {
  const { model } = module
  const [outer, map] = [module.part('.nested_absmax'), module.part('.nested_quant_map')]
  if (!outer && !map) {
    expectDtype(module, scale, 'F32')
    return { kind: 'number' }
  }
  if (!outer || !map) throw damaged(model, scale, 'has only one of nested_absmax and nested_quant_map')
  const { nested_blocksize: written, nested_offset: offset } = state
  const block = wholeNumber(written)
  if (block === undefined || block < 1 || typeof offset !== 'number' || !Number.isFinite(offset))
    throw damaged(
      model,
      scale,
      `is nested, with the blocksize ${JSON.stringify(written)} and the offset ${JSON.stringify(offset)}`,
    )
  expectDtype(module, scale, 'U8')
  expectDtype(module, outer, 'F32')
  expectDtype(module, map, 'F32')
  expectShape(module, map, [256])
  expectShape(module, outer, [Math.ceil(groups / block)])
  of.push(storedView(outer), storedView(map))
  return { kind: 'nested', map: of.length - 1, outer: of.length - 2, block, offset }
}

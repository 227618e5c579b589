/** FP8 of DeepSeek, Qwen, Mistral and transformers (`fp8`), and of FBGEMM (`fbgemm_fp8`). */
import {
  blockGrid,
  damaged,
  decoded,
  expectDtype,
  expectShape,
  FLOATS,
  type Grid,
  isExponent,
  plainGrid,
  shown,
  storedView,
  unsupported,
  wholeNumber,
} from '../parts.js'
import type { Layout, Made, Module, QuantizedModel, Scheme, StoredPart } from '../types.js'

/** The block size where the configuration does not write one. */
const BLOCK = [128, 128] as const

/** `undefined`: not written. `null`: one scale per tensor. */
type BlockSize = readonly [number, number] | null | undefined

export const fp8: Scheme = {
  name: 'FP8',
  methods: ['fp8'],
  layouts(model) {
    const block = blockSize(model)
    const { fmt } = model.settings
    if (fmt !== undefined && fmt !== null && fmt !== 'e4m3')
      throw unsupported(`its FP8 format is ${JSON.stringify(fmt)}`)
    return [
      layout('.weight', '.weight', '.weight_scale_inv', (module) =>
        gridOf(module, module.need('.weight_scale_inv'), block),
      ),
      layout('.weight', '.weight', '.weight_scale', (module) => gridOf(module, module.need('.weight_scale'), block)),
      layout('.weight', '.weight', '.scale', (module) => gridOf(module, module.need('.scale'), block)),
      layout('', '', '_scale_inv', (module) => gridOf(module, module.need('_scale_inv'), block)),
      layout('', '', '_scale', (module) => gridOf(module, module.need('_scale'), block)),
    ]
  },
}

export const fbgemm: Scheme = {
  name: 'FBGEMM FP8',
  methods: ['fbgemm_fp8'],
  layouts: () => [
    layout('.weight', '.weight', '.weight_scale', (module) => plain(module, module.need('.weight_scale'))),
    layout('', '', '_scale', (module) => plain(module, module.need('_scale'))),
  ],
}

/** FP8 numbers with scales, whose grid `grid` finds. */
export function layout(codes: string, weight: string, scale: string, grid: (module: Module) => Grid): Layout {
  return {
    codes,
    weight,
    fits: ({ dtype, shape, name }) =>
      dtype === 'F8_E4M3' && (codes === '' ? shape.length === 3 && !name.endsWith('.weight') : shape.length >= 2),
    required: [scale],
    make: (module) => scaledNumbers(module, module.need(scale), grid(module)),
  }
}

/** FP8 numbers times scales in this grid. */
export function scaledNumbers(module: Module, scale: StoredPart, { block, groups, words }: Grid): Made {
  const { codes } = module
  expectDtype(module, scale, ...FLOATS, 'F8_E8M0', 'U8')
  const kind = isExponent(scale.dtype) ? 'exponent' : 'number'
  const form = {
    codes: { kind: 'numbers', dtype: 'F8_E4M3' },
    scale: { part: 1, form: { kind } },
    ...{ block, groups },
  } as const
  const view = decoded(module, codes.shape, form, [storedView(codes), storedView(scale)])
  return { shape: codes.shape, view, format: `FP8, ${words}` }
}

/** Scales per tensor or per channel. */
export function plain(module: Module, scale: StoredPart): Grid {
  const { codes, model } = module
  const grid = plainGrid(codes.shape, scale.shape)
  if (grid) return grid
  throw damaged(
    model,
    scale,
    `is ${shown(scale.shape)}: it must be one number, or one per row of ${codes.name} ${shown(codes.shape)}`,
  )
}

function gridOf(module: Module, scale: StoredPart, block: BlockSize): Grid {
  const { codes } = module
  if (block === null) return plain(module, scale)
  const grid = blockGrid(codes.shape, block ?? BLOCK)
  const isGrid =
    grid.shape.length === scale.shape.length && grid.shape.every((size, axis) => size === scale.shape[axis])
  // Older files have one scale per tensor or per row and write no block size.
  const named = scale.name.endsWith('weight_scale') || scale.shape.length < 2
  const other = !isGrid && block === undefined && named ? plainGrid(codes.shape, scale.shape) : undefined
  if (other) return other
  expectShape(module, scale, grid.shape)
  return grid
}

function blockSize({ settings }: QuantizedModel): BlockSize {
  const { weight_block_size: written } = settings
  if (written === undefined || written === null) return written
  const sizes = Array.isArray(written) ? written.map(wholeNumber) : []
  if (sizes.length !== 2 || sizes.some((size) => size === undefined || size < 1))
    throw unsupported(`its weight_block_size is ${JSON.stringify(written)}, not two numbers`)
  return [sizes[0]!, sizes[1]!]
}

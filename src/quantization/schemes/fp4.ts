/** FP4 numbers (E2M1), two in a byte, the lower half first: MXFP4 and NVFP4. */
import {
  damaged,
  decoded,
  expectDtype,
  expectShape,
  groupGrid,
  isExponent,
  shown,
  storedView,
  turned,
  unsupported,
} from '../parts.js'
import type { DecodeForm, Layout, Made, Module, Scheme, StoredPart } from '../types.js'

/** Numbers that share a scale. */
const MX = 32
const NV = 16

const CODES = { kind: 'nibbles', first: 'low', table: 'E2M1' } as const

/** Columns of a matrix whose rows have two numbers per byte. */
function columnsOf({ model, codes }: Module, size: number): number {
  const columns = 2 * codes.shape.at(-1)!
  if (columns % size !== 0 || columns === 0)
    throw damaged(model, codes, `is ${shown(codes.shape)}: ${columns} columns do not fill groups of ${size}`)
  return columns
}

/** Scales that are powers of 2, one for 32 numbers. */
export function mxfp4(module: Module, scale: StoredPart): Made {
  const columns = columnsOf(module, MX)
  const lead = module.codes.shape.slice(0, -1)
  const { block, groups } = groupGrid(columns, MX)
  if (!isExponent(scale.dtype)) throw damaged(module.model, scale, `is ${scale.dtype}, not U8 or F8_E8M0`)
  expectShape(module, scale, [...lead, groups])
  const form: DecodeForm = { codes: CODES, scale: { part: 1, form: { kind: 'exponent' } }, block, groups }
  const shape = [...lead, columns]
  return { shape, view: decoded(module, shape, form, [storedView(module.codes), storedView(scale)]), format: 'MXFP4' }
}

/** FP8 scales, one for 16 numbers, that a second scale multiplies or divides. */
export function nvfp4(
  module: Module,
  end: string,
  second: { readonly kind: 'times' | 'over'; readonly end: string },
): Made {
  const columns = columnsOf(module, NV)
  const lead = module.codes.shape.slice(0, -1)
  const { block, groups } = groupGrid(columns, NV)
  const [scale, whole] = [module.need(end), module.need(second.end)]
  expectDtype(module, scale, 'F8_E4M3')
  expectShape(module, scale, [...lead, groups])
  expectDtype(module, whole, 'F32', 'BF16', 'F16')
  expectShape(module, whole, [], [1])
  const form: DecodeForm = {
    codes: CODES,
    scale: { part: 1, form: { kind: 'number' }, by: { kind: second.kind, part: 2 } },
    ...{ block, groups },
  }
  const shape = [...lead, columns]
  const view = decoded(module, shape, form, [module.codes, scale, whole].map(storedView))
  return { shape, view, format: 'NVFP4' }
}

/** gpt-oss: stacks of matrices, in blocks of 32 numbers. */
export const mxfp4Experts: Scheme = {
  name: 'MXFP4',
  methods: ['mxfp4'],
  layouts: () => [
    // The library transposes its matrices: those of the model are [experts, in, out].
    blocks('_blocks', '_scales', true),
    blocks('.blocks', '.scales', false),
  ],
}

function blocks(codes: string, scales: string, isTurned: boolean): Layout {
  return {
    codes,
    weight: '',
    fits: ({ dtype, shape }) => dtype === 'U8' && shape.length >= 3 && shape.at(-1) === MX / 2,
    required: [scales],
    make(module) {
      const [scale, shape] = [module.need(scales), module.codes.shape.slice(0, -1)]
      if (!isExponent(scale.dtype)) throw damaged(module.model, scale, `is ${scale.dtype}, not U8 or F8_E8M0`)
      expectShape(module, scale, shape)
      const columns = shape.at(-1)! * MX
      const { block, groups } = groupGrid(columns, MX)
      const form: DecodeForm = { codes: CODES, scale: { part: 1, form: { kind: 'exponent' } }, block, groups }
      const all = [...shape.slice(0, -1), columns]
      const view = decoded(module, all, form, [storedView(module.codes), storedView(scale)])
      if (!isTurned) return { shape: all, view, format: 'MXFP4' }
      if (all.length !== 3)
        throw unsupported(`${module.codes.name} is ${shown(module.codes.shape)}, not a stack of matrices`)
      return { shape: [all[0]!, all[2]!, all[1]!], view: turned(view), format: 'MXFP4' }
    },
  }
}

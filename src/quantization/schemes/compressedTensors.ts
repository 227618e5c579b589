/** compressed-tensors: FP8, INT8, packed integers, MXFP4, MXFP8 and NVFP4, also several in one model. */
import { isObject } from '../../core/json/text.js'
import { compilePattern } from '../../core/patterns.js'
import {
  blockGrid,
  damaged,
  expectDtype,
  expectShape,
  type Grid,
  groupGrid,
  isExponent,
  plainGrid,
  shown,
  unsupported,
  wholeNumber,
} from '../parts.js'
import type { Layout, Module, Scheme, Settings, StoredPart } from '../types.js'
import { mxfp4, nvfp4 } from './fp4.js'
import { layout, scaledNumbers } from './fp8.js'
import { integers, packedIntegers } from './integers.js'

/** Formats of whole models and of groups. Weights of the others are stored in another way. */
const FORMATS: ReadonlySet<string> = new Set([
  'dense',
  'float-quantized',
  'int-quantized',
  'naive-quantized',
  'pack-quantized',
  'nvfp4-pack-quantized',
  'mxfp4-pack-quantized',
  'mxfp8-quantized',
  'mixed-precision',
])

/** What the configuration says of the weights of a group of modules. */
interface Group {
  readonly targets: readonly string[]
  readonly bits: number | undefined
  readonly type: string
  readonly strategy: string | undefined
  readonly size: number | undefined
  readonly block: readonly [number, number] | undefined
  readonly symmetric: boolean
}

export const compressedTensors: Scheme = {
  name: 'compressed-tensors',
  methods: ['compressed-tensors'],
  layouts(model) {
    refuseSettings(model.settings)
    const groups = groupsOf(model.settings)
    const groupFor = (module: Module, bits: readonly number[], type: string): Group =>
      groupOf(groups, module, bits, type)
    return [
      {
        ...packed('I32'),
        required: ['.weight_scale'],
        optional: ['.weight_shape', '.weight_zero_point', '.weight_g_idx'],
        make: (module) => {
          const { bits, size, strategy, symmetric } = groupFor(module, [1, 2, 3, 4, 5, 6, 7, 8], 'int')
          return packedIntegers(module, { bits: bits!, symmetric, ...(strategy === 'group' && size ? { size } : {}) })
        },
      },
      {
        ...packed('U8'),
        required: ['.weight_scale', '.weight_global_scale'],
        make: (module) => {
          groupFor(module, [4], 'float')
          return nvfp4(module, '.weight_scale', { kind: 'over', end: '.weight_global_scale' })
        },
      },
      {
        ...packed('U8'),
        required: ['.weight_scale'],
        make: (module) => {
          groupFor(module, [4], 'float')
          return mxfp4(module, module.need('.weight_scale'))
        },
      },
      {
        ...layout('.weight', '.weight', '.weight_scale', (module) =>
          gridOf(module, module.need('.weight_scale'), groupFor(module, [8], 'float')),
        ),
        make: (module) => {
          const scale = module.need('.weight_scale')
          const made = scaledNumbers(module, scale, gridOf(module, scale, groupFor(module, [8], 'float')))
          return isExponent(scale.dtype) ? { ...made, format: 'MXFP8' } : made
        },
      },
      {
        codes: '.weight',
        weight: '.weight',
        fits: ({ dtype, shape }) => dtype === 'I8' && shape.length >= 2,
        required: ['.weight_scale'],
        optional: ['.weight_zero_point'],
        make: (module) => {
          const scale = module.need('.weight_scale')
          return integers(module, scale, gridOf(module, scale, groupFor(module, [8, 7, 6, 5, 4, 3, 2], 'int')))
        },
      },
    ]
  },
}

const packed = (dtype: 'I32' | 'U8'): Pick<Layout, 'codes' | 'weight' | 'fits'> => ({
  codes: '.weight_packed',
  weight: '.weight',
  fits: (tensor) => tensor.dtype === dtype && tensor.shape.length === 2,
})

function refuseSettings(settings: Settings): void {
  const { transform_config: transform, sparsity_config: sparsity, format, quant_format: older } = settings
  const isEmpty = (value: unknown): boolean => !isObject(value) || Object.keys(value).length === 0
  const transforms = isObject(transform) && 'config_groups' in transform ? transform.config_groups : transform
  if (!isEmpty(transforms)) throw unsupported('its transform_config changes weights before they are used')
  if (!isEmpty(sparsity) && (sparsity as Settings).format !== 'dense')
    throw unsupported(`its sparsity_config has the format ${JSON.stringify((sparsity as Settings).format)}`)
  for (const written of [format, older])
    if (typeof written === 'string' && !FORMATS.has(written)) throw unsupported(`its format is ${written}`)
}

function groupsOf({ config_groups: groups }: Settings): Group[] {
  if (!isObject(groups)) throw unsupported('its quantization_config has no config_groups')
  return Object.entries(groups).flatMap(([name, group]): Group[] => {
    if (!isObject(group)) throw unsupported(`the group ${name} of its quantization_config is not an object`)
    const { weights, targets, format } = group
    if (typeof format === 'string' && !FORMATS.has(format))
      throw unsupported(`its group ${name} has the format ${format}`)
    if (!isObject(weights)) return []
    const block = Array.isArray(weights.block_structure) ? weights.block_structure.map(wholeNumber) : []
    return [
      {
        targets: Array.isArray(targets) ? targets.filter((target) => typeof target === 'string') : [],
        bits: wholeNumber(weights.num_bits),
        type: String(weights.type),
        strategy: typeof weights.strategy === 'string' ? weights.strategy : undefined,
        size: (weights.group_size ?? -1) === -1 ? undefined : wholeNumber(weights.group_size),
        block: block.length === 2 && block.every((n) => n !== undefined && n > 0) ? [block[0]!, block[1]!] : undefined,
        symmetric: weights.symmetric !== false,
      },
    ]
  })
}

/** The group that a module belongs to, among those with such numbers. Errors: `packed-weights` if there is not exactly one. */
function groupOf(groups: readonly Group[], module: Module, bits: readonly number[], type: string): Group {
  const { codes, model } = module
  const fits = groups.filter((group) => group.type === type && group.bits !== undefined && bits.includes(group.bits))
  const distinct = new Map(fits.map((group) => [JSON.stringify({ ...group, targets: [] }), group]))
  if (distinct.size === 1) return fits[0]!
  if (fits.length === 0) {
    const what = `${type === 'int' ? 'integers' : 'floating-point numbers'} of ${bits.length > 1 ? 'at most 8' : bits[0]} bits`
    throw damaged(model, codes, `holds ${what}, and no group of quantization_config does`)
  }
  const named = fits.filter((group) => group.targets.some((target) => isNamed(target, module.stem)))
  const classes = fits.filter((group) => group.targets.some((target) => /^[A-Z]\w*$/.test(target)))
  for (const some of [named, classes]) {
    const different = new Map(some.map((group) => [JSON.stringify({ ...group, targets: [] }), group]))
    if (different.size === 1) return some[0]!
    if (different.size > 1) break
  }
  throw unsupported(`it is not clear which group of its quantization_config ${module.stem} belongs to`)
}

/** Whether a target names the module: in full, or as a regular expression that matches from its start. */
function isNamed(target: string, module: string): boolean {
  if (!target.startsWith('re:')) return target === module
  const pattern = compilePattern(`/^(?:${target.slice(3)})/`)
  if (pattern.kind === 'fault') throw unsupported(`terge can't match the target ${target}: ${pattern.message}`)
  return pattern.matches(module)
}

/** The grid of a module's scales by the strategy of its group. */
function gridOf(module: Module, scale: StoredPart, { strategy, size, block }: Group): Grid {
  const { codes, model } = module
  const columns = codes.shape.at(-1)!
  if (strategy === 'block') {
    if (!block) throw unsupported('a group of its quantization_config has blocks without block_structure')
    const grid = blockGrid(codes.shape, block)
    expectShape(module, scale, grid.shape)
    return grid
  }
  if (strategy === 'group' || (strategy === undefined && size !== undefined)) {
    if (size === undefined || size < 1) throw unsupported('a group of its quantization_config has no group_size')
    if (columns % size !== 0) throw damaged(model, codes, `has ${columns} columns, which do not fill groups of ${size}`)
    const grid = groupGrid(columns, size)
    expectShape(module, scale, [...codes.shape.slice(0, -1), grid.groups])
    return grid
  }
  if (strategy !== 'tensor' && strategy !== 'channel' && strategy !== undefined)
    throw unsupported(`a group of its quantization_config has the strategy ${strategy}`)
  expectDtype(module, scale, 'F32', 'F16', 'BF16')
  const grid = plainGrid(codes.shape, scale.shape)
  const isOne = grid?.words !== 'per channel'
  if (grid && (strategy === undefined || isOne === (strategy === 'tensor') || codes.shape[0] === 1)) return grid
  throw damaged(
    model,
    scale,
    `is ${shown(scale.shape)}, which is not one scale per ${strategy} of ${codes.name} ${shown(codes.shape)}`,
  )
}

/** AWQ as AutoAWQ writes it (`gemm`): the matrices are transposed, and eight numbers are shuffled in a word. */
import {
  damaged,
  decoded,
  expectDtype,
  expectShape,
  FLOATS,
  groupGrid,
  QWEIGHT,
  shown,
  storedView,
  turned,
  unsupported,
  wholeNumber,
} from '../parts.js'
import type { DecodeForm, Layout, Made, Module, QuantizedModel, Scheme } from '../types.js'

const BITS = 4
/** By number, its half byte in the word. */
const ORDER = [0, 4, 1, 5, 2, 6, 3, 7] as const

export const awq: Scheme = {
  name: 'AWQ',
  methods: ['awq'],
  layouts(model) {
    refuseSettings(model)
    return [layout]
  },
}

function refuseSettings({ settings }: QuantizedModel): void {
  const { version, format, bits, w_bit: older, zero_point: zero, backend } = settings
  const written = String(version ?? format ?? 'gemm').toLowerCase()
  if (written !== 'gemm') throw unsupported(`its AWQ version is ${written}`)
  if (backend === 'llm-awq' || backend === 'LLM-AWQ') throw unsupported('it was written by llm-awq')
  const width = bits ?? older
  if (width !== undefined && width !== BITS) throw unsupported(`its AWQ weights have ${JSON.stringify(width)} bits`)
  if (zero === false) throw unsupported('its AWQ weights have no zero points')
}

const layout: Layout = { ...QWEIGHT, make }

function make(module: Module): Made {
  const { codes, model } = module
  const [zeros, scales] = [module.need('.qzeros'), module.need('.scales')]
  const [columns, width] = [codes.shape[0]!, codes.shape[1]!]
  const rows = width * ORDER.length
  expectDtype(module, zeros, 'I32')
  expectDtype(module, scales, ...FLOATS)
  const written = wholeNumber(model.settings.group_size ?? model.settings.q_group_size) ?? 128
  const size = written === -1 ? columns : written
  if (size < 1 || columns % size !== 0)
    throw damaged(model, codes, `is ${shown(codes.shape)}: ${columns} columns do not fill groups of ${size}`)
  const { block, groups, words } = groupGrid(columns, size)
  expectShape(module, scales, [groups, rows])
  expectShape(module, zeros, [groups, width])
  const form: DecodeForm = {
    codes: { kind: 'across', bits: BITS, order: ORDER },
    scale: { part: 1, form: { kind: 'number' } },
    zero: { kind: 'fields', part: 2, bits: BITS, perWord: ORDER.length, order: ORDER, plus: 0 },
    ...{ block, groups },
  }
  const shape = [rows, columns]
  const view = decoded(module, shape, form, [codes, scales, zeros].map(storedView).map(turned))
  return { shape, view, format: `AWQ, 4 bits, ${words}`, dtype: scales.dtype === 'BF16' ? 'BF16' : 'F16' }
}

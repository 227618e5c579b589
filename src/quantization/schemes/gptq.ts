/** GPTQ as AutoGPTQ and GPTQModel write it, with 2 to 8 bits. The matrices are transposed. */
import { wordsOf } from '../../views/decodeForm.js'
import type { View } from '../../views/types.js'
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
import type { DecodeForm, Layout, Made, Module, Scheme, Settings } from '../types.js'

/** By format, what is added to stored zero points. */
const FORMATS: Readonly<Record<string, number>> = { gptq: 1, gptq_v2: 0 }

export const gptq: Scheme = {
  name: 'GPTQ',
  methods: ['gptq'],
  layouts: (model) => [layout(plusOf(model.settings))],
}

/** What is added to zero points. */
function plusOf(settings: Settings): number {
  const { checkpoint_format: format, format: older, is_marlin_format: marlin } = settings
  if (marlin === true) throw unsupported('its GPTQ format is marlin')
  const written = String(format ?? older ?? 'gptq').toLowerCase()
  if (!Object.hasOwn(FORMATS, written)) throw unsupported(`its GPTQ format is ${written}`)
  return FORMATS[written]!
}

const layout = (plus: number): Layout => ({
  ...QWEIGHT,
  optional: ['.g_idx'],
  make: (module) => make(module, plus),
})

/** Fields in a word; 0 if they cross words. */
const perWordOf = (bits: number): number => (32 % bits === 0 ? 32 / bits : 0)

/** The bits of a module: settings can give some modules others, so the shapes decide. */
function bitsOf({ codes, model, need, part }: Module): number {
  const [zeros, rows] = [need('.qzeros'), need('.scales').shape[1]!]
  const [map, { settings }] = [part('.g_idx'), model]
  const possible = [2, 3, 4, 5, 6, 7, 8].filter(
    (bits) =>
      zeros.shape[1] === wordsOf(rows, bits, perWordOf(bits)) &&
      (!map || codes.shape[0] === wordsOf(map.shape[0] ?? 0, bits, perWordOf(bits))),
  )
  const written = wholeNumber(settings.bits)
  const own = 'dynamic' in settings && settings.dynamic ? undefined : written
  const [bits] = own === undefined ? possible : possible.filter((one) => one === own)
  if (bits === undefined || (own === undefined && possible.length > 1)) {
    const what = `is ${shown(codes.shape)}, with zero points ${shown(zeros.shape)} for ${rows} rows`
    throw damaged(model, codes, `${what}: ${own === undefined ? 'no number of bits fits' : `${own} bits do not fit`}`)
  }
  return bits
}

function make(module: Module, plus: number): Made {
  const { codes, model } = module
  const [zeros, scales, map] = [module.need('.qzeros'), module.need('.scales'), module.part('.g_idx')]
  expectDtype(module, zeros, 'I32')
  expectDtype(module, scales, ...FLOATS)
  if (scales.shape.length !== 2 || zeros.shape.length !== 2 || (map && map.shape.length !== 1))
    throw damaged(model, scales, `is ${shown(scales.shape)} and does not fit ${codes.name} ${shown(codes.shape)}`)
  const bits = bitsOf(module)
  const perWord = perWordOf(bits)
  const [rows, columns] = [scales.shape[1]!, map ? map.shape[0]! : Math.floor((codes.shape[0]! * 32) / bits)]
  const written = wholeNumber(model.settings.group_size) ?? 128
  const size = written === -1 ? columns : written
  if (size < 1) throw unsupported(`its group_size is ${written}`)
  const { block, groups, words } = groupGrid(columns, size)
  expectShape(module, codes, [wordsOf(columns, bits, perWord), rows])
  expectShape(module, scales, [groups, rows])
  expectShape(module, zeros, [groups, wordsOf(rows, bits, perWord)])
  const of: View[] = [codes, scales, zeros].map(storedView).map(turned)
  if (map) {
    expectDtype(module, map, 'I32')
    of.push(storedView(map))
  }
  const form: DecodeForm = {
    codes: { kind: 'fields', bits, perWord },
    scale: { part: 1, form: { kind: 'number' } },
    zero: { kind: 'fields', part: 2, bits, perWord, plus },
    ...{ block, groups },
    ...(map ? { groupOf: { part: 3, canBeUnset: false } } : {}),
  }
  const shape = [rows, columns]
  const dtype = scales.dtype === 'BF16' ? 'BF16' : 'F16'
  return { shape, view: decoded(module, shape, form, of), format: `GPTQ, ${bits} bits, ${words}`, dtype }
}

/** Integers: one byte per number, or packed into words of 32 bits along the rows. */
import { wordsOf, type ZeroForm } from '../../views/decodeForm.js'
import type { View } from '../../views/types.js'
import {
  damaged,
  decoded,
  expectDtype,
  expectShape,
  FLOATS,
  type Grid,
  groupGrid,
  shown,
  storedView,
} from '../parts.js'
import type { DecodeForm, Made, Module, StoredPart } from '../types.js'

/** I8 numbers, perhaps with zero points of the same dtype. */
export function integers(module: Module, scale: StoredPart, { block, groups, words }: Grid): Made {
  const { codes } = module
  expectDtype(module, scale, ...FLOATS)
  const zero = module.part('.weight_zero_point')
  if (zero) {
    expectDtype(module, zero, 'I8')
    expectShape(module, zero, scale.shape)
  }
  const form: DecodeForm = {
    codes: { kind: 'numbers', dtype: 'I8' },
    scale: { part: 1, form: { kind: 'number' } },
    ...(zero ? { zero: { kind: 'integers', part: 2 } } : {}),
    ...{ block, groups },
  }
  const view = decoded(module, codes.shape, form, [codes, scale, ...(zero ? [zero] : [])].map(storedView))
  return { shape: codes.shape, view, format: `INT8, ${words}` }
}

/** What the configuration says of packed integers. `size`: columns that share a scale. */
export interface Packing {
  readonly bits: number
  readonly symmetric: boolean
  readonly size?: number
}

/** Integers in words along the rows, offset by half of their range, with zero points in words across the rows. */
export async function packedIntegers(module: Module, { bits, symmetric, size }: Packing): Promise<Made> {
  const { codes, model } = module
  const [scale, shapePart] = [module.need('.weight_scale'), module.part('.weight_shape')]
  const [zero, map] = [module.part('.weight_zero_point'), module.part('.weight_g_idx')]
  expectDtype(module, scale, ...FLOATS)
  const [rows, width] = [codes.shape[0]!, codes.shape[1]!]
  const perWord = Math.floor(32 / bits)
  if (scale.shape[0] !== rows && !(scale.shape.length === 1 && scale.shape[0] === 1))
    throw damaged(model, scale, `is ${shown(scale.shape)}, but ${codes.name} has ${rows} rows`)
  const groups = scale.shape[1] ?? 1
  // With groups, their number gives the columns. Otherwise, the last word can be partial.
  const columns = size === undefined ? await columnsOf(module, shapePart) : groups * size
  if (wordsOf(columns, bits, perWord) !== width)
    throw damaged(
      model,
      codes,
      `is ${shown(codes.shape)}, but ${columns} columns of ${bits} bits need ${wordsOf(columns, bits, perWord)} words`,
    )
  const grid = groupGrid(columns, size ?? columns)
  expectShape(module, scale, [rows, grid.groups], ...(grid.groups === 1 ? [[rows], [1]] : []))
  const shape = [rows, columns]
  const of: View[] = [storedView(codes), storedView(scale)]
  const add = (part: StoredPart): number => of.push(storedView(part)) - 1
  const form: DecodeForm = {
    codes: { kind: 'fields', bits, perWord },
    scale: { part: 1, form: { kind: 'number' } },
    zero: zero
      ? packedZero(module, zero, bits, perWord, rows, grid.groups, add)
      : { kind: 'constant', value: 2 ** (bits - 1) },
    block: scale.shape[0] === rows ? grid.block : [Math.max(1, rows), Math.max(1, columns)],
    groups: grid.groups,
    ...(map ? { groupOf: { part: groupMap(module, map, columns, add), canBeUnset: true } } : {}),
    ...(shapePart ? { expected: [{ part: shapeOfWeight(module, shapePart, add), values: shape }] } : {}),
  }
  if (!symmetric && !zero)
    throw damaged(model, codes, `has no ${module.stem}.weight_zero_point, and its configuration is asymmetric`)
  const view = decoded(module, shape, form, of)
  return { shape, view, format: `INT${bits}, ${size === undefined ? 'per channel' : grid.words}` }
}

function packedZero(
  module: Module,
  zero: StoredPart,
  bits: number,
  perWord: number,
  rows: number,
  groups: number,
  add: (part: StoredPart) => number,
): ZeroForm {
  expectDtype(module, zero, 'I32')
  expectShape(module, zero, [wordsOf(rows, bits, perWord), groups])
  return { kind: 'fields', part: add(zero), bits, perWord, plus: 0 }
}

function groupMap(module: Module, map: StoredPart, columns: number, add: (part: StoredPart) => number): number {
  expectDtype(module, map, 'I32')
  expectShape(module, map, [columns])
  return add(map)
}

function shapeOfWeight(module: Module, part: StoredPart, add: (part: StoredPart) => number): number {
  expectDtype(module, part, 'I64', 'I32')
  expectShape(module, part, [2])
  return add(part)
}

/** The columns of a weight whose last word can be partial. */
async function columnsOf({ model, codes, stem }: Module, part: StoredPart | undefined): Promise<number> {
  if (!part) throw damaged(model, codes, `has no ${stem}.weight_shape`)
  if ((part.dtype !== 'I64' && part.dtype !== 'I32') || part.shape.length !== 1 || part.shape[0] !== 2)
    throw damaged(model, part, `is ${part.dtype} ${shown(part.shape)}, not two integers`)
  const bytes = await model.read(part)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [rows, columns] = [0, 1].map((index) =>
    part.dtype === 'I64' ? Number(view.getBigInt64(8 * index, true)) : view.getInt32(4 * index, true),
  )
  if (rows !== codes.shape[0] || !Number.isSafeInteger(columns) || columns! < 1)
    throw damaged(model, part, `is ${rows} × ${columns}, but ${codes.name} is ${shown(codes.shape)}`)
  return columns!
}

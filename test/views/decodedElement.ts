/** One number of a decode view, by what forms are said to be: no rows at once, no caches. */
import { matrixOf, scaleRows } from '../../src/views/decodeForm.js'
import { shapeOf } from '../../src/views/shape.js'
import type { DecodeView, View } from '../../src/views/types.js'

/** Reads an element of a part, by row-major index: as a number of its dtype, or the bytes of the part as they lie. */
export interface PartAccess {
  readonly number: (part: View, index: number) => number
  readonly byte: (part: View, index: number) => number
  /** The bits of an unsigned word. */
  readonly word: (part: View, index: number) => number
}

const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]

/** Bits `from` on of consecutive words, `count` words apart. */
function field(word: (row: number) => number, bit: number, bits: number): number {
  let value = 0
  for (let i = 0; i < bits; i++) {
    const at = bit + i
    const set = Math.floor(word(Math.floor(at / 32)) / 2 ** (at % 32)) % 2
    value += set * 2 ** i
  }
  return value
}

export function decodedElement(view: DecodeView, index: number, access: PartAccess): number {
  const { shape, of, form } = view
  const { rows, columns, height } = matrixOf(shape)
  const [row, column] = [Math.floor(index / columns), index % columns]
  const high = scaleRows(shape, form.block) / (rows / height)
  const scaleRow = Math.floor(row / height) * high + Math.floor((row % height) / form.block[0])
  const given = form.groupOf && access.number(of[form.groupOf.part]!, column)
  const group = given === undefined || given < 0 ? Math.floor(column / form.block[1]) : given
  const scaleIndex = scaleRow * form.groups + group
  const code = codeOf(view, row, column, access)
  const { zero } = form
  let less = 0
  if (zero?.kind === 'constant') less = zero.value
  if (zero?.kind === 'integers') less = access.number(of[zero.part]!, scaleIndex)
  if (zero?.kind === 'fields') {
    const { perWord, bits, order, plus } = zero
    const place = order ? order[scaleRow % perWord]! : scaleRow % perWord
    const bit = perWord === 0 ? scaleRow * bits : Math.floor(scaleRow / perWord) * 32 + place * bits
    less = field((at) => access.word(of[zero.part]!, at * form.groups + group), bit, bits) + plus
  }
  return Math.fround((code - less) * scaleOf(view, scaleIndex, access))
}

function scaleOf({ of, form }: DecodeView, index: number, access: PartAccess): number {
  const { part, form: kind, by } = form.scale
  let scale: number
  if (kind.kind === 'number') scale = access.number(of[part]!, index)
  else if (kind.kind === 'exponent') scale = 2 ** (access.byte(of[part]!, index) - 127)
  else {
    const outer = access.number(of[kind.outer]!, Math.floor(index / kind.block))
    scale = Math.fround(access.number(of[kind.map]!, access.byte(of[part]!, index)) * outer + kind.offset)
  }
  if (by?.kind === 'constant') return Math.fround(scale / by.over)
  if (by?.kind === 'times') return Math.fround(scale * access.number(of[by.part]!, 0))
  return by ? Math.fround(scale / access.number(of[by.part]!, 0)) : scale
}

function codeOf({ shape, of, form }: DecodeView, row: number, column: number, access: PartAccess): number {
  const { columns } = matrixOf(shape)
  const { codes } = form
  switch (codes.kind) {
    case 'numbers':
      return access.number(of[0]!, row * columns + column)
    case 'nibbles': {
      const index = row * columns + column
      const byte = access.byte(of[0]!, Math.floor(index / 2))
      const half = (index % 2 === 0) === (codes.first === 'low') ? byte % 16 : Math.floor(byte / 16)
      if (codes.table !== 'E2M1') return access.number(of[codes.table]!, half)
      return half < 8 ? E2M1[half]! : -E2M1[half - 8]!
    }
    case 'fields': {
      const { bits, perWord } = codes
      const width = shapeOf(of[0]!).at(-1)!
      const bit = perWord === 0 ? column * bits : Math.floor(column / perWord) * 32 + (column % perWord) * bits
      return field((at) => access.word(of[0]!, row * width + at), bit, bits)
    }
    case 'across': {
      const { order, bits } = codes
      const word = access.word(of[0]!, Math.floor(row / order.length) * columns + column)
      return field(() => word, order[row % order.length]! * bits, bits)
    }
  }
}

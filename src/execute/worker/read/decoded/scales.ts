/** Scales and zero points of decoded numbers, as float32. */
import { SCALES } from '../../../../views/decodeScratch.js'
import { bytesOfPart, countOf, numbersOf, refusePart } from './fixed.js'
import type { DecodedState } from './state.js'

/** The row of scales of a row of numbers. */
export const scaleRowOf = ({ reader, height, scaleHeight }: DecodedState, row: number): number =>
  Math.floor(row / height) * scaleHeight + Math.floor((row % height) / reader.form.block[0])

/**
 * Makes scales `from` to before `to` available, by row-major index, and the zero points of the same indexes. Returns
 * where they are in the caches, in floats. Scales in the order of the file are read in large pieces.
 */
export function scalesAt(state: DecodedState, from: number, to: number): number {
  const { scales, reader } = state
  if (from < scales.from || to > scales.to) {
    const total = countOf(reader.parts[reader.form.scale.part]!)
    const sequential = total <= SCALES || (scales.to > 0 && from >= scales.from && from <= scales.to)
    const start = total <= SCALES ? 0 : from
    const end = Math.min(total, sequential ? start + SCALES : to)
    scales.to = 0
    load(state, start, end - start)
    scales.from = start
    scales.to = end
  }
  return from - scales.from
}

/** Whether scales are read for boxes of some columns of many rows: those of whole rows would be read again and again. */
export const isBox = ({ box, zeros, groups }: DecodedState): boolean =>
  box !== undefined && zeros === undefined && groups === undefined

/** How many rows of scales can be read for a box in which each row uses so many. */
export const boxRows = ({ reader }: DecodedState, used: number): number =>
  Math.max(1, Math.min(Math.floor(SCALES / used), Math.floor(SCALES / reader.form.groups)))

/** Puts some scales of each row one after the other into the cache. */
export function scaleBox(state: DecodedState, row: number, rows: number, group: number, groups: number): void {
  const { form } = state.reader
  const { scales } = state
  scales.to = 0
  if (rows === 1 || form.groups === groups) {
    for (let i = 0; i < rows; i++) load(state, (row + i) * form.groups + group, groups, i * groups)
    return
  }
  const { buffer } = state.reading.worker.memory
  const made = new Float32Array(buffer, scales.address, rows * groups)
  if (form.scale.form.kind === 'exponent') {
    bytesOfPart(state, form.scale.part, row * form.groups, rows * form.groups, state.raw)
    state.reading.worker.kernels.unpack.exponents(state.raw + group, form.groups, scales.address, rows, groups)
  } else {
    const all = numbersOf(state, form.scale.part, row * form.groups, rows * form.groups, state.raw)
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < groups; j++) made[i * groups + j] = all[i * form.groups + group + j]!
  }
  finish(state, made, (index) => (row + Math.floor(index / groups)) * form.groups + group + (index % groups))
}

/** `at`: the place in the cache, in floats. */
function load(state: DecodedState, first: number, count: number, at = 0): void {
  const { form } = state.reader
  const address = state.scales.address + 4 * at
  const scales = new Float32Array(state.reading.worker.memory.buffer, address, count)
  if (form.scale.form.kind === 'number') numbersOf(state, form.scale.part, first, count, address)
  else if (form.scale.form.kind === 'exponent') exponents(state, first, scales)
  else nested(state, form.scale.form, first, scales)
  finish(state, scales, (index) => first + index)
  if (form.zero?.kind === 'integers') integerZeros(state, form.zero.part, first, count)
  if (form.zero?.kind === 'fields') fieldZeros(state, form.zero, first, count)
}

/** Checks scales, and applies the factor of all of them. `indexOf`: the index of a scale in its part. */
export function finish(state: DecodedState, scales: Float32Array, indexOf: (index: number) => number): void {
  const { by } = state.reader.form.scale
  refuseWrong(state, scales, indexOf)
  if (!by) return
  const { scaleAll } = state.reading.worker.kernels.unpack
  scaleAll(scales.byteOffset, scales.length, state.factor, by.kind === 'times' ? 0 : 1)
  refuseWrong(state, scales, indexOf)
}

/** Error `damaged-weights` if a scale is not a finite number. */
export function refuseWrong(state: DecodedState, scales: Float32Array, indexOf: (index: number) => number): void {
  if (state.reading.worker.kernels.allFinite('F32')(scales.byteOffset, scales.length)) return
  const wrong = scales.findIndex((scale) => !Number.isFinite(scale))
  refuseScale(state, indexOf(wrong), scales[wrong]!)
}

function refuseScale(state: DecodedState, index: number, scale: number): never {
  const { groups, scale: form } = state.reader.form
  const [row, group] = [Math.floor(index / groups), index % groups]
  return refusePart(
    state,
    form.part,
    `has the scale ${scale} in row ${row}, group ${group}: it must be a finite number`,
  )
}

function exponents(state: DecodedState, first: number, scales: Float32Array): void {
  const count = scales.length
  bytesOfPart(state, state.reader.form.scale.part, first, count, state.raw)
  state.reading.worker.kernels.unpack.exponents(state.raw, count, scales.byteOffset, 1, count)
}

/** Scales that are stored as bytes, with scales of their own. */
function nested(
  state: DecodedState,
  { outer, block, offset }: Extract<DecodedState['reader']['form']['scale']['form'], { kind: 'nested' }>,
  first: number,
  scales: Float32Array,
): void {
  const { buffer } = state.reading.worker.memory
  const start = Math.floor(first / block)
  const bytes = bytesOfPart(state, state.reader.form.scale.part, first, scales.length, state.raw)
  const outers = state.raw + Math.ceil(scales.length / 4) * 4
  const end = Math.ceil((first + scales.length) / block)
  const factors = numbersOf(state, outer, start, end - start, outers)
  const map = new Float32Array(buffer, state.nested, 256)
  for (let i = 0; i < scales.length; i++) {
    const factor = factors[Math.floor((first + i) / block) - start]!
    scales[i] = map[bytes.getUint8(i)]! * factor + offset
  }
}

function integerZeros(state: DecodedState, part: number, first: number, count: number): void {
  const bytes = bytesOfPart(state, part, first, count, state.raw)
  const zeros = new Float32Array(state.reading.worker.memory.buffer, state.zeros, count)
  for (let i = 0; i < count; i++) zeros[i] = bytes.getInt8(i)
}

type Fields = Extract<NonNullable<DecodedState['reader']['form']['zero']>, { kind: 'fields' }>

/** Zero points in words across the rows: a row of words has those of several rows of scales. */
function fieldZeros(state: DecodedState, zero: Fields, first: number, count: number): void {
  const { groups } = state.reader.form
  const { part, bits, perWord, order, plus } = zero
  const bitOf = (row: number): number => {
    if (perWord === 0) return row * bits
    const inside = order ? order[row % perWord]! : row % perWord
    return Math.floor(row / perWord) * 32 + inside * bits
  }
  const [top, bottom] = [Math.floor(first / groups), Math.floor((first + count - 1) / groups)]
  const wordRow = (bit: number): number => Math.floor(bit / 32)
  const firstWord = perWord === 0 ? wordRow(bitOf(top)) : Math.floor(top / perWord)
  const lastWord = perWord === 0 ? wordRow(bitOf(bottom) + bits - 1) : Math.floor(bottom / perWord)
  // Of a part of one row, only the words of its groups.
  const single = top === bottom && firstWord === lastWord
  const start = firstWord * groups + (single ? first % groups : 0)
  const length = single ? count : (lastWord - firstWord + 1) * groups
  bytesOfPart(state, part, start, length, state.raw)
  const { memory, kernels } = state.reading.worker
  const words = new Uint32Array(memory.buffer, state.raw, length)
  const zeros = new Float32Array(memory.buffer, state.zeros, count)
  const to = zeros.byteOffset
  const most = 2 ** bits - 1
  for (let row = top, at = 0; row <= bottom; row++) {
    const bit = bitOf(row)
    const group = (first + at) % groups
    const [place, inside, n] = [wordRow(bit) * groups - start + group, bit % 32, Math.min(groups - group, count - at)]
    if (inside + bits <= 32) kernels.unpack.same(state.raw + place * 4, to + at * 4, n, inside, bits)
    else
      for (let i = 0; i < n; i++) {
        const field = (words[place + i]! >>> inside) | (words[place + groups + i]! << (32 - inside))
        zeros[at + i] = field & most
      }
    at += n
  }
  if (plus === 0) return
  const wrong = kernels.unpack.addAll(to, count, plus, most)
  if (wrong === count) return
  const [row, group] = [Math.floor((first + wrong) / groups), (first + wrong) % groups]
  const what = `has a zero point of ${most} in row ${row}, group ${group}: libraries read it as ${most + plus} or as 0`
  refusePart(state, part, what)
}

/** Scales and zero points that are stored group by group: for each group those of all rows. */
import type { ZeroForm } from '../../../../views/decodeForm.js'
import { SCALES } from '../../../../views/decodeScratch.js'
import { refusePart } from './fixed.js'
import { finish } from './scales.js'
import type { DecodedState } from './state.js'

/** Floats of a line of the processor's cache. */
const LINE = 16

/** Floats from one group to the next: an odd number of lines, since groups a power of 2 apart would share a place in the cache. */
const stepOf = (rows: number): number => (rows < 4 * LINE ? rows : LINE * (Math.ceil(rows / LINE) | 1))

/** Rows whose scales fit into the cache. */
export function linesIn(groups: number): number {
  const most = Math.max(1, Math.floor(SCALES / groups))
  const lines = Math.floor(most / LINE)
  return most < 4 * LINE ? most : LINE * (lines - 1 + (lines % 2))
}

/** Makes the scales of some rows available: bytes from the start of the caches, and from one group to the next. */
export function linesAt(state: DecodedState, row: number, rows: number): { start: number; step: number } {
  const { scales, reader, rows: total } = state
  if (row < scales.from || row + rows > scales.to) {
    const most = linesIn(reader.form.groups)
    const sequential = total <= most || scales.to === 0 || (row >= scales.from && row <= scales.to)
    const start = total <= most ? 0 : row
    const end = Math.min(total, sequential ? start + most : row + rows)
    scales.to = 0
    load(state, start, end - start)
    scales.from = start
    scales.to = end
  }
  return { start: 4 * (row - scales.from), step: 4 * stepOf(scales.to - scales.from) }
}

function load(state: DecodedState, first: number, n: number): void {
  const { scales, zeros, reader, reading } = state
  const { groups, scale, zero } = reader.form
  const { kernels, memory } = reading.worker
  const { dtype } = reader.parts[scale.part]!
  if (dtype === 'raw') throw new Error('internal: scales that are not numbers')
  const decode = kernels.decode(dtype, 'f32')
  const step = stepOf(n)
  const all = new Float32Array(memory.buffer, scales.address, groups * step)
  all.fill(0)
  eachLine(state, scale.part, first, n, (from, group) => decode(from, scales.address + 4 * group * step, n))
  finish(state, all, (index) => (first + (index % step)) * groups + Math.floor(index / step))
  if (zero?.kind === 'fields' && zeros !== undefined) loadZeros(state, zero, first, n, zeros)
}

function loadZeros(
  state: DecodedState,
  { part, bits, perWord, order, plus }: Extract<ZeroForm, { kind: 'fields' }>,
  first: number,
  n: number,
  zeros: number,
): void {
  const { unpack } = state.reading.worker.kernels
  const wordOf = (row: number, end: number): number =>
    perWord === 0 ? Math.floor((row * bits + end) / 32) : Math.floor(row / perWord)
  const start = wordOf(first, 0)
  // Fields that cross words begin at a word again after 32 of them.
  const skipped = perWord === 0 ? Math.floor(first / 32) * 32 : start * perWord
  const from = wordOf(skipped, 0)
  const most = 2 ** bits - 1
  const end = wordOf(first + n - 1, bits - 1) + 1
  eachLine(state, part, from, end - from, (at, group) => {
    const places = order ? state.zeroOrder : 0
    const to = zeros + 4 * group * stepOf(n)
    const wrong = unpack.line(at, to, n, first - skipped, bits, perWord, places, plus, plus === 0 ? -1 : most)
    if (wrong === n) return
    const what = `has a zero point of ${most} in row ${first + wrong}, group ${group}: libraries read it as ${most + plus} or as 0`
    refusePart(state, part, what)
  })
}

/** Calls a function with the address of elements of each group; they are valid until the next call. */
function eachLine(
  { reader, reading }: DecodedState,
  part: number,
  first: number,
  n: number,
  use: (address: number, group: number) => void,
): void {
  const { reader: source, elementBytes } = reader.parts[part]!
  if (source.kind !== 'strided') throw new Error('internal: a part that is not stored transposed')
  const { worker, slot } = reading
  const [groups, line, width] = [source.shape[1]!, source.strides[1]! * elementBytes, n * elementBytes]
  const together = line > CALL + width ? 1 : Math.max(1, Math.floor((worker.slotRoom - width) / Math.max(1, line)) + 1)
  for (let group = 0; group < groups; group += together) {
    const count = Math.min(together, groups - group)
    const offset = source.offset + group * line + first * elementBytes
    const at = slot.at(worker.input(source.file), offset, (count - 1) * line + width)
    for (let i = 0; i < count; i++) use(at + i * line, group + i)
  }
}

/** Bytes between two lines that are read with them, because that takes less time than another call. */
const CALL = 16_384

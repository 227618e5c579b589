/** Parts of decoded numbers that are read once: tables, maps of groups, common factors, and checks. */
import { fault } from '../../../../core/diagnostics.js'
import { elements } from '../../../../core/dtypes.js'
import type { Source } from '../../../../views/readers.js'
import { copySource } from '../reading.js'
import { type DecodedState, hasZeroInTable } from './state.js'

const FLOAT = { dtype: 'F32', elementBytes: 4 } as const
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6]
const DAMAGED = 'the file is damaged or was not written by the library that its configuration names: download it again'

/** Throws error `damaged-weights`: a part has a value that it can't have. */
export function refusePart({ reader, reading }: DecodedState, part: number, what: string): never {
  const { file, tensor } = reader.names[part]!
  throw fault('damaged-weights', `${reading.worker.input(file).path}: tensor ${tensor} ${what}`, DAMAGED, 1)
}

/** Puts numbers of a part to an address, as float32. */
export function numbersOf(state: DecodedState, part: number, first: number, count: number, to: number): Float32Array {
  copySource(state.reading, FLOAT, state.reader.parts[part]!, first, count, to)
  return new Float32Array(state.reading.worker.memory.buffer, to, count)
}

/** Puts elements of a part to an address as they are stored. */
export function bytesOfPart(state: DecodedState, part: number, first: number, count: number, to: number): DataView {
  const source = state.reader.parts[part]!
  copySource(state.reading, source, source, first, count, to)
  return new DataView(state.reading.worker.memory.buffer, to, count * source.elementBytes)
}

/** Elements of a whole part. */
export const countOf = ({ reader, elementBytes }: Source): number =>
  reader.kind === 'contiguous' ? reader.bytes / elementBytes : 'shape' in reader ? elements(reader.shape) : 0

/** Checks parts that must have certain values. */
export function checkParts(state: DecodedState, first: boolean): void {
  if (!first) return
  for (const { part, values } of state.reader.form.expected ?? []) {
    const { elementBytes } = state.reader.parts[part]!
    const view = bytesOfPart(state, part, 0, values.length, state.raw)
    const found = values.map((_, index) =>
      elementBytes === 8
        ? Number(view.getBigInt64(index * 8, true))
        : elementBytes === 4
          ? view.getInt32(index * 4, true)
          : view.getUint8(index),
    )
    if (found.some((value, index) => value !== values[index]))
      refusePart(state, part, `is ${found.join(', ')}, but the other tensors of its module need ${values.join(', ')}`)
  }
}

/** Reads what all rows need. */
export function fixedParts(state: DecodedState): void {
  const { form, shape } = state.reader
  const { memory } = state.reading.worker
  const { codes, scale, zero, groupOf } = form
  if (codes.kind === 'nibbles') {
    if (codes.table === 'E2M1') new Float32Array(memory.buffer, state.table, 16).set(E2M1)
    else checkNumbers(state, codes.table, numbersOf(state, codes.table, 0, 16, state.table))
  }
  const less = zero?.kind === 'constant' && hasZeroInTable(form) ? zero.value : 0
  if (codes.kind === 'fields' && codes.bits === 4)
    new Float32Array(memory.buffer, state.table, 16).set(Array.from({ length: 16 }, (_, code) => code - less))
  new Float32Array(memory.buffer, state.one, 1).set([1])
  if (codes.kind === 'across') new Uint8Array(memory.buffer, state.codeOrder, codes.order.length).set(codes.order)
  if (zero?.kind === 'fields' && zero.order)
    new Uint8Array(memory.buffer, state.zeroOrder, zero.order.length).set(zero.order)
  if (scale.form.kind === 'nested')
    checkNumbers(state, scale.form.map, numbersOf(state, scale.form.map, 0, 256, state.nested))
  if (zero?.kind === 'constant' && state.zeros !== undefined)
    new Float32Array(memory.buffer, state.zeros, (state.raw - state.zeros) >> 2).fill(zero.value)
  if (scale.by) state.factor = factorOf(state, scale.by)
  if (groupOf) state.groups = groupsOf(state, groupOf, shape.at(-1)!)
}

function factorOf(state: DecodedState, by: NonNullable<DecodedState['reader']['form']['scale']['by']>): number {
  if (by.kind === 'constant') return by.over
  const [factor] = numbersOf(state, by.part, 0, 1, state.raw)
  if (!Number.isFinite(factor)) refusePart(state, by.part, `is ${factor}: it must be a finite number`)
  if (by.kind === 'over' && factor === 0) refusePart(state, by.part, 'is 0, and other scales are divided by it')
  return factor!
}

function checkNumbers(state: DecodedState, part: number, numbers: Float32Array): void {
  const index = numbers.findIndex((number) => !Number.isFinite(number))
  if (index >= 0) refusePart(state, part, `has ${numbers[index]} as number ${index}`)
}

/** The map of groups; undefined if it is not set. */
function groupsOf(
  state: DecodedState,
  { part, canBeUnset }: NonNullable<DecodedState['reader']['form']['groupOf']>,
  columns: number,
): number | undefined {
  const { groups, block } = state.reader.form
  bytesOfPart(state, part, 0, columns, state.groups!)
  const map = new Int32Array(state.reading.worker.memory.buffer, state.groups, columns)
  if (canBeUnset && map.every((group) => group === -1)) return undefined
  const wrong = map.findIndex((group) => group < 0 || group >= groups)
  if (wrong >= 0) refusePart(state, part, `has group ${map[wrong]} for column ${wrong}, but there are ${groups} groups`)
  // Most maps are runs of columns, which need no map.
  return map.every((group, column) => group === Math.floor(column / block[1])) ? undefined : state.groups
}

/** Random stored tensors, random views of them, and what a view makes of them element by element. */
import { type Dtype, elements } from '../../src/core/dtypes.js'
import { bytesOf } from '../../src/encodings/index.js'
import { generator, shuffled } from '../../src/rebasin/order.js'
import { rowMajor } from '../../src/views/places.js'
import { dtypeOf, shapeOf } from '../../src/views/shape.js'
import { mainStored } from '../../src/views/stored.js'
import {
  type AxisMap,
  type Finding,
  isFound,
  MEAN_BEFORE,
  MEANS,
  type StoredView,
  type View,
  ZEROS,
} from '../../src/views/types.js'
import { decodedElement, type PartAccess } from './decodedElement.js'

/** Files of numbers, views of them, and findings: all from one seed. */
export interface Case {
  readonly files: readonly Uint8Array<ArrayBuffer>[]
  readonly view: View
  readonly maps: (finding: Finding, shape: readonly number[]) => readonly AxisMap[]
}

const FLOATS = ['F32', 'F64', 'F16', 'BF16'] as const

/** `same`: all stored tensors have one dtype, so that its bytes can be looked at. */
export function randomCase(seed: number, same: boolean): Case {
  const random = generator(seed)
  const below = (n: number): number => Math.floor(random() * n)
  const one = FLOATS[below(FLOATS.length)]!
  const files: Uint8Array<ArrayBuffer>[] = []
  let findings = 0
  const maps = new Map<string, readonly AxisMap[]>()

  /** A stored tensor of this shape, with gaps and its axes in any order in the file, or one after the other. */
  function stored(shape: readonly number[]): StoredView {
    const dtype: Dtype = same ? one : FLOATS[below(FLOATS.length)]!
    const size = bytesOf(dtype)
    const strides = shape.map(() => 0)
    let extent = 1
    const axes = shape.map((_, axis) => axis)
    if (random() < 0.5) for (const [axis, stride] of rowMajor(shape).entries()) strides[axis] = stride
    else
      for (const axis of shuffled(axes, seed, below(1e9))) {
        if (random() < 0.1) continue
        strides[axis] = extent
        extent *= shape[axis]! + below(2)
      }
    const span = shape.includes(0) ? 0 : shape.reduce((sum, n, axis) => sum + (n - 1) * strides[axis]!, 1)
    const offset = 8 * below(4)
    const bytes = new Uint8Array(offset + span * size + 8 * below(3))
    const data = new DataView(bytes.buffer)
    for (let at = 0; at < span; at++) putNumber(data, dtype, offset + at * size, below(512) - 256)
    const isRun = rowMajor(shape).every((stride, axis) => shape[axis] === 1 || stride === strides[axis])
    return {
      kind: 'stored',
      file: files.push(bytes) - 1,
      tensor: `t${files.length}`,
      dtype,
      shape,
      offset,
      bytes: span * size,
      ...(isRun ? {} : { strides }),
    }
  }

  /** A view that makes this shape. */
  function view(shape: readonly number[], depth: number): View {
    const rank = shape.length
    const kind = depth === 0 ? 0 : below(8)
    const axis = below(rank)
    if (kind === 0 || rank === 0) return stored(shape)
    if (kind === 1) {
      const [start, more] = [below(3), below(3)]
      const of = view(shape.with(axis, start + shape[axis]! + more), depth - 1)
      return { kind: 'slice', of, axis, start, count: shape[axis]! }
    }
    if (kind === 2) {
      const axes = shuffled(
        shape.map((_, at) => at),
        seed,
        below(1e9),
      )
      const inner = shape.map(() => 0)
      for (const [to, from] of axes.entries()) inner[from] = shape[to]!
      return { kind: 'permute', of: view(inner, depth - 1), axes }
    }
    if (kind === 3) return { kind: 'reshape', of: view(otherShape(shape), depth - 1), shape }
    if (kind === 4) {
      const cut = below(shape[axis]! + 1)
      const sizes = [cut, shape[axis]! - cut].filter((size) => size > 0 || random() < 0.2)
      if (sizes.reduce((sum, size) => sum + size, 0) !== shape[axis]) return stored(shape)
      if (sizes.length === 0) return stored(shape)
      return { kind: 'concat', axis, parts: sizes.map((size) => view(shape.with(axis, size), depth - 1)) }
    }
    if (kind === 5) {
      const map = { step: `s${findings++}`, tensor: 't' }
      const found = shape.flatMap((size, axis): AxisMap[] => {
        const places = Array.from({ length: size }, (_, i) => i)
        return random() < 0.5 ? [{ axis, map: Int32Array.from(shuffled(places, seed, below(1e9))) }] : []
      })
      maps.set(map.step, found)
      return { kind: 'gather', of: [view(shape, depth - 1)], map }
    }
    if (kind === 6) return { kind: 'repeat', of: view(shape.with(axis, 1), depth - 1), axis, count: shape[axis]! }
    return rows(shape, depth)
  }

  function otherShape(shape: readonly number[]): number[] {
    const all = elements(shape)
    const choice = below(4)
    if (all === 0 || choice === 0) return [all]
    if (choice === 1) return [1, ...shape]
    const halves = shape.flatMap((size) => (size % 2 === 0 && random() < 0.5 ? [2, size / 2] : [size]))
    if (choice === 2) return halves
    return [...halves.slice(0, -2), halves.slice(-2).reduce((product, size) => product * size, 1)]
  }

  /** `same`: no averages either, which no dtype has. */
  function rows(shape: readonly number[], depth: number): View {
    const sizes = Array.from({ length: 1 + below(3) }, () => 1 + below(5))
    const of = sizes.map((size) => view([size, ...shape.slice(1)], depth - 1))
    const row = (): [source: number, row: number] => {
      const source = below(sizes.length)
      return [source, below(sizes[source]!)]
    }
    const [runs, means]: [number[], number[][]] = [[], []]
    for (let next = 0; next < shape[0]!; ) {
      const kind = below(same ? 4 : 6)
      let count = 1 + below(shape[0]! - next)
      if (kind === 3) runs.push(count, ZEROS, 0)
      else if (kind === 4) {
        runs.push(count, MEANS, means.length)
        for (let i = 0; i < count; i++) means.push(Array.from({ length: 1 + below(3) }, row).flat())
      } else if (kind === 5) runs.push(count, MEAN_BEFORE, next)
      else {
        const [source, first] = row()
        count = Math.min(count, sizes[source]! - first)
        runs.push(count, source, first)
      }
      next += count
    }
    return { kind: 'gather', of, map: { rows: shape[0]!, runs, means } }
  }

  const shape = Array.from({ length: 1 + below(3) }, () => (random() < 0.05 ? 0 : 1 + below(6)))
  return { files, view: view(shape, 4), maps: ({ step }) => maps.get(step)! }
}

/** Small whole numbers, which every dtype holds exactly. */
function putNumber(data: DataView, dtype: Dtype, at: number, value: number): void {
  if (dtype === 'F64') data.setFloat64(at, value, true)
  else if (dtype === 'F32') data.setFloat32(at, value, true)
  else if (dtype === 'BF16') data.setUint16(at, floatBits(value) >>> 16, true)
  else data.setUint16(at, halfBits(value), true)
}

export function numberAt(data: DataView, dtype: Dtype, at: number): number {
  if (dtype === 'F64') return data.getFloat64(at, true)
  if (dtype === 'F32') return data.getFloat32(at, true)
  if (dtype === 'I32') return data.getInt32(at, true)
  if (dtype === 'I8') return data.getInt8(at)
  if (dtype === 'U8') return data.getUint8(at)
  if (dtype === 'F8_E4M3') return e4m3(data.getUint8(at))
  const bits = data.getUint16(at, true)
  if (dtype === 'BF16') return bitsFloat(bits << 16)
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023]
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
  return bits & 0x8000 ? -size : size
}

function e4m3(byte: number): number {
  const [exponent, fraction] = [(byte >> 3) & 15, byte & 7]
  if (exponent === 15 && fraction === 7) return Number.NaN
  const size = exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10)
  return byte & 128 ? -size : size
}

const scratch = new DataView(new ArrayBuffer(4))

function floatBits(value: number): number {
  scratch.setFloat32(0, value)
  return scratch.getUint32(0)
}

function bitsFloat(bits: number): number {
  scratch.setUint32(0, bits >>> 0)
  return scratch.getFloat32(0)
}

function halfBits(value: number): number {
  if (value === 0) return 0
  const exponent = Math.floor(Math.log2(Math.abs(value)))
  const fraction = (Math.abs(value) / 2 ** exponent - 1) * 1024
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction
}

/** The coordinates of a row-major index. */
export function coordinatesOf(shape: readonly number[], index: number): number[] {
  const at = shape.map(() => 0)
  let rest = index
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at[axis] = rest % shape[axis]!
    rest = Math.floor(rest / shape[axis]!)
  }
  return at
}

export const indexOf = (shape: readonly number[], at: readonly number[]): number =>
  shape.reduce((index, size, axis) => index * size + at[axis]!, 0)

/** One element of a view, by what views are said to be: no strides, no runs. `touch` is told of each stored element. */
export function elementOf(
  { files, maps }: Omit<Case, 'view'>,
  view: View,
  at: readonly number[],
  touch: (file: number, offset: number, bytes: number) => void = () => {},
): number {
  const inner = (of: View, place: readonly number[]): number => elementOf({ files, maps }, of, place, touch)
  switch (view.kind) {
    case 'stored': {
      const { file, offset, shape, strides = rowMajor(shape), dtype } = view
      const size = bytesOf(dtype)
      const place = offset + size * at.reduce((sum, i, axis) => sum + i * strides[axis]!, 0)
      touch(file, place, size)
      return numberAt(new DataView(files[file]!.buffer), dtype, place)
    }
    case 'slice':
      return inner(view.of, at.with(view.axis, at[view.axis]! + view.start))
    case 'permute': {
      const place = at.map(() => 0)
      for (const [axis, from] of view.axes.entries()) place[from] = at[axis]!
      return inner(view.of, place)
    }
    case 'reshape':
      return inner(view.of, coordinatesOf(shapeOf(view.of), indexOf(view.shape, at)))
    case 'repeat':
      return inner(view.of, at.with(view.axis, 0))
    case 'concat': {
      let place = at[view.axis]!
      for (const part of view.parts) {
        const size = shapeOf(part)[view.axis]!
        if (place < size) return inner(part, at.with(view.axis, place))
        place -= size
      }
      throw new Error('behind the last part')
    }
    case 'decode':
      return decodedElement(view, indexOf(view.shape, at), partAccess({ files, maps }, touch))
    case 'gather': {
      if (isFound(view)) {
        const found = maps(view.map, shapeOf(view.of[0]))
        const place = at.map((i, axis) => found.find((map) => map.axis === axis)?.map[i] ?? i)
        return inner(view.of[0], place)
      }
      return gatheredElement(view, at, inner)
    }
  }
}

/** Elements of the parts of a decode view. */
function partAccess(
  { files, maps }: Omit<Case, 'view'>,
  touch: (file: number, offset: number, bytes: number) => void,
): PartAccess {
  /** The place of an element of a part, which may be transposed. */
  const bytesAt = (part: View, index: number): { data: DataView; place: number } => {
    let place = { file: 0, offset: 0, size: 0 }
    elementOf({ files, maps }, part, coordinatesOf(shapeOf(part), index), (file, offset, size) => {
      place = { file, offset, size }
    })
    touch(place.file, place.offset, place.size)
    return { data: new DataView(files[place.file]!.buffer), place: place.offset }
  }
  return {
    number(part, index) {
      const { data, place } = bytesAt(part, index)
      return numberAt(data, dtypeOf(part)!, place)
    },
    word(part, index) {
      const { data, place } = bytesAt(part, index)
      return data.getUint32(place, true)
    },
    byte(part, index) {
      const stored = mainStored(part)
      touch(stored.file, stored.offset + index, 1)
      return files[stored.file]![stored.offset + index]!
    },
  }
}

function gatheredElement(
  view: View & { kind: 'gather' },
  at: readonly number[],
  inner: (of: View, at: readonly number[]) => number,
): number {
  if (isFound(view)) throw new Error('found')
  const { of, map } = view
  const row = (index: number): { source: number; row: number; values: () => number } => {
    let next = 0
    for (let run = 0; run < map.runs.length; run += 3) {
      const [count, source, first] = [map.runs[run]!, map.runs[run + 1]!, map.runs[run + 2]!]
      if (index < next + count) {
        const inside = index - next
        const of_ = (from: number, place: number): number => inner(of[from]!, at.with(0, place))
        if (source >= 0) return { source, row: first, values: () => of_(source, first + inside) }
        if (source === ZEROS) return { source, row: first, values: () => 0 }
        if (source === MEANS)
          return {
            source,
            row: first,
            values: () => {
              const places = map.means[first + inside]!
              let sum = 0
              for (let i = 0; i < places.length; i += 2) sum += of_(places[i]!, places[i + 1]!)
              return sum / (places.length / 2)
            },
          }
        return {
          source,
          row: first,
          values: () => {
            const all = Array.from({ length: first }, (_, i) => row(i)).filter((one) => one.source !== MEAN_BEFORE)
            return all.length === 0 ? 0 : all.reduce((sum, one) => sum + one.values(), 0) / all.length
          },
        }
      }
      next += count
    }
    throw new Error('behind the last row')
  }
  return row(at[0]!).values()
}

/** All elements of a view, in row-major order. */
export function valuesOf(given: Case): Float64Array {
  const shape = shapeOf(given.view)
  return Float64Array.from({ length: elements(shape) }, (_, index) =>
    elementOf(given, given.view, coordinatesOf(shape, index)),
  )
}

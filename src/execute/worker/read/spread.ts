/**
 * Elements that lie apart in a file, read in as few calls as pay: a transposed tensor has its rows spread over all of its bytes.
 * For files that are read; of mapped ones every place is at hand.
 */
import { type Box, boxesOf } from '../../../views/boxes.js'
import type { AxisPlaces } from '../../../views/readers.js'
import type { Reading } from './reading.js'

/** Bytes that are copied in the time that one call to the system takes. */
const CALL = 12_288

/** One axis of a box of elements: where its places lie in the file, and how far apart they are in the result. */
interface Axis {
  readonly stride: number
  /** Along the stored axis, by place of the box. */
  readonly places: Int32Array
  readonly low: number
  readonly high: number
  readonly step: number
}

interface Spread extends AxisPlaces {
  readonly file: number
  readonly offset: number
}

/** Copies elements, from row-major index `first` on, one after the other to `address`. */
export function readSpread(
  reader: Spread,
  elementBytes: number,
  reading: Reading,
  first: number,
  count: number,
  address: number,
): void {
  let to = address
  for (const box of boxesOf(reader.shape, first, count)) {
    copyBox(reader, elementBytes, axesOf(reader, box), reading, to)
    to += box.sizes.reduce((product, size) => product * size, elementBytes)
  }
}

/** A box's axes, those first whose places lie farthest apart. */
function axesOf({ strides, maps }: AxisPlaces, { starts, sizes }: Box): Axis[] {
  const axes = sizes.map((size, axis): Axis => {
    const map = maps[axis]
    const places = Int32Array.from({ length: size }, (_, i) => map?.[starts[axis]! + i] ?? starts[axis]! + i)
    return {
      stride: strides[axis]!,
      places,
      low: places.reduce((least, place) => Math.min(least, place), places[0]!),
      high: places.reduce((most, place) => Math.max(most, place), 0),
      step: sizes.slice(axis + 1).reduce((product, other) => product * other, 1),
    }
  })
  return axes.sort((a, b) => b.stride - a.stride)
}

function copyBox(
  { file, offset }: Spread,
  elementBytes: number,
  axes: readonly Axis[],
  { slot, worker }: Reading,
  address: number,
): void {
  const input = worker.input(file)
  const unit = elementBytes % 4 === 0 ? 4 : elementBytes % 2 === 0 ? 2 : 1
  const words = elementBytes / unit
  const Words = unit === 4 ? Uint32Array : unit === 2 ? Uint16Array : Uint8Array
  const target = new Words(worker.memory.buffer, address)
  const { spans, whole } = waysOf(axes, elementBytes, worker.slotRoom)

  /** Copies what the axes from `level` on reach, out of bytes that are there: indexes in elements. */
  function copy(source: InstanceType<typeof Words>, level: number, from: number, to: number): void {
    const axis = axes[level]
    if (!axis) {
      for (let word = 0; word < words; word++) target[to * words + word] = source[from * words + word]!
      return
    }
    const { places, low, stride, step } = axis
    if (level < axes.length - 1 || words > 1) {
      for (let i = 0; i < places.length; i++) copy(source, level + 1, from + (places[i]! - low) * stride, to + i * step)
      return
    }
    for (let i = 0; i < places.length; i++) target[to + i * step] = source[from + (places[i]! - low) * stride]!
  }

  function fetch(level: number, from: number, to: number): void {
    if (whole[level]) {
      const low = axes.slice(level).reduce((sum, axis) => sum + axis.low * axis.stride, from)
      const bytes = spans[level]! * elementBytes
      const at = slot.at(input, offset + low * elementBytes, bytes)
      copy(new Words(worker.memory.buffer, at, bytes / unit), level, 0, to)
      return
    }
    const { places, stride, step } = axes[level]!
    const most = together(axes, level, spans[level + 1]!, elementBytes, worker.slotRoom)
    for (let i = 0; i < places.length; i += most) {
      const n = Math.min(most, places.length - i)
      if (n === 1) {
        fetch(level + 1, from + places[i]! * stride, to + i * step)
        continue
      }
      const part = { ...axes[level]!, places: places.subarray(i, i + n), low: places[i]! }
      const inner = axes.slice(level + 1)
      const low = [part, ...inner].reduce((sum, axis) => sum + axis.low * axis.stride, from)
      const bytes = ((n - 1) * stride + spans[level + 1]!) * elementBytes
      const at = slot.at(input, offset + low * elementBytes, bytes)
      copyPart(new Words(worker.memory.buffer, at, bytes / unit), part, level, to + i * step)
    }
  }

  /** The places of an axis that were read together, and all axes after it. */
  function copyPart(
    source: InstanceType<typeof Words>,
    { places, low, stride, step }: Axis,
    level: number,
    to: number,
  ) {
    for (let i = 0; i < places.length; i++) copy(source, level + 1, (places[i]! - low) * stride, to + i * step)
  }
  fetch(0, 0, 0)
}

/**
 * How many places of an axis to read at once, with what lies between them: as many as there is room for, if the axis is in
 * the order of the file and that takes less time than to read them one by one.
 */
function together(axes: readonly Axis[], level: number, inner: number, elementBytes: number, room: number): number {
  const { places, stride } = axes[level]!
  if (places.some((place, i) => i > 0 && place !== places[i - 1]! + 1)) return 1
  const most = Math.min(places.length, Math.floor((room / elementBytes - inner) / Math.max(1, stride)) + 1)
  const once = 1 + (((most - 1) * stride + inner) * elementBytes) / CALL
  return most > 1 && once <= most ? most : 1
}

/** By level, the elements that the axes from it on span in the file, and whether to read them at once: where that takes less time. */
function waysOf(axes: readonly Axis[], elementBytes: number, room: number): { spans: number[]; whole: boolean[] } {
  const spans = [1]
  const whole = [true]
  let least = 1
  for (const { low, high, stride, places } of [...axes].reverse()) {
    spans.unshift(spans[0]! + (high - low) * stride)
    const bytes = spans[0]! * elementBytes
    const [once, apart] = [bytes <= room ? 1 + bytes / CALL : Number.POSITIVE_INFINITY, places.length * least]
    whole.unshift(once <= apart)
    least = Math.min(once, apart)
  }
  return { spans, whole }
}

/** Lowers views to readers. */
import { elements, type FloatDtype } from '../core/dtypes.js'
import { bytesOf, isFloat } from '../encodings/index.js'
import { simplify } from './compose.js'
import {
  extentOf,
  isRun,
  mapped,
  type Places,
  permuted,
  placesOf,
  repeated,
  reshaped,
  rowMajor,
  sliced,
} from './places.js'
import type { DecodedReader, Reader, RowsReader, Source, TurnedReader } from './readers.js'
import { dtypeOf, shapeOf } from './shape.js'
import { mainStored } from './stored.js'
import {
  type AxisMap,
  type ConcatView,
  type DecodeView,
  type Finding,
  isFound,
  type RowGather,
  type StoredView,
  type View,
} from './types.js'

export interface Lowering {
  /** Whether elements are read as they are stored, whatever their dtype. */
  readonly words?: boolean
  /** Whether elements are read as single bytes. */
  readonly raw: boolean
  /** The dtype for elements of mixed dtypes and for averages. */
  readonly mixed: 'F32' | 'F64'
  /** The permutations that a finding gives for a tensor of this shape. */
  readonly maps: (finding: Finding, shape: readonly number[]) => readonly AxisMap[]
}

/**
 * The reader of a view, with elements in the view's dtype. If `raw`, each element is read as its bytes. Throws an
 * internal error if a view reorders elements that are not whole bytes.
 */
export function lower(view: View, how: Lowering): Source {
  return lowered(simplify(view), how)
}

function lowered(view: View, how: Lowering): Source {
  const element = elementOf(view, how)
  if (view.kind === 'stored' && !view.strides) {
    const { file, offset, bytes } = view
    return { reader: { kind: 'contiguous', file, offset, bytes }, ...element }
  }
  return { reader: readerOf(accessOf(view, how), element), ...element }
}

/** The dtype and size of a reader's elements. */
function elementOf(view: View, { raw, mixed, words }: Lowering): Pick<Source, 'dtype' | 'elementBytes'> {
  if (raw) return { dtype: 'raw', elementBytes: 1 }
  if (words) return { dtype: 'raw', elementBytes: bytesOf(dtypeOf(view)!) }
  const dtype: FloatDtype | undefined = floatOf(dtypeOf(view) ?? mixed)
  if (!dtype) throw new Error(`internal: ${dtypeOf(view)} in arithmetic`)
  return { dtype, elementBytes: bytesOf(dtype) }
}

const floatOf = (dtype: StoredView['dtype']): FloatDtype | undefined => (isFloat(dtype) ? dtype : undefined)

/** Places in a file or in another reader. */
interface Access {
  readonly base:
    | { readonly kind: 'file'; readonly file: number; readonly offset: number }
    | { readonly kind: 'reader'; readonly reader: Reader; readonly length: number }
  readonly places: Places
}

/** If raw, an additional last axis over the bytes of an element. */
function byteAxis(view: View, { raw }: Lowering): readonly number[] {
  if (!raw) return []
  const bytes = bytesOf(dtypeOf(view) ?? 'F32')
  if (!Number.isInteger(bytes)) throw new Error(`internal: a view of ${dtypeOf(view)}`)
  return [bytes]
}

function accessOf(view: View, how: Lowering): Access {
  switch (view.kind) {
    case 'stored':
      return storedAccess(view, how)
    case 'slice':
      return changed(accessOf(view.of, how), (places) => sliced(places, view.axis, view.start, view.count))
    case 'permute': {
      const last = how.raw ? [view.axes.length] : []
      const access = changed(accessOf(view.of, how), (places) => permuted(places, [...view.axes, ...last]))
      const turned = turnedReader(access)
      return turned ? whole(turned, access.places.shape) : access
    }
    case 'decode':
      return whole(decodedReader(view, how), view.shape)
    case 'repeat':
      return changed(accessOf(view.of, how), (places) => repeated(places, view.axis, view.count))
    case 'reshape': {
      const access = accessOf(view.of, how)
      const shape = [...view.shape, ...byteAxis(view, how)]
      const places = reshaped(access.places, shape)
      return places ? { ...access, places } : whole(readerOf(access, elementOf(view.of, how)), shape)
    }
    case 'concat':
      return concatAccess(view, how)
    case 'gather':
      if (!isFound(view)) return rowsAccess(view, how)
      return changed(accessOf(view.of[0], how), (places) => mapped(places, how.maps(view.map, shapeOf(view.of[0]))))
  }
}

/** The reader of numbers that are computed from codes. */
function decodedReader({ shape, form, of }: DecodeView, how: Lowering): DecodedReader {
  if (how.raw) throw new Error('internal: stored bytes of numbers that are computed')
  const { scale } = form
  // Nibbles have no elements of their own: their bytes can have any dtype.
  const bytes = form.codes.kind === 'nibbles' ? 0 : -1
  const parts = of.map((part, index): Source => {
    const isNumber = isFloat(dtypeOf(part)!) && index !== 0 && !(index === scale.part && scale.form.kind !== 'number')
    return lowered(part, { ...how, raw: index === bytes, words: !isNumber })
  })
  const names = of.map(mainStored).map(({ file, tensor }) => ({ file, tensor }))
  return { kind: 'decoded', shape, form, parts, names }
}

/** The reader of decoded matrices that are transposed as a whole; undefined if these places are something else. */
function turnedReader({ base, places }: Access): TurnedReader | undefined {
  if (base.kind === 'file' || base.reader.kind !== 'decoded') return undefined
  const { shape } = base.reader
  const axes = [...shape.keys()]
  const swapped = permuted(placesOf(shape), [...axes.slice(0, -2), ...axes.slice(-2).reverse()])
  const { start, strides, maps } = places
  const isSwapped =
    axes.length >= 2 &&
    start === 0 &&
    !maps.some((map) => map) &&
    swapped.shape.every((size, axis) => size === places.shape[axis]) &&
    swapped.strides.every((stride, axis) => stride === strides[axis])
  return isSwapped ? { kind: 'turned', of: base.reader } : undefined
}

function storedAccess(view: StoredView, how: Lowering): Access {
  const { file, offset, shape, strides = rowMajor(shape) } = view
  const base = { kind: 'file', file, offset } as const
  if (!how.raw) return { base, places: placesOf(shape, strides) }
  const [bytes = 1] = byteAxis(view, how)
  return { base, places: placesOf([...shape, bytes], [...strides.map((stride) => stride * bytes), 1]) }
}

const changed = ({ base, places }: Access, change: (places: Places) => Places): Access => ({
  base,
  places: change(places),
})

/** All elements of a reader. */
function whole(reader: Reader, shape: readonly number[]): Access {
  if (reader.kind === 'contiguous') return { base: { ...reader, kind: 'file' }, places: placesOf(shape) }
  return { base: { kind: 'reader', reader, length: elements(shape) }, places: placesOf(shape) }
}

function concatAccess(view: ConcatView, how: Lowering): Access {
  const last = byteAxis(view, how)
  const shape = [...shapeOf(view), ...last]
  const parts = view.parts.flatMap((part) => {
    const block = elements([...shapeOf(part).slice(view.axis), ...last])
    return block === 0 ? [] : [{ source: lowered(part, how), block }]
  })
  if (parts.length === 1) return whole(parts[0]!.source.reader, shape)
  return whole({ kind: 'concat', parts }, shape)
}

/** Rows of a single tensor are places along its first axis. All others need a reader of rows. */
function rowsAccess(view: RowGather, how: Lowering): Access {
  const last = byteAxis(view, how)
  const shape = [...shapeOf(view), ...last]
  const rows = rowsOf(view)
  if (rows) {
    const access = accessOf(view.of[0]!, how)
    const { runs } = view.map
    if (runs.length === 3) return changed(access, (places) => sliced(places, 0, runs[2]!, runs[0]!))
    const inRuns = rows.length >= LONG_RUNS * (runs.length / 3)
    if (!inRuns || access.base.kind !== 'file' || !isRun(access.places))
      return changed(access, (places) => mapped(places, [{ axis: 0, map: rows }]))
  }
  return whole(rowsReader(view, how, elements(shape.slice(1))), shape)
}

/** Rows are read in runs if this many are adjacent on average. */
const LONG_RUNS = 2

/** For each row of the result, its row in the first tensor. Undefined if rows come from elsewhere. */
function rowsOf({ of, map: { rows, runs } }: RowGather): Int32Array | undefined {
  if (of.length > 1 || runs.some((source, at) => at % 3 === 1 && source !== 0)) return undefined
  const all = new Int32Array(rows)
  let next = 0
  for (let run = 0; run < runs.length; run += 3)
    for (let row = 0; row < runs[run]!; row++) all[next++] = runs[run + 2]! + row
  return all
}

function rowsReader({ of, map }: RowGather, how: Lowering, rowLength: number): RowsReader {
  const runs = map.runs.length / 3
  const column = (offset: number) => Int32Array.from({ length: runs }, (_, run) => map.runs[3 * run + offset]!)
  const starts = new Int32Array(runs + 1)
  for (const [run, count] of column(0).entries()) starts[run + 1] = starts[run]! + count
  const sources = of.map((source) => lowered(source, how))
  return { kind: 'rows', rowLength, sources, starts, runSources: column(1), runRows: column(2), means: map.means }
}

function readerOf({ base, places }: Access, { elementBytes }: Pick<Source, 'elementBytes'>): Reader {
  const { start, shape, strides, maps } = places
  const count = elements(shape)
  if (base.kind !== 'file') {
    if (isRun(places) && count === base.length) return base.reader
    return { kind: 'picked', of: base.reader, start, shape, strides, maps }
  }
  const place = { file: base.file, offset: base.offset + start * elementBytes }
  if (isRun(places)) return { kind: 'contiguous', ...place, bytes: count * elementBytes }
  if (!maps.some((map) => map)) return { kind: 'strided', ...place, shape, strides }
  return { kind: 'mapped', ...place, bytes: extentOf(places) * elementBytes, shape, strides, maps }
}

/** Puts a tensor together from the boxes in which the files of a folder store it. Boxes must cover each element exactly once. */
import { type Fault, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { bytesOf } from '../../encodings/index.js'
import type { StoredView, View } from '../../views/types.js'
import type { BoxedTensor, StoredBox } from '../containers/types.js'
import type { LogicalTensor, StoredTensor } from '../types.js'

/** A box of elements and where they are read from. */
interface Piece {
  readonly starts: readonly number[]
  readonly shape: readonly number[]
  readonly view: View
}

interface Region {
  readonly starts: readonly number[]
  readonly shape: readonly number[]
}

/** Pieces that may be looked at per box. A grid of boxes needs one look per axis. */
const LOOKS = 64
const SOME_LOOKS = 10_000
const AGAIN = 'the checkpoint is incomplete or damaged: save or copy it again'

/**
 * The logical tensor and its stored parts, which have names such as `a.weight[0:9, 0:10]`. `shown` names the folder in messages.
 * Errors: `bad-chunks`, `shape-overflow`.
 */
export function joined(
  { name, dtype, shape, boxes }: BoxedTensor,
  shown: string,
): { readonly tensor: LogicalTensor; readonly parts: readonly StoredTensor[] } {
  const whose = `${shown}: tensor ${quote(name)}`
  const sizes = shape.map((_, axis) =>
    bytesOf(
      dtype,
      shape.slice(0, axis + 1).reduce((all, size) => all * size, 1),
    ),
  )
  if (!sizes.every(Number.isSafeInteger))
    throw fault('shape-overflow', `${whose}: a shape of ${shape.join(' × ')} has more bytes than 2⁵³`, AGAIN)
  const bad = (what: string): Fault => fault('bad-chunks', `${whose}: ${what}`, AGAIN)
  for (const { starts, shape: own } of boxes)
    if (!shape.every((size, axis) => starts[axis]! + own[axis]! <= size))
      throw bad(`its chunk ${rangeOf(starts, own)} extends past its shape, ${shape.join(' × ')}`)
  const isEmpty = shape.includes(0)
  const used = isEmpty ? boxes.slice(0, 1) : boxes.filter((box) => !box.shape.includes(0))
  const pieces = used.map((box): Piece => ({ starts: box.starts, shape: box.shape, view: viewOf(name, box) }))
  const looks = { left: LOOKS * used.length + SOME_LOOKS }
  if (isEmpty && used.length === 0) throw bad('it has no chunk')
  const view = isEmpty
    ? { ...viewOf(name, used[0]!), shape, bytes: 0 }
    : cover(pieces, { starts: shape.map(() => 0), shape }, bad, looks)
  return { tensor: { name, dtype, shape, view }, parts: used.map((box) => storedPart(name, shape, box)) }
}

/** Parts share the tensor's name in views, since messages and lineages are about the tensor. */
function viewOf(tensor: string, { dtype, shape, file, offset, bytes, strides }: StoredBox): StoredView {
  const view = { kind: 'stored', file, tensor, dtype, shape, offset, bytes } as const
  return strides ? { ...view, strides } : view
}

function storedPart(name: string, shape: readonly number[], { starts, ...stored }: StoredBox): StoredTensor {
  const isWhole = stored.shape.every((size, axis) => size === shape[axis])
  return { ...stored, name: isWhole ? name : `${name}${rangeOf(starts, stored.shape)}` }
}

const rangeOf = (starts: readonly number[], shape: readonly number[]): string =>
  `[${starts.map((start, axis) => `${start}:${start + shape[axis]!}`).join(', ')}]`

/** The view of a region that these pieces cover: cut along an axis between pieces, or through them if there is no other way. */
function cover(pieces: readonly Piece[], region: Region, bad: (what: string) => Fault, looks: { left: number }): View {
  looks.left -= pieces.length
  if (looks.left < 0) throw bad('its chunks lie across each other in too many ways')
  const [first] = pieces
  if (!first) throw bad(`no chunk has its elements ${rangeOf(region.starts, region.shape)}`)
  if (pieces.length === 1 && first.shape.every((size, axis) => size === region.shape[axis])) return first.view
  for (const axis of region.shape.keys()) {
    const cuts = cutsBetween(pieces, region, axis)
    if (cuts.length > 0) return joinedAt(cuts, axis, pieces, region, bad, looks)
  }
  // Pieces of a region that nothing divides: two of them overlap, or they lie like the blades of a windmill.
  const volume = pieces.reduce((sum, { shape }) => sum + volumeOf(shape), 0)
  const second = pieces[1]
  if (volume > volumeOf(region.shape) || !second)
    throw bad(`several chunks have the same elements: ${pieces.slice(0, 3).map(textOf).join(', ')}`)
  const axis = region.shape.findIndex((_, at) => pieces.some((piece) => endOf(piece, at) < endOf(region, at)))
  if (axis < 0) throw bad(`several chunks have the same elements: ${textOf(first)}, ${textOf(second)}`)
  const at = Math.min(...pieces.map((piece) => endOf(piece, axis)).filter((end) => end < endOf(region, axis)))
  const halves = pieces.flatMap((piece) => cutPiece(piece, axis, at))
  return joinedAt([at], axis, halves, region, bad, looks)
}

const volumeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
const endOf = ({ starts, shape }: Region, axis: number): number => starts[axis]! + shape[axis]!
const textOf = ({ starts, shape }: Piece): string => rangeOf(starts, shape)

/** The places inside a region at which an axis can be cut without cutting a piece. */
function cutsBetween(pieces: readonly Piece[], region: Region, axis: number): number[] {
  const cuts = new Set<number>()
  let end = region.starts[axis]!
  for (const piece of [...pieces].sort((a, b) => a.starts[axis]! - b.starts[axis]!)) {
    if (piece.starts[axis]! >= end) for (const at of [end, piece.starts[axis]!]) cuts.add(at)
    end = Math.max(end, endOf(piece, axis))
  }
  cuts.add(end)
  return [...cuts].filter((at) => at > region.starts[axis]! && at < endOf(region, axis)).sort((a, b) => a - b)
}

/** The parts of a region between cuts, one after another. No piece may lie across a cut. */
function joinedAt(
  cuts: readonly number[],
  axis: number,
  pieces: readonly Piece[],
  region: Region,
  bad: (what: string) => Fault,
  looks: { left: number },
): View {
  const from = [region.starts[axis]!, ...cuts]
  const inside: Piece[][] = from.map(() => [])
  const sorted = [...pieces].sort((a, b) => a.starts[axis]! - b.starts[axis]!)
  let at = 0
  for (const piece of sorted) {
    while (at + 1 < from.length && piece.starts[axis]! >= from[at + 1]!) at++
    inside[at]!.push(piece)
  }
  const parts = from.map((start, index): View => {
    const size = (from[index + 1] ?? endOf(region, axis)) - start
    const part = { starts: region.starts.with(axis, start), shape: region.shape.with(axis, size) }
    return cover(inside[index]!, part, bad, looks)
  })
  return { kind: 'concat', axis, parts }
}

function cutPiece(piece: Piece, axis: number, at: number): Piece[] {
  const start = piece.starts[axis]!
  const end = endOf(piece, axis)
  if (end <= at || start >= at) return [piece]
  const half = (from: number, to: number): Piece => ({
    starts: piece.starts.with(axis, from),
    shape: piece.shape.with(axis, to - from),
    view: { kind: 'slice', of: piece.view, axis, start: from - start, count: to - from },
  })
  return [half(start, at), half(at, end)]
}

/** Where the stored parts of computed tensors lie in an output's files. */
import { byPlace } from '../checkpoints/order.js'
import { elements } from '../core/dtypes.js'
import type { Placement, PlanTensor } from './types.js'

/** The placement of a tensor that is stored as one, whole; undefined where it is stored in parts. */
export function wholePlacement({ shape, placements }: PlanTensor): Placement | undefined {
  const [only] = placements
  return placements.length === 1 && only!.from === 0 && only!.count === elements(shape) ? only : undefined
}

/** Bytes that are written of a tensor. */
export const writtenBytes = ({ placements }: PlanTensor): number =>
  placements.reduce((sum, { bytes }) => sum + bytes, 0)

export interface StoredPart {
  readonly placement: Placement
  /** Indexes into the output's tensors, and into the placements of that one. */
  readonly tensor: number
  readonly part: number
}

/** All that is stored in one file of an output, in the order in which it lies there. */
export function partsIn(tensors: readonly PlanTensor[], file: number): StoredPart[] {
  const parts: StoredPart[] = []
  for (const [tensor, { placements }] of tensors.entries())
    for (const [part, placement] of placements.entries())
      if (placement.file === file) parts.push({ placement, tensor, part })
  return parts.sort((a, b) => byPlace(a.placement, b.placement))
}

/** All that is stored of an output, in the order of names. Numbers are sorted, since objects of a million tensors take much memory. */
export function* partsByName(tensors: readonly PlanTensor[]): Generator<StoredPart> {
  const count = tensors.reduce((sum, { placements }) => sum + placements.length, 0)
  const [owners, parts] = [new Uint32Array(count), new Uint32Array(count)]
  let next = 0
  for (const [tensor, { placements }] of tensors.entries())
    for (const part of placements.keys()) {
      owners[next] = tensor
      parts[next++] = part
    }
  const placementOf = (at: number): Placement => tensors[owners[at]!]!.placements[parts[at]!]!
  const order = Uint32Array.from(owners.keys()).sort((a, b) => codeUnits(placementOf(a).name, placementOf(b).name))
  for (const at of order) yield { placement: placementOf(at), tensor: owners[at]!, part: parts[at]! }
}

const codeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

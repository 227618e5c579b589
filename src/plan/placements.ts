/** Where an output's files store the parts of each computed tensor. */
import { byPlace } from '../checkpoints/order.js'
import { elements } from '../core/dtypes.js'
import type { Placement, PlanTensor } from './types.js'

/** The placement of a tensor that is stored as a whole; undefined if it is stored in parts. */
export function wholePlacement({ shape, placements }: PlanTensor): Placement | undefined {
  const [only] = placements
  return placements.length === 1 && only!.from === 0 && only!.count === elements(shape) ? only : undefined
}

/** Bytes that terge writes for a tensor. */
export const writtenBytes = ({ placements }: PlanTensor): number =>
  placements.reduce((sum, { bytes }) => sum + bytes, 0)

export interface StoredPart {
  readonly placement: Placement
  /** Index into the output's tensors; `part` is the index into its placements. */
  readonly tensor: number
  readonly part: number
}

/** All parts in one file of an output, sorted by offset. */
export function partsIn(tensors: readonly PlanTensor[], file: number): StoredPart[] {
  const parts: StoredPart[] = []
  for (const [tensor, { placements }] of tensors.entries())
    for (const [part, placement] of placements.entries())
      if (placement.file === file) parts.push({ placement, tensor, part })
  return parts.sort((a, b) => byPlace(a.placement, b.placement))
}

/** All parts of an output, sorted by name. Sorts indexes in typed arrays, since a million objects need much memory. */
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

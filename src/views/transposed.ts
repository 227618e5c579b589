/** Transposed matrices in files: workers that read files keep some of their rows. */
import { storedBytes } from './ranges.js'
import type { View } from './types.js'

/** Bytes that a worker keeps for all transposed matrices. */
export const KEPT = 16 * 2 ** 20
/** Bytes of a matrix below which nothing is kept: a few reads get all of it. */
export const SMALL = 2 ** 18

/** Whether a worker may keep rows of the view. */
export function keepsRows(view: View): boolean {
  switch (view.kind) {
    case 'stored':
      return view.strides !== undefined && view.bytes >= SMALL
    case 'permute':
      return (view.of.kind !== 'decode' && storedBytes(view.of) >= SMALL) || keepsRows(view.of)
    case 'slice':
    case 'reshape':
    case 'repeat':
      return keepsRows(view.of)
    case 'concat':
      return view.parts.some(keepsRows)
    case 'decode':
    case 'gather':
      return view.of.some(keepsRows)
  }
}

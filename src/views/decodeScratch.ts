/** Memory in which a worker keeps parts of decoded numbers, in bytes. */
import { CHUNK } from '../kernels/types.js'
import { MOST_MAPPED } from './decodeForm.js'
import { isPlain } from './stored.js'
import type { View } from './types.js'

/** For each reader that reads another one: a chunk of stored elements, and one of decoded ones. */
export const SCRATCH = CHUNK * 16
/** Scales that are kept at once. */
export const SCALES = 1 << 16
/** Codes that are not contiguous in the file. */
export const BAND = 1 << 22
/** Numbers of a strip of a transposed matrix, and of the box that is transposed at once. */
export const STRIP = 1 << 19
export const BOX = 1 << 16

/** Scales, zero points, elements of a part as they are stored, a map of groups, and tables. */
export const CACHES = { scales: SCALES * 4, zeros: SCALES * 4, raw: SCALES * 4, map: MOST_MAPPED * 4, tables: 2048 }

/** For decoded numbers; `contiguous`: rows of codes are rows of numbers, and read as they are. */
export const decodedBytes = (contiguous: boolean): number =>
  SCRATCH + Object.values(CACHES).reduce((sum, bytes) => sum + bytes, 0) + (contiguous ? 0 : BAND)

/** For transposed matrices of decoded numbers. */
export const TURNED_BYTES = SCRATCH + 4 * (STRIP + BOX) + decodedBytes(false)

/** At most this many bytes for a view; 0 if it has no decoded numbers. */
export function decodeScratch(view: View): number {
  switch (view.kind) {
    case 'stored':
      return 0
    case 'decode':
      return decodedBytes(isPlain(view.of[0]!) && view.form.codes.kind !== 'across')
    case 'permute':
      return view.of.kind === 'decode' ? TURNED_BYTES : deepest([view.of])
    case 'slice':
    case 'reshape':
      return deepest([view.of])
    case 'concat':
      return deepest(view.parts)
    case 'gather':
      return deepest(view.of)
  }
}

/** Each level of readers has scratch space of its own. */
function deepest(views: readonly View[]): number {
  const most = views.reduce((sum, view) => Math.max(sum, decodeScratch(view)), 0)
  return most === 0 ? 0 : SCRATCH + most
}

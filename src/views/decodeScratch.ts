/** Memory in which a worker keeps parts of decoded numbers, in bytes. */
import { CHUNK } from '../kernels/types.js'
import { bandBytes } from './bands.js'
import { MOST_MAPPED } from './decodeForm.js'
import { isPlain } from './stored.js'
import type { View } from './types.js'

/** For each reader that reads another one: a chunk of stored elements, and one of decoded ones. */
export const SCRATCH = CHUNK * 16
/** Scales that are kept at once. */
export const SCALES = 1 << 16
/** Numbers of a strip of a transposed matrix, and of the box that is transposed at once. */
export const STRIP = 1 << 19
export const BOX = 1 << 16

/** Scales, zero points, elements of a part as they are stored, a map of groups, and tables. */
export const CACHES = { scales: SCALES * 4, zeros: SCALES * 4, raw: SCALES * 4, map: MOST_MAPPED * 4, tables: 2048 }

/** For decoded numbers. `band`: bytes of codes that are not contiguous in the file; 0 if rows of codes are rows of numbers. */
export const decodedBytes = (band: number): number =>
  SCRATCH + Object.values(CACHES).reduce((sum, bytes) => sum + bytes, 0) + band

/** For transposed matrices of decoded numbers. */
export const turnedBytes = (band: number): number => SCRATCH + 4 * (STRIP + BOX) + decodedBytes(band)

/** At most this many bytes for the views of a program. */
export function decodeScratch(views: readonly View[]): number {
  const bands = bandBytes(views.filter(needsBand).length)
  return views.reduce((sum, view) => sum + scratchOf(view, bands), 0)
}

function needsBand(view: View): boolean {
  switch (view.kind) {
    case 'stored':
      return false
    case 'decode':
      return !isPlain(view.of[0]!) || view.form.codes.kind === 'across'
    case 'permute':
      return view.of.kind === 'decode' || needsBand(view.of)
    case 'slice':
    case 'reshape':
    case 'repeat':
      return needsBand(view.of)
    case 'concat':
      return view.parts.some(needsBand)
    case 'gather':
      return view.of.some(needsBand)
  }
}

/** At most this many bytes for a view; 0 if it has no decoded numbers. */
function scratchOf(view: View, band: number): number {
  switch (view.kind) {
    case 'stored':
      return 0
    case 'decode':
      return decodedBytes(needsBand(view) ? band : 0)
    case 'permute':
      return view.of.kind === 'decode' ? turnedBytes(band) : deepest([view.of], band)
    case 'slice':
    case 'reshape':
    case 'repeat':
      return deepest([view.of], band)
    case 'concat':
      return deepest(view.parts, band)
    case 'gather':
      return deepest(view.of, band)
  }
}

/** Each level of readers has scratch space of its own. */
function deepest(views: readonly View[], band: number): number {
  const most = views.reduce((sum, view) => Math.max(sum, scratchOf(view, band)), 0)
  return most === 0 ? 0 : SCRATCH + most
}

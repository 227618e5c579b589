/** What of a recipe with faults is right all the same. */
import type { Diagnostic, Place } from '../core/diagnostics.js'
import { type Node, spanOf, spanPlace } from './tree.js'
import type { Path } from './types.js'

/**
 * Whether errors have to do with what stands at a path: those in it or at its key, and names written twice beside it.
 * Where there are others without a place in the file, as of `--set`, or `all` is given, everything may be wrong.
 */
export function wrongness(root: Node, diagnostics: readonly Diagnostic[], all: boolean): (at: Path) => boolean {
  const errors = diagnostics.filter(({ severity }) => severity === 'error')
  const { file } = spanPlace(root.span)
  const everywhere = all || errors.some(({ place }) => place?.file !== file)
  const isIn = ({ place }: Diagnostic, at: Path): boolean => {
    const [key, value] = [spanOf(root, at, 'key'), spanOf(root, at, 'value')]
    const from = spanPlace({ ...key, end: key.start })
    const to = spanPlace({ ...value, start: value.end })
    return place !== undefined && isBefore(from, place) && isBefore(place, to)
  }
  return (at) =>
    everywhere || errors.some((error) => isIn(error, error.code === 'duplicate-key' ? at.slice(0, -1) : at))
}

const isBefore = (one: Place, other: Place): boolean =>
  one.line < other.line || (one.line === other.line && one.column <= other.column)

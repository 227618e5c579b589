/** Which parts of a recipe with errors are still valid. */
import type { Diagnostic, Place } from '../core/diagnostics.js'
import { type Node, spanOf, spanPlace } from './tree.js'
import type { Path } from './types.js'

/**
 * Whether errors may affect the value at a path: errors inside it or at its key, and names that are written twice
 * next to it. If there are errors without a place in the file, such as in `--set`, or if `all` is set, everything may
 * be wrong.
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

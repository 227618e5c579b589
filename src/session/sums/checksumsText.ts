/** The text of a file of checksums, as `sha256sum` prints it. */
import type { Digest } from '../../lineage/types.js'

/** A file, as a line names it. */
export interface SummedName {
  readonly name: string
  readonly sha256: Digest
}

/** The text. A line with an escaped name begins with a backslash, as `sha256sum` writes it. */
export const checksumsText = (files: readonly SummedName[]): string =>
  files
    .map(({ name, sha256 }) => {
      const escaped = name.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
      return `${escaped === name ? '' : '\\'}${sha256.replace(/^sha256:/, '')}  ${escaped}\n`
    })
    .join('')
